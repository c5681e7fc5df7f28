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

/** Run a model on the server; tensors in and out as ort.js has them. */
export async function ask(name, feeds, parameters) {
  const inputs = Object.entries(feeds).map(([key, { shape, data }]) => ({
    name: key,
    datatype: "FP32",
    shape,
    data: Array.from(data),
  }));
  const answer = await fetch(`/v2/models/${name}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(parameters ? { parameters, inputs } : { inputs }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error ?? `${answer.status}`);
  return Object.fromEntries(body.outputs.map(({ name: key, shape, data }) => [key, { shape, data }]));
}
