// Runs the model of this bundle in Node on its test vectors: node run.mjs [SECONDS]. It prints what it found as JSON;
// exit status 1: an output is too far off.
import { readFile } from "node:fs/promises";

const seconds = Number(process.argv[2] ?? 0);
const idle = process.memoryUsage().rss;
const read = (path) => readFile(new URL(path, import.meta.url)).then((found) => new Uint8Array(found), () => null);

const model = await import("./model.js");
const { tryModel } = await import("./vectors.js");
const { report, right } = await tryModel(model, read, seconds);
report.runtime += `, Node ${process.versions.node}`;
report.memory ??= Math.max(0, 1024 * process.resourceUsage().maxRSS - idle);
console.log(JSON.stringify(report));
process.exit(right ? 0 : 1);
