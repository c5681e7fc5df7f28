// Asks the server that serves this page, if one does, over KServe's REST protocol.

/** Tell whether `zoo serve` serves this page, rather than a host of files. */
export async function isServed() {
  try {
    const answer = await fetch(location.href, { method: "HEAD" });
    return answer.headers.get("x-layer-zoo") === "serve";
  } catch {
    return false;
  }
}

/** The protocol's names of the runtime's types. */
const DATATYPES = {
  float32: "FP32", float64: "FP64", int8: "INT8", uint8: "UINT8", int16: "INT16", uint16: "UINT16",
  int32: "INT32", uint32: "UINT32", int64: "INT64", uint64: "UINT64", bool: "BOOL", string: "BYTES",
};

/** Run the version of a model that a page shows on the server; tensors in and out as ort.js has them. */
export async function ask({ name, version }, feeds, parameters) {
  const inputs = Object.entries(feeds).map(([key, { type = "float32", shape, data }]) => ({
    name: key,
    datatype: DATATYPES[type],
    shape,
    data: Array.from(data, (value) => (typeof value === "bigint" ? Number(value) : type === "bool" ? value === 1 : value)),
  }));
  const answer = await fetch(`/v2/models/${name}/versions/${version}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(parameters ? { parameters, inputs } : { inputs }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error ?? `${answer.status}`);
  return Object.fromEntries(body.outputs.map(({ name: key, shape, data }) => [key, { shape, data }]));
}
