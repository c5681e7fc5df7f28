// Run the models of one job with one adapter; tell each step on a file descriptor.
//
//     node serve.mjs ADAPTER.mjs JOB.json FD
//
// The JavaScript twin of serve.py; zoo/runtimes/job.py and process.py describe job and events.

import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// numpy's names of the types that have both a raw form and a typed array.
const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};

const [adapterFile, jobFile, descriptor] = process.argv.slice(2);
const job = JSON.parse(readFileSync(jobFile, "utf8"));

// The parent holds standard input: at its end the parent is gone, and so is the whole group.
process.stdin.resume().on("end", () => process.kill(-process.pid, "SIGKILL"));

function tell(event, values = {}) {
  writeSync(Number(descriptor), JSON.stringify({ event, ...values }) + "\n");
}

function reason(error) {
  const lines = String(error?.message ?? error).split("\n").map((line) => line.trim());
  return `${error?.name ?? "Error"}: ${lines.filter(Boolean).join(" | ").slice(0, 600)}`;
}

function read(tensor) {
  const bytes = readFileSync(join(job.folder, tensor.file));
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  if (!(tensor.dtype in ARRAYS)) throw new TypeError(`no typed array holds ${tensor.dtype}`);
  return { type: tensor.dtype, data: new ARRAYS[tensor.dtype](buffer), dims: tensor.shape };
}

function write(file, name, { type, data, dims }) {
  if (!(type in ARRAYS)) throw new TypeError(`output ${name} is ${type}, which has no raw form`);
  writeFileSync(join(job.folder, file), Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return { name, file, dtype: type, shape: dims.map(Number) };
}

async function answer(run, model, case_) {
  const here = { model: model.model, case: case_.case };
  tell("run", here);
  try {
    const feeds = Object.fromEntries(case_.feeds.map((tensor) => [tensor.name, read(tensor)]));
    const outputs = Object.entries(await run(feeds)).map(([name, value], number) =>
      write(`out-${model.model}-${case_.case}-${number}`, name, value),
    );
    tell("answer", { ...here, outputs });
  } catch (error) {
    tell("refused", { ...here, reason: reason(error) });
  }
}

let adapter;
try {
  adapter = await import(pathToFileURL(adapterFile).href);
  tell("ready", { version: await adapter.version(job.packages) });
} catch (error) {
  tell("unusable", { reason: reason(error) });
}
for (const model of adapter ? job.models : []) {
  tell("load", { model: model.model });
  let run;
  try {
    run = await adapter.load(model.path, model.outputs);
  } catch (error) {
    tell("refused", { model: model.model, reason: reason(error) });
    continue;
  }
  for (const case_ of model.cases) await answer(run, model, case_);
}
if (adapter) tell("done");
process.exit(0); // worker threads of a runtime would keep the process alive
