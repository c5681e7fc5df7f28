// Loads onnxruntime-web once, in a worker beside the page, and asks it to run models.
import { get } from "./dom.js";

let loading = null;

/** Return what asks the worker, once it has its program; `progress` hears the share that has arrived. */
function runtime(progress = () => {}) {
  loading ??= load(progress).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load(progress) {
  const worker = new Worker(new URL("./ort-worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  let count = 0;
  worker.addEventListener("message", ({ data: { id, share, error, ...answer } }) => {
    if (share !== undefined) return progress(share);
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(answer);
  });
  worker.addEventListener("error", (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message ?? "ort-worker.js"));
    waiting.clear();
  });
  const ask = (question) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      worker.postMessage({ id: count, ...question });
    });
  await ask({ program: new URL("../runtime/ort.wasm.gz", import.meta.url).href });
  return ask;
}

/** A model in the browser. Tensors are {shape, data} with a typed array, `type` for others than float32. */
export class Model {
  #ask;
  #number;

  constructor(ask, { model, inputs, outputs }) {
    this.#ask = ask;
    this.#number = model;
    this.inputs = inputs;
    this.outputs = outputs;
  }

  /** Open a model from bytes, or from a path of the site. */
  static async open(source, progress) {
    const bytes = typeof source === "string" ? get(source).then((answer) => answer.arrayBuffer()) : source;
    const [ask, content] = await Promise.all([runtime(progress), bytes]);
    return new Model(ask, await ask({ open: content }));
  }

  /** Run, and return {name: {shape, data}} of the outputs named, or of all. */
  async run(feeds, outputs) {
    return (await this.#ask({ run: this.#number, feeds, outputs })).answers;
  }
}

/** The arrays of the runtime's types. */
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array,
};

/** Return numbers, or texts, as a tensor of a type; raises an Error for a type that there is no array of. */
export function tensor(type, shape, values) {
  if (type === "string") return { type, shape, data: values.map(String) };
  const Kind = ARRAYS[type];
  if (!Kind) throw new Error(`${type}: no such type in a browser`);
  const isBig = type === "int64" || type === "uint64";
  return { type, shape, data: Kind.from(values, (value) => (isBig ? BigInt(Math.round(Number(value))) : Number(value))) };
}

/** Return a published test vector's side, as page.json has it, as feeds. */
export function feedsOf(side) {
  return Object.fromEntries(Object.entries(side).map(([name, { type, shape, values }]) => [name, tensor(type, shape, values)]));
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
