// Shows what the page of a bundle finds, and tells it to the server where the address asks for that.
const query = new URLSearchParams(location.search);
const read = async (path) => {
  const response = await fetch(path);
  return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
};
const tell = (body) => query.has("tell") && fetch("found", { method: "POST", body: JSON.stringify(body) });
const show = (rows) => {
  for (const [what, value] of rows) {
    const row = document.getElementById("found").insertRow();
    row.insertCell().textContent = what;
    row.insertCell().textContent = value;
  }
};
const milliseconds = (seconds) => `${(1000 * seconds).toPrecision(3)} ms`;
const verdict = document.getElementById("verdict");
try {
  const model = await import("./model.js");
  const { tryModel } = await import("./vectors.js");
  const { report, right, loadAgain, modelBytes } = await tryModel(model, read, Number(query.get("seconds") ?? 2));
  verdict.textContent = right ? "The outputs are those of the test vectors." : "The outputs are wrong.";
  show([
    ["runtime", report.runtime],
    ["model", `${(modelBytes / 1e6).toPrecision(3)} MB`],
    ["load, with what it runs in", milliseconds(report.load)],
    ["load once more", milliseconds(loadAgain)],
    ["latency, median", report.latency === null ? "not measured" : milliseconds(report.latency)],
    ["distance from the test vectors (relative L2)", report.relative_l2 ?? "not finite"],
  ]);
  const browser = /(Chrome|Firefox|Safari)\/[\d.]+/.exec(navigator.userAgent);
  tell({ ...report, runtime: `${report.runtime}, ${browser ? browser[0] : "browser"}` });
} catch (error) {
  verdict.textContent = `It did not run: ${error}. ${document.body.dataset.hint}`;
  tell({ error: String(error) });
}
