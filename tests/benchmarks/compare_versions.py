"""Every model by every method under two versions of dtc: what got larger, slower, or computes something else.

    python tests/benchmarks/compare_versions.py measure --checkout ../old --library old/libdtc_ops.so old.json
    python tests/benchmarks/compare_versions.py measure --checkout . new.json
    python tests/benchmarks/compare_versions.py compare old.json new.json

Models are those of `$DTC_DATA/onnx`; nothing is retrained and no data is given. A result is written as it comes, and an
interrupted measurement goes on where it was. The written files and their outputs are kept beside the result; inputs are
generated once for all results of a folder.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime

from dtc.graph import load_model
from dtc.sample_inputs import sample_inputs
from dtc.session import runner, session

METHODS: dict[str, list[str]] = {
    "svd": ["--method", "svd", "--rank-ratio", "0.3"],
    "prune": ["--method", "prune", "--sparsity", "0.9"],
    "prune-masked": ["--method", "prune-masked", "--sparsity", "0.9"],
    "binary": ["--method", "binary", "--bits", "2"],
    "uniform": ["--method", "uniform", "--bits", "4"],
    "codebook": ["--method", "codebook", "--codewords", "16", "--block", "1"],
    "codebook of blocks": ["--method", "codebook", "--codewords", "64", "--block", "4", "--huffman"],
    "bins": ["--method", "bins", "--bins", "5"],
    "prune+binary": ["--method", "prune+binary", "--sparsity", "0.9", "--bits", "1"],
    "svd+binary": ["--method", "svd+binary", "--rank-ratio", "0.3", "--bits", "3"],
    "prune+codebook": ["--method", "prune+codebook", "--sparsity", "0.9", "--codewords", "8", "--block", "1"],
}
MODES = ("compute", "standard")
TOO_SLOW = {"bins": {"dnsmos_sig_bak_ovr", "olive_tfbert_qa", "resnet56_cifar10_derived", "ultraface_rfb320"}}
"""Models that a method is left out of: `bins` runs them twice for every bin of every site."""
FIXED = {"sr": 16000}
"""Inputs that must not be random: the sampling rate of the voice detectors."""

ROUNDS = 7
BURST_SECONDS = 0.02
TENTH = 1.1
SAME = 1e-4
"""Relative L2 up to which outputs are the same: what rounding in another order may do."""

SLOWEST_COUNTED = {"processor": 0.2, "latency": 5e-5}
"""What is compared, and the seconds below which a difference is noise.

A compression is held to its processor time, which a busy machine does not change; a run of the file to the shortest of
many.
"""


@dataclass(frozen=True)
class Cell:
    """One model by one method, in one lowering mode."""

    model: Path
    method: str
    mode: str

    @property
    def name(self) -> str:
        """The key in a result."""
        return f"{self.model.stem} / {self.method} / {self.mode}"

    @property
    def file(self) -> str:
        """Name of the written file."""
        return f"{self.model.stem}.{self.method.replace(' ', '-')}.{self.mode}.onnx"

    def words(self, output: Path) -> list[str]:
        """Return the command line."""
        inputs = load_model(self.model).graph.inputs
        fixed = [f"--input={each.name}={FIXED[each.name]}" for each in inputs if each.name in FIXED]
        return [
            *("compress", str(self.model), *METHODS[self.method], "--lower", self.mode, "-o", str(output)),
            *("--seconds", "0", "--force", *fixed),
        ]


class Worker:
    """A process in which the command line of one version runs; started anew after it died."""

    def __init__(self, checkout: Path, library: Path) -> None:
        self._environment = os.environ | {"PYTHONPATH": str(checkout), "DTC_OPS": str(library)}
        self._process: subprocess.Popen[str] | None = None
        where = self._run("import dtc, pathlib; print(pathlib.Path(dtc.__file__).resolve().parents[1])").strip()
        if Path(where) != checkout.resolve():
            raise click.ClickException(f"{checkout}: Python finds dtc in {where} instead")

    def compress(self, words: list[str]) -> dict[str, Any]:
        """Return what one command line gave; in a new process it is run twice, as the first time imports the house."""
        if self._process is None:
            command = [sys.executable, "-P", str(Path(__file__).with_name("version_worker.py"))]
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._ask(words)
        return self._ask(words)

    def _ask(self, words: list[str]) -> dict[str, Any]:
        if self._process is None:
            return {"error": "the process died"}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer:
            return dict(json.loads(answer))
        status = self._process.wait()
        self._process = None
        return {"error": f"the process died with status {status}"}

    def _run(self, code: str) -> str:
        command = [sys.executable, "-P", "-c", code]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True).stdout


class Result:
    """A result file: facts of the version, and one record a cell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cells": {}}
        self.cells: dict[str, dict[str, Any]] = self.found["cells"]

    @property
    def files(self) -> Path:
        """Folder of the written models and their outputs."""
        return self.path.with_suffix(".files")

    @property
    def library(self) -> Path:
        """The native library of the version."""
        return Path(self.found["library"])

    def outputs(self, name: str) -> Path:
        """What the written file of a cell gave."""
        return (self.files / self.cells[name]["file"]).with_suffix(".npz")

    def keep(self, name: str, record: dict[str, Any]) -> None:
        """Add a record, and write the file whole."""
        self.cells[name] = record
        fresh = self.path.with_suffix(".part")
        fresh.write_text(json.dumps(self.found, indent=1))
        fresh.replace(self.path)


