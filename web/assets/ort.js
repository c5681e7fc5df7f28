// Loads onnxruntime-web once, and runs models one call at a time.
import { get } from "./dom.js";

let loading = null;

/** Return the runtime's module; `progress` hears the share that has arrived, 0 to 1. */
export function runtime(progress = () => {}) {
  loading ??= load(progress).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load(progress) {
  const [ort, program] = await Promise.all([
    import("../runtime/ort.mjs"),
    download("runtime/ort.wasm.gz", progress),
  ]);
  // One thread needs no cross-origin isolation, and these models are small.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = program;
  ort.env.logLevel = "error";
  return ort;
}

async function download(path, progress) {
  const answer = await get(path);
  const total = Number(answer.headers.get("content-length")) || 3_800_000;
  const reader = answer.body.getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    progress(Math.min(1, size / total));
  }
  const file = new Blob(parts);
  const head = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  // A host that says `content-encoding: gzip` has had it unpacked by the browser.
  const packed = head[0] === 0x1f && head[1] === 0x8b;
  const stream = packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  return new Response(stream).arrayBuffer();
}

/** A model in the browser. Tensors are {shape, data} with a typed array, `type` for others than float32. */
export class Model {
  #session;
  #last = Promise.resolve();

  constructor(ort, session) {
    this.ort = ort;
    this.#session = session;
    this.inputs = session.inputMetadata;
    this.outputs = session.outputMetadata;
  }

  /** Open a model from bytes, or from a path of the site. */
  static async open(source, progress) {
    const bytes = typeof source === "string" ? get(source).then((answer) => answer.arrayBuffer()) : source;
    const [ort, content] = await Promise.all([runtime(progress), bytes]);
    const session = await ort.InferenceSession.create(new Uint8Array(content), {
      executionProviders: ["wasm"],
      logSeverityLevel: 3,
    });
    return new Model(ort, session);
  }

  /** Run, and return {name: {shape, data}} of the outputs named, or of all. */
  run(feeds, outputs = this.#session.outputNames) {
    const call = async () => {
      const tensors = Object.fromEntries(
        Object.entries(feeds).map(([name, { type = "float32", data, shape }]) => [
          name,
          new this.ort.Tensor(type, data, shape),
        ]),
      );
      const answers = await this.#session.run(tensors, outputs);
      return Object.fromEntries(
        Object.entries(answers).map(([name, { dims, data }]) => [name, { shape: [...dims], data }]),
      );
    };
    const result = this.#last.then(call);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** Return a function that calls `work` with the newest arguments, one call at a time. */
export function newest(work) {
  let waiting = null;
  let busy = false;
  return async function call(...values) {
    waiting = values;
    if (busy) return;
    busy = true;
    try {
      while (waiting) {
        const now = waiting;
        waiting = null;
        await work(...now);
      }
    } finally {
      busy = false;
    }
  };
}

/** Return the largest difference between two lists of numbers. */
export function largestDifference(one, other) {
  let largest = 0;
  for (let at = 0; at < one.length; at++) largest = Math.max(largest, Math.abs(Number(one[at]) - Number(other[at])));
  return largest;
}
