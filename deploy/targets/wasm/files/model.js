// The model of this bundle, in pages and in Node alike; all else is in model.wasm.
const KINDS = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array };

export const file = "model.wasm";
export const runtime = "WebAssembly";

/**
 * Returns a model of the bytes of `model.wasm`: the names of its inputs and outputs, and `run`, which makes of
 * {name: {data}} the same of the outputs, with type and dims. State that goes on is an input and an output.
 */
export async function load(bytes) {
  const wasm = (await WebAssembly.instantiate(bytes)).instance.exports;
  const text = new Uint8Array(wasm.memory.buffer, wasm.model_description());
  const { inputs, outputs } = JSON.parse(new TextDecoder().decode(text.subarray(0, text.indexOf(0))));
  const numbers = [...inputs, ...outputs].map(({ type, dims }, i) => new KINDS[type](wasm.memory.buffer, wasm.model_tensor(i), dims.reduce((a, b) => a * b, 1)));
  const run = (given) => {
    for (const [i, { name }] of inputs.entries()) {
      if (given[name].data.length !== numbers[i].length) throw new Error(`${name}: ${numbers[i].length} numbers are taken`);
      numbers[i].set(given[name].data);
    }
    wasm.model_step();
    return Object.fromEntries(outputs.map((each, i) => [each.name, { ...each, data: numbers[inputs.length + i].slice() }]));
  };
  const names = (tensors) => tensors.map(({ name }) => name);
  return { inputs: names(inputs), outputs: names(outputs), run, release() {}, memory: wasm.memory.buffer.byteLength };
}
