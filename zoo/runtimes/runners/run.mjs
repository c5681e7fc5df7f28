// Run one model file with one adapter: read job.json in a folder, write results.jsonl there.
//
//     node run.mjs ADAPTER.mjs FOLDER
//
// The JavaScript twin of run.py; zoo/runtimes/process.py describes both files.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
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

const [adapterFile, folder] = process.argv.slice(2);
const job = JSON.parse(readFileSync(join(folder, "job.json"), "utf8"));

// The parent holds standard input: at its end the parent is gone, and so is the whole group.
process.stdin.resume().on("end", () => process.kill(-process.pid, "SIGKILL"));

function result(values) {
  appendFileSync(join(folder, "results.jsonl"), JSON.stringify(values) + "\n");
}

function reason(error) {
  const lines = String(error?.message ?? error).split("\n").map((line) => line.trim());
  return `${error?.name ?? "Error"}: ${lines.filter(Boolean).join(" | ").slice(0, 600)}`;
}

function read(tensor) {
  const bytes = readFileSync(join(folder, tensor.file));
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  if (!(tensor.dtype in ARRAYS)) throw new TypeError(`no typed array holds ${tensor.dtype}`);
  return { type: tensor.dtype, data: new ARRAYS[tensor.dtype](buffer), dims: tensor.shape };
}

function write(file, name, { type, data, dims }) {
  if (!(type in ARRAYS)) throw new TypeError(`output ${name} is ${type}, which has no raw form`);
  writeFileSync(join(folder, file), Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return { name, file, dtype: type, shape: dims.map(Number) };
}

async function answer(run, tensors, number) {
  const feeds = Object.fromEntries(tensors.map((tensor) => [tensor.name, read(tensor)]));
  const outputs = Object.entries(await run(feeds)).map(([name, value], position) =>
    write(`out-${number}-${position}`, name, value),
  );
  return { outputs };
}

async function main() {
  let adapter, run;
  try {
    adapter = await import(pathToFileURL(adapterFile).href);
    result({ version: await adapter.version(job.packages) });
  } catch (error) {
    return result({ refused: reason(error) });
  }
  try {
    run = await adapter.load(job.path, job.outputs);
  } catch (error) {
    for (const _ of job.cases) result({ refused: reason(error) });
    return;
  }
  for (const [number, tensors] of job.cases.entries()) {
    result(await answer(run, tensors, number).catch((error) => ({ refused: reason(error) })));
  }
}

await main();
process.exit(0); // worker threads of a runtime would keep the process alive
