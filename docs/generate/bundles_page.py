"""The page of bundles that were measured: a table for each target, of model, form, and each way to run it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tables import page, table

from dtc.bundles.document import RunOutcome
from dtc.bundles.measured import MeasuredBundle, read_measured
from dtc.deploy.target import deploy_targets
from dtc.formatting import milliseconds, size

INTRODUCTION = """Real models, as they are and in four forms, as `dtc deploy` writes them for each target, and as
`dtc deploy --check` runs them: `svd` keeps 0.3 of the ranks, `prune` a tenth of the weights, `binary` has 2 bits a
weight, `codebook` 16 values a weight. No model was retrained: a row tells what a form costs, not what it is worth.
Nothing here was typed: the tables are made of `docs/results/bundles/measured.json`.

A way to run a bundle has two columns, load and latency, with their ratios to those of the original's bundle of the same
target, medians of the same turns; more is faster. Load is the first one, with what the model runs in. Rows were
measured one after the other, so that times of two rows are not to be compared. Of target `c` flash takes weights and
other constants, besides code, and RAM the arena. Modules of target `wasm` are compared with the original in ONNX
Runtime Web, whose `ort-wasm-simd-threaded.wasm` has 14,239,897 bytes and is no part of the bytes of target `web`;
both run on one thread, and a module writes into the outputs of the run before, where ONNX Runtime Web makes new ones.
Silero VAD has `sr` fixed to 16000; bundles of target `portable` take inputs of one size.

```sh
# not run: needs the folder of DTC_DATA, and minutes to hours
python tests/benchmarks/bundles.py onnxruntime web portable c wasm
python docs/generate
```"""


def bundles_page(path: Path) -> str:
    """Return the page of a file of measured bundles."""
    measured = read_measured(path).bundles
    parts = [INTRODUCTION]
    for name, target in sorted(deploy_targets().items()):
        own = [each for each in measured if each.target == name]
        if own:
            parts += [f"## Target `{name}`", f"For {target.title}.", _table(own), *_refusals(own), _machines(own)]
    return page("Bundles, measured", parts)


def _table(bundles: Sequence[MeasuredBundle]) -> str:
    ways = list(dict.fromkeys(run.name for each in bundles for run in _ran(each)))
    figures = list(dict.fromkeys(name for each in bundles for name in each.figures))
    timed = [part for way in ways for part in (f"{way}: load", f"{way}: run")]
    head = ["model", "form", "bytes", "gzip", *figures, *timed, "memory of a run", "rel. L2"]
    originals = {each.model: each for each in bundles if each.form == "original"}
    rows = [_row(each, originals.get(each.model), ways, figures) for each in bundles if each.found is not None]
    # What has no number anywhere, as the load of a program that is in flash, needs no column.
    told = [index for index in range(len(head)) if any(row[index] for row in rows)]
    return table([head[index] for index in told], [[row[index] for index in told] for row in rows])


def _row(
    each: MeasuredBundle, original: MeasuredBundle | None, ways: Sequence[str], figures: Sequence[str]
) -> list[str]:
    assert each.found is not None
    runs = {run.name: run for run in _ran(each)}
    told = [report for run in runs.values() if (report := run.found) is not None]
    before = {} if original is None else {run.name: run for run in _ran(original)}
    timed = [cell for way in ways for cell in _timed(each, runs.get(way), before.get(way))]
    counted = [f"{each.figures[name]:,}" if name in each.figures else "" for name in figures]
    memory = max((report.memory for report in told if report.memory is not None), default=None)
    worst = max((report.relative_l2 for report in told), default=None)
    sizes = [f"{each.found.model_bytes:,}", f"{each.found.model_gzip:,}"]
    ends = ["" if memory is None else size(memory), "" if worst is None else f"{worst:.1e}"]
    return [each.model, each.form, *sizes, *counted, *timed, *ends]


def _ran(each: MeasuredBundle) -> list[RunOutcome]:
    return [] if each.found is None else [run for run in each.found.runs if run.outcome != "missing"]


def _timed(each: MeasuredBundle, run: RunOutcome | None, original: RunOutcome | None) -> tuple[str, str]:
    """Return the cells of a way: load, and latency or instructions, with the ratio to the original's."""
    if run is None:
        return "", ""
    if run.found is None or run.outcome != "right":
        return run.outcome, ""
    load = _beside(run.found.load, each.beside_loads.get(run.name)) if run.found.load else ""
    counted, before = _instructions(run), _instructions(original)
    if counted is not None:
        return load, f"{counted:,} instructions" + (f" ({before / counted:.2f}x)" if before else "")
    if run.found.latency is None:
        return load, ""
    return load, _beside(run.found.latency, each.beside.get(run.name))


def _beside(seconds: float, original: float | None) -> str:
    """Return a time, with the ratio to the original's."""
    return milliseconds(seconds) + (f" ({original / seconds:.2f}x)" if original else "")


def _instructions(run: RunOutcome | None) -> int | None:
    """Return what an emulated processor counted."""
    told = "" if run is None or run.found is None else run.found.runtime
    counted = re.search(r"(\d+) instructions", told)
    return None if counted is None else int(counted[1])


def _refusals(bundles: Sequence[MeasuredBundle]) -> Iterator[str]:
    refused = [each for each in bundles if each.refused]
    if refused:
        yield "Refused:"
        yield "\n".join(f"* {each.model}, {each.form}: {each.refused}" for each in refused)


def _machines(bundles: Sequence[MeasuredBundle]) -> str:
    runs = [run for each in bundles for run in _ran(each)]
    runtimes = sorted({re.sub(r", \d+ instructions", "", run.found.runtime) for run in runs if run.found is not None})
    made = sorted({f"dtc {each.versions['dtc']}" for each in bundles if "dtc" in each.versions})
    return f"Measured with {', '.join([*made, *runtimes])}; {'; '.join(sorted({run.machine for run in runs}))}."
