// onnxruntime-node: the native library behind node's binding, CPU, one thread.

import { createRequire } from "node:module";
import { join } from "node:path";

let runtime;

export function version(folder) {
  const require = createRequire(join(folder, "package.json"));
  runtime = require("onnxruntime-node");
  return require("onnxruntime-node/package.json").version;
}

export async function load(path) {
  const session = await runtime.InferenceSession.create(path, {
    executionProviders: ["cpu"],
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  return (feeds) => {
    const tensors = Object.entries(feeds).map(([name, { type, data, dims }]) => [
      name,
      new runtime.Tensor(type, data, dims),
    ]);
    return session.run(Object.fromEntries(tensors));
  };
}
