// The model of this bundle in ONNX Runtime Web, in pages and in Node alike.
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1; // More take a page that is cross-origin isolated.
ort.env.logLevel = "error";

export const file = "model.onnx";
export const runtime = `ONNX Runtime Web ${ort.env.versions.web}`;

/**
 * Returns a model of the bytes of `model.onnx`: the names of its inputs and outputs, and `run`, which makes of
 * {name: {type, dims, data}} the same of the outputs.
 */
export async function load(bytes) {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const run = (inputs) => {
    const tensors = Object.entries(inputs).map(([name, { type, dims, data }]) => [name, new ort.Tensor(type, data, dims)]);
    return session.run(Object.fromEntries(tensors));
  };
  return { inputs: session.inputNames, outputs: session.outputNames, run, release: () => session.release() };
}
