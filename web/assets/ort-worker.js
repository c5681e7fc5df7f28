// Runs onnxruntime-web beside the page, so that the page never waits for it.
//
// Asked with {id, open: bytes}, {id, run: model, feeds, outputs}; answers {id, ...} or {id, error}.
// The first message is {program}: the address of the WebAssembly program, packed or not. While it comes,
// {share} says how much of it is there, 0 to 1.

/** Bytes of the program, where the host does not say how many come. */
const EXPECTED = 3_800_000;

const models = [];
let ort = null;
let last = Promise.resolve();

async function download(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  const total = Number(answer.headers.get("content-length")) || EXPECTED;
  const reader = answer.body.getReader();
  const parts = [];
  let [size, said] = [0, 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    if (size < said + total / 20) continue;
    said = size;
    postMessage({ share: Math.min(1, size / total) });
  }
  return new Blob(parts);
}

async function load(address) {
  const program = await download(address);
  const head = new Uint8Array(await program.slice(0, 2).arrayBuffer());
  // A host that says `content-encoding: gzip` has had it unpacked by the browser.
  const packed = head[0] === 0x1f && head[1] === 0x8b;
  const stream = packed ? program.stream().pipeThrough(new DecompressionStream("gzip")) : program.stream();
  const [module, binary] = await Promise.all([import("../runtime/ort.mjs"), new Response(stream).arrayBuffer()]);
  // One thread needs no cross-origin isolation, and these models are small.
  module.env.wasm.numThreads = 1;
  module.env.wasm.wasmBinary = binary;
  module.env.logLevel = "error";
  ort = module;
}

async function open(bytes) {
  const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
  const session = await ort.InferenceSession.create(new Uint8Array(bytes), options);
  const plain = (values) => values.map(({ name, isTensor, type, shape }) => ({ name, isTensor, type, shape }));
  models.push(session);
  return { model: models.length - 1, inputs: plain(session.inputMetadata), outputs: plain(session.outputMetadata) };
}

async function run(model, feeds, outputs) {
  const tensors = Object.fromEntries(
    Object.entries(feeds).map(([name, { type = "float32", data, shape }]) => [name, new ort.Tensor(type, data, shape)]),
  );
  const answers = await models[model].run(tensors, outputs ?? models[model].outputNames);
  return {
    answers: Object.fromEntries(Object.entries(answers).map(([name, { dims, data }]) => [name, { shape: [...dims], data }])),
  };
}

addEventListener("message", ({ data: { id, program, open: bytes, run: model, feeds, outputs } }) => {
  const work = async () => {
    try {
      const answer = program ? await load(program) : bytes ? await open(bytes) : await run(model, feeds, outputs);
      postMessage({ id, ...answer });
    } catch (error) {
      postMessage({ id, error: error?.message ?? String(error) });
    }
  };
  // One call at a time: the runtime takes no two at once.
  last = last.then(work);
});
