// The model of this bundle, in pages and in Node alike; all else is in model.wasm, whose bytes `load` takes. `run` makes
// of {name: numbers} of all inputs {name: {type, dims, data}} of the outputs. State that goes on is an input and an output.
const KINDS = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array };
export const file = "model.wasm", runtime = "WebAssembly";

export async function load(bytes) {
  const { memory, model_description, model_tensor, model_step } = (await WebAssembly.instantiate(bytes)).instance.exports;
  const text = new Uint8Array(memory.buffer, model_description());
  const { inputs, outputs } = JSON.parse(new TextDecoder().decode(text.subarray(0, text.indexOf(0))));
  const numbers = [...inputs, ...outputs].map(({ type, size }, i) => new KINDS[type](memory.buffer, model_tensor(i), size));
  const run = (given) => {
    inputs.forEach(({ name, size }, i) => {
      const data = given[name].data ?? given[name];
      if (data.length !== size) throw new Error(`${name}: ${size} numbers are taken`);
      numbers[i].set(data);
    });
    model_step();
    return Object.fromEntries(outputs.map((each, i) => [each.name, { ...each, data: numbers[inputs.length + i].slice() }]));
  };
  return { inputs: inputs.map(({ name }) => name), outputs: outputs.map(({ name }) => name), run, memory: memory.buffer.byteLength };
}