def inputs_of(model: Path, folder: Path) -> dict[str, np.ndarray]:
    """Return the inputs of a model that all results of a folder share; made at the first call."""
    path = folder / "inputs" / f"{model.stem}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        loaded = load_model(model)
        fixed = {each.name: np.array(FIXED[each.name]) for each in loaded.graph.inputs if each.name in FIXED}
        made = sample_inputs(loaded, runner(session(model, native=False)), count=1, seed=0, fixed=fixed)[0]
        np.savez(path, **made)
    with np.load(path) as found:
        return dict(found)


def save_outputs(model: Path, feed: dict[str, np.ndarray], path: Path) -> None:
    """Write what a model gives without any native library."""
    running = opened(model, None)
    names = [each.name for each in running.get_outputs()]
    np.savez(path, **dict(zip(names, running.run(None, feed), strict=True)))


def opened(path: Path, library: Path | None) -> onnxruntime.InferenceSession:
    """Return a session on one thread, on the kernels of `library` or, where that is None, the file's functions."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if library is not None:
        options.register_custom_ops_library(str(library))
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def latencies(runs: Sequence[Callable[[], object]]) -> list[float]:
    """Return the shortest seconds of one run of each; they take turns, so that a busy machine meets all alike."""
    shortest = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for index, run in enumerate(runs):
            run()
            begin = time.perf_counter()
            while time.perf_counter() - begin < BURST_SECONDS:
                start = time.perf_counter()
                run()
                shortest[index] = min(shortest[index], time.perf_counter() - start)
    return shortest


def measure_cell(cell: Cell, worker: Worker, result: Result) -> dict[str, Any]:
    """Compress, then run the written file: its bytes, its outputs without the library, its latency with it."""
    output = result.files / cell.file
    record = worker.compress(cell.words(output))
    if "error" in record:
        return record
    feed = inputs_of(cell.model, result.path.parent)
    save_outputs(output, feed, output.with_suffix(".npz"))
    running = opened(output, result.library)
    return record | {"bytes": output.stat().st_size, "latency": latencies([partial(running.run, None, feed)])[0]}


def apart(first: Path, second: Path) -> float:
    """Return the largest relative L2 between two files of outputs."""
    with np.load(first) as ours, np.load(second) as theirs:
        return max(_apart(ours[name], theirs[name]) for name in ours.files)


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    if first.shape != second.shape:
        return float("inf")
    one, other = first.astype(np.float64), second.astype(np.float64)
    difference, scale = np.linalg.norm(one - other), np.linalg.norm(one)
    return float(difference / scale) if scale else float(difference)


def findings(name: str, old: Result, new: Result) -> Iterator[str]:
    """Yield in words what is worse in a cell of the new version."""
    before, after = old.cells[name], new.cells[name]
    if "error" in before or "error" in after:
        if ("error" in before) != ("error" in after):
            yield f"was {before.get('error', 'written')}; is {after.get('error', 'written')}"
        return
    if after["bytes"] > before["bytes"]:
        yield f"larger: {before['bytes']:,} -> {after['bytes']:,} bytes"
    for what, floor in SLOWEST_COUNTED.items():
        if after[what] > max(TENTH * before[what], before[what] + floor):
            yield f"slower: {what} {before[what]:.3g} -> {after[what]:.3g} s ({after[what] / before[what]:.2f}x)"
    far = apart(*(each.outputs(name) for each in (old, new)))
    if far > SAME:
        yield f"computes something else: {far:.1e} relative L2 apart"


def row(name: str, old: Result, new: Result) -> str:
    """Return a line of the table."""
    before, after = old.cells[name], new.cells[name]
    if "error" in before or "error" in after:
        return f"{name:60} {before.get('error', 'written')[:50]} | {after.get('error', 'written')[:50]}"
    words = [f"{name:60}", f"{before['bytes']:>10,} {after['bytes']:>10,} {after['bytes'] / before['bytes']:6.3f}"]
    for what, scale in (("processor", 1.0), ("latency", 1e3)):
        words.append(f"{before[what] * scale:8.2f} {after[what] * scale:8.2f} {after[what] / before[what]:6.2f}")
    words.append(" ".join(f"{cell.get('rounding', float('nan')):8.1e}" for cell in (before, after)))
    words.append(" ".join(f"{distance(name, each):8.1e}" for each in (old, new)))
    return " ".join(words)


def distance(name: str, result: Result) -> float:
    """Return how far the written file's outputs are from the original model's."""
    model = Path(os.environ["DTC_DATA"]) / "onnx" / f"{name.partition(' / ')[0]}.onnx"
    path = result.path.parent / "inputs" / f"{model.stem}.outputs.npz"
    if not path.exists():
        save_outputs(model, inputs_of(model, result.path.parent), path)
    return apart(path, result.outputs(name))


def time_again(names: Sequence[str], old: Result, new: Result) -> None:
    """Measure the latency of some cells anew, the files of both versions taking turns."""
    for name in names:
        feed = inputs_of(Path(f"{name.partition(' / ')[0]}.onnx"), new.path.parent)
        file = new.cells[name]["file"]
        running = [opened(each.files / file, each.library) for each in (old, new)]
        both = latencies([partial(one.run, None, feed) for one in running])
        for result, seconds in zip((old, new), both, strict=True):
            result.keep(name, result.cells[name] | {"latency": seconds})


@click.group()
def main() -> None:
    """Compare two versions of dtc on every model."""


@main.command("measure")
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--checkout", type=click.Path(exists=True, path_type=Path), required=True, help="root of the version")
@click.option("--library", type=click.Path(exists=True, path_type=Path), help="default: in the checkout's build folder")
@click.option("--model", "models", multiple=True, help="stem of a model (default: all)")
@click.option("--method", "methods", multiple=True, type=click.Choice(list(METHODS)), help="default: all")
def measure(
    result: Path, checkout: Path, library: Path | None, models: tuple[str, ...], methods: tuple[str, ...]
) -> None:
    """Compress every model by every method with the version in a checkout, into the file RESULT."""
    kept = Result(result)
    library = library or checkout / "build" / "native" / "libdtc_ops.so"
    kept.found |= {"checkout": str(checkout), "library": str(library), "machine": platform.platform()}
    kept.files.mkdir(parents=True, exist_ok=True)
    worker = Worker(checkout, library)
    paths = sorted((Path(os.environ["DTC_DATA"]) / "onnx").glob("*.onnx"))
    for path in (path for path in paths if not models or path.stem in models):
        for cell in (Cell(path, method, mode) for method in methods or METHODS for mode in MODES):
            if cell.name not in kept.cells and path.stem not in TOO_SLOW.get(cell.method, ()):
                kept.keep(cell.name, measure_cell(cell, worker, kept) | {"file": cell.file})
                print(cell.name, kept.cells[cell.name].get("error", ""), flush=True)


@main.command("compare")
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path))
@click.option("--again/--no-again", default=True, help="time the files that seem slower anew, in turns")
def compare(old: Path, new: Path, *, again: bool) -> None:
    """Print two results side by side, and what is worse in the NEW one; exit status 1 if anything is."""
    before, after = Result(old), Result(new)
    names = [name for name in before.cells if name in after.cells]
    if again:
        time_again([n for n in names if any("latency" in words for words in findings(n, before, after))], before, after)
    titles = zip(
        ("bytes", "processor seconds", "latency, ms", "rounding", "distance"), (28, 24, 24, 17, 17), strict=True
    )
    print(f"{'model / method / mode':60} " + " ".join(f"{title:>{width}}" for title, width in titles))
    for name in names:
        print(row(name, before, after))
    worse = [f"{name}: {words}" for name in names for words in findings(name, before, after)]
    missing = [name for name in before.cells if name not in after.cells]
    print(
        f"\n{len(names)} compared, {len(missing)} not measured in {new.name}; worse:", *worse or ["nothing"], sep="\n  "
    )
    sys.exit(bool(worse))


if __name__ == "__main__":
    main()
