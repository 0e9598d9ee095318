// The model of this bundle, in pages and in Node alike; all else is in model.wasm, whose bytes `load` takes. `run` makes
// of {name: numbers} of all inputs {name: {type, dims, data}} of the outputs. State that goes on is an input and an output.
import { tensors } from "./tensors.js";
export const file = "model.wasm", runtime = "WebAssembly";

export async function load(bytes) {
  const { exports: module } = (await WebAssembly.instantiate(bytes)).instance;
  const { inputs, outputs, put, copies } = tensors(module);
  const run = (given) => {
    put(given);
    module.model_step();
    return copies();
  };
  return { inputs, outputs, run, memory: module.memory.buffer.byteLength };
}
