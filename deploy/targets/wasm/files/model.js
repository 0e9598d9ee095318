// The model of this bundle, in pages and in Node alike; all else is in model.wasm, whose bytes `load` takes. `run` makes
// of {name: numbers} of all inputs {name: {type, dims, data}} of the outputs, in the arrays of former ones where these are
// given. State that goes on is an input and an output.
import { tensors } from "./tensors.js";
export const file = "model.wasm", runtime = "WebAssembly";

export async function load(bytes) {
  const { exports: module } = (await WebAssembly.instantiate(bytes)).instance;
  const { inputs, outputs, put, copies } = tensors(module);
  const run = (given, former) => {
    put(given);
    module.model_step();
    return copies(former);
  };
  return { inputs, outputs, run, memory: module.memory.buffer.byteLength };
}
