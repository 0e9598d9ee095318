// Test vectors: reading them, and holding a model to them. `read` gives the bytes of a file of the bundle, or null.

const TYPES = {
  "<f4": ["float32", Float32Array],
  "<f8": ["float64", Float64Array],
  "<f2": ["float16", Uint16Array],
  "|i1": ["int8", Int8Array],
  "|u1": ["uint8", Uint8Array],
  "<i2": ["int16", Int16Array],
  "<u2": ["uint16", Uint16Array],
  "<i4": ["int32", Int32Array],
  "<u4": ["uint32", Uint32Array],
  "<i8": ["int64", BigInt64Array],
  "<u8": ["uint64", BigUint64Array],
  "|b1": ["bool", Uint8Array],
};

/** Returns the array of a .npy file: {type, dims, data}. */
export function parseNpy(bytes) {
  const length = bytes[8] + 256 * bytes[9];
  const header = new TextDecoder().decode(bytes.subarray(10, 10 + length));
  const [type, Kind] = TYPES[/'descr': '([^']+)'/.exec(header)[1]];
  const dims = (/'shape': \(([^)]*)\)/.exec(header)[1].match(/\d+/g) ?? []).map(Number);
  return { type, dims, data: new Kind(bytes.slice(10 + length).buffer) };
}

function half(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 31 ? (fraction ? NaN : Infinity) : exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  return bits >> 15 ? -size : size;
}

function numbers({ type, data }) {
  return type === "float16" && data instanceof Uint16Array ? Array.from(data, half) : data;
}

/** Returns the squares of what is expected, and of how far it is missed; NaN where the shapes are not the same. */
function compare(wanted, found) {
  if (wanted.type !== found.type || String(wanted.dims) !== String(found.dims)) return [0, NaN];
  const [expected, given] = [numbers(wanted), numbers(found)];
  let [signal, noise] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const value = Number(expected[i]);
    if (!Number.isFinite(value)) continue;
    signal += value ** 2;
    noise += (Number(given[i]) - value) ** 2;
  }
  return [signal, noise];
}

async function readCase(read, model, number) {
  const array = async (kind, index) => {
    const bytes = await read(`vectors/${number}.${kind}.${index}.npy`);
    return bytes && parseNpy(bytes);
  };
  const outputs = await Promise.all(model.outputs.map((_, index) => array("output", index)));
  if (!outputs[0]) return null;
  const inputs = await Promise.all(model.inputs.map((_, index) => array("input", index)));
  return { inputs: Object.fromEntries(model.inputs.map((name, index) => [name, inputs[index]])), outputs };
}

/** Returns the largest relative L2 of an output over all test vectors; NaN where one cannot be compared. */
export async function distance(model, read) {
  const sums = model.outputs.map(() => [0, 0]);
  for (let number = 0, each; (each = await readCase(read, model, number)); number++) {
    const found = await model.run(each.inputs);
    model.outputs.forEach((name, index) => {
      const [signal, noise] = compare(each.outputs[index], found[name]);
      sums[index][0] += signal;
      sums[index][1] += noise;
    });
  }
  return Math.max(...sums.map(([signal, noise]) => (noise === 0 ? 0 : signal ? Math.sqrt(noise / signal) : NaN)));
}

/**
 * Returns the median of the seconds of a run on the first test vector; browsers' clocks are too coarse for a short one. Half
 * as long again goes before, in which engines compile what runs often once more. A model that can writes into the outputs of
 * the run before, as a page does that runs it again and again.
 */
export async function latency(model, read, seconds) {
  const { inputs } = await readCase(read, model, 0);
  let outputs;
  for (const end = performance.now() + 500 * seconds; performance.now() < end; ) outputs = await model.run(inputs, outputs);
  const taken = [];
  for (const end = performance.now() + 1000 * seconds; taken.length < 3 || performance.now() < end; ) {
    const start = performance.now();
    let [times, passed] = [0, 0];
    for (; passed < 20; passed = performance.now() - start, times++) outputs = await model.run(inputs, outputs);
    taken.push(passed / 1000 / times);
  }
  return taken.sort((a, b) => a - b)[Math.floor(taken.length / 2)];
}

/**
 * Loads the model of a bundle, compares it with the vectors, and returns what was found. The seconds of load are those
 * that a page takes, with what the model runs in; `loadAgain` those of a second time, when that is there.
 */
export async function tryModel({ load, file, runtime }, read, seconds) {
  const bytes = await read(file);
  const timeLoad = async () => {
    const start = performance.now();
    const model = await load(bytes);
    return [model, (performance.now() - start) / 1000];
  };
  const [first, firstLoad] = await timeLoad();
  first.release?.();
  const [model, loadAgain] = await timeLoad();
  const far = await distance(model, read);
  const report = {
    runtime,
    relative_l2: Number.isFinite(far) ? far : null,
    load: firstLoad,
    latency: seconds > 0 ? await latency(model, read, seconds) : null,
    memory: model.memory ?? null,
  };
  const tolerance = Number(new TextDecoder().decode(await read("vectors/tolerance.txt")));
  return { report, right: far <= tolerance, loadAgain, modelBytes: bytes.length };
}
