// onnxruntime-web: the WebAssembly build that browsers run, here in node, one thread.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

let runtime;

export function version(folder) {
  const require = createRequire(join(folder, "package.json"));
  runtime = require("onnxruntime-web");
  runtime.env.wasm.numThreads = 1;
  runtime.env.logLevel = "error";
  return JSON.parse(readFileSync(join(folder, "node_modules/onnxruntime-web/package.json"))).version;
}

export async function load(path) {
  const session = await runtime.InferenceSession.create(readFileSync(path), {
    executionProviders: ["wasm"],
  });
  return (feeds) => {
    const tensors = Object.entries(feeds).map(([name, { type, data, dims }]) => [
      name,
      new runtime.Tensor(type, data, dims),
    ]);
    return session.run(Object.fromEntries(tensors));
  };
}
