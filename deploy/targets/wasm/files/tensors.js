// The numbers of inputs and outputs in the memory of a module, which tells their names, types and sizes itself.
const KINDS = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array };

function told({ memory, model_description }) {
  const text = new Uint8Array(memory.buffer, model_description());
  return JSON.parse(new TextDecoder().decode(text.subarray(0, text.indexOf(0))));
}

/**
 * Returns the names of inputs and outputs; `put`, which takes {name: numbers} of all inputs; and `copies` of the outputs, in
 * the arrays of former ones where these are given.
 */
export function tensors(module) {
  const { inputs, outputs } = told(module);
  const found = (each, index) => new KINDS[each.type](module.memory.buffer, module.model_tensor(index), each.size);
  const numbers = [...inputs, ...outputs].map(found);
  const put = (given) =>
    inputs.forEach(({ name, size }, index) => {
      const data = given[name]?.data ?? given[name];
      if (data?.length !== size) throw new Error(`${name}: ${size} numbers are taken`);
      numbers[index].set(data);
    });
  const copies = (former) => {
    const copy = (each, index) => {
      const own = numbers[inputs.length + index];
      former?.[each.name].data.set(own);
      return [each.name, former?.[each.name] ?? { ...each, data: own.slice() }];
    };
    return Object.fromEntries(outputs.map(copy));
  };
  return { inputs: inputs.map(({ name }) => name), outputs: outputs.map(({ name }) => name), put, copies };
}
