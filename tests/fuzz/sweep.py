"""The models of ONNX's backend tests through `dtc compress`: `python tests/fuzz/sweep.py [--kind KIND] [--method M]`.

Each file that is written is run beside its original in sessions of this script's own, on the inputs that come with the
model. The methods are fine enough for the outputs to be near the original's: one that is further away is wrong, unless
noise twice as large as the errors told of the weights moves the outputs as far (a table of four codewords for twelve
weights). What is wrong is printed, then a table of counts; the status is 1 if anything was wrong. With `--results FILE`
what came of each model is kept, and a sweep that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
from backend import KINDS, BackendModel, Inputs, backend_models
from cases import Case
from onnx import numpy_helper
from trial import tried

METHODS: Mapping[str, str] = {
    "uniform": "uniform --bits 8",
    "codebook": "codebook --codewords 256 --block 1",
    "binary": "binary --bits 8",
    "prune": "prune --sparsity 0.02",
}
LARGEST = 0.05
"""Relative L2 of an output against the original's, up to which no written file is wrong.

Further away it is wrong, unless noise `UNEVEN` times as large as the errors told of the weights does as much.
"""

UNEVEN = 2.0
"""An error is not spread evenly over a weight, of which an output may show a few rows."""

DRAWS = 16
"""Draws of that noise: products of a few numbers may cancel out where their errors do not, or do not in most draws."""

NO_WEIGHT, NO_SESSION = "holds no float weight", "does not load it"
"""What the command line says of models that no method can take."""

LONGEST = 256
"""Elements of an input that is given as an option."""


@dataclass(frozen=True)
class Swept:
    """What came of a model: compressed, nothing to do, refused, wrong or fault, and in which words."""

    outcome: str
    words: str = ""

    @property
    def of_all_methods(self) -> bool:
        """Whether no other method can do anything else."""
        return NO_WEIGHT in self.words or NO_SESSION in self.words


def swept(model: BackendModel, method: str) -> Swept:
    """Return what comes of a model that a method compresses, however little it saves."""
    options = ("-o", "out.onnx", "--seconds", "0", "--allow-growth", "--json", *_held(model))
    command = ("compress", "m.onnx", "-m", *METHODS[method].split(), *options)
    ending = tried(Case({"m.onnx": model.content}, (command,)))
    if ending.faults:
        return Swept("fault", "; ".join(ending.faults))
    told = ending.told[0]
    if told.status:
        words = told.err.strip().removeprefix("dtc: error: ").replace("m.onnx: ", "")
        return Swept("nothing to do" if NO_WEIGHT in words else "refused", words)
    sites = json.loads(told.out)["sites"]
    different = "; ".join(_differences(model, ending.written["out.onnx"], sites))
    if different:
        return Swept("wrong", different)
    return Swept("compressed" if any(site["form"] for site in sites) else "nothing to do")


def _held(model: BackendModel) -> Iterator[str]:
    """Yield options that hold whole numbers and words among the inputs: shapes and indices are no random numbers."""
    for inputs in model.inputs[:1]:
        for name, value in inputs.items():
            if isinstance(value, np.ndarray) and value.dtype.kind in "iubU" and value.size <= LONGEST:
                yield from ("--input", f"{name}={json.dumps(value.tolist())}")


def _differences(model: BackendModel, written: bytes, sites: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what of a written file differs from its original by more than it may."""
    before, after = _session(model.content), _session(written)
    names = [told.name for told in before.get_outputs()]
    for inputs in model.inputs:
        expected = _run(before, inputs)
        found = [_distance(*pair) for pair in zip(expected, _run(after, inputs), strict=True)]
        if max(found, default=0.0) <= LARGEST:
            continue
        moved = [_run(_session(_noisy(model.content, sites, seed)), inputs) for seed in range(DRAWS)]
        for name, distance, *values in zip(names, found, expected, *moved, strict=True):
            most = max(LARGEST, *(_distance(values[0], value) for value in values[1:]))
            if distance > most:
                yield f"{name} differs by {distance:.3g}, where noise does {most:.3g} at most"


def _noisy(content: bytes, sites: list[dict[str, Any]], seed: int) -> bytes:
    """Return the model with Gaussian noise on each weight, `UNEVEN` times as large as the error that is told of it."""
    rng = np.random.default_rng(seed)
    model = onnx.load_from_string(content)
    told = {site["name"]: site["error"] or 0.0 for site in sites}
    for tensor in model.graph.initializer:
        if error := told.get(tensor.name):
            weight = numpy_helper.to_array(tensor)
            spread = UNEVEN * (error * np.mean(np.square(weight, dtype=np.float64))) ** 0.5
            noisy = (weight + rng.normal(0.0, spread, weight.shape)).astype(weight.dtype)
            tensor.CopyFrom(numpy_helper.from_array(noisy, tensor.name))
    return model.SerializeToString()


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, inputs: Inputs) -> list[Any]:
    wanted = {value.name for value in session.get_inputs()}
    return list(session.run(None, {name: value for name, value in inputs.items() if name in wanted}))


def _distance(first: Any, second: Any) -> float:
    """Return the relative L2 distance of two outputs; of sequences the largest; of what is not float 0 or infinity."""
    if isinstance(first, list):
        if len(first) != len(second):
            return float("inf")
        return max((_distance(*pair) for pair in zip(first, second, strict=True)), default=0.0)
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.dtype != second.dtype:
        return float("inf")
    if first.dtype.kind != "f":
        return 0.0 if np.array_equal(first, second) else float("inf")
    finite = np.isfinite(first)
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
        return float("inf")
    norm = float(np.linalg.norm(first[finite].astype(np.float64)))
    distance = float(np.linalg.norm(first[finite].astype(np.float64) - second[finite].astype(np.float64)))
    return distance / norm if norm else distance


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="default: all")
@click.option("--method", "chosen", multiple=True, type=click.Choice(list(METHODS)), help="default: all")
@click.option("--every", default=1, help="only one model of so many")
@click.option("--results", type=click.Path(path_type=Path, dir_okay=False), help="keep what came of each, and go on")
def sweep(kinds: tuple[str, ...], chosen: tuple[str, ...], every: int, results: Path | None) -> None:
    """Print what was wrong or refused, and a table of counts for docs."""
    counts: Counter[tuple[str, str, str]] = Counter()
    known = dict(_kept(results))
    for kind in kinds or KINDS:
        for number, model in enumerate(backend_models(kind)):
            result = None
            for method in (chosen or METHODS) if number % every == 0 else ():
                if result is None or not result.of_all_methods:
                    result = known.get((model.name, method)) or _swept_and_kept(results, model, method)
                counts[kind, method, result.outcome] += 1
                if result.outcome not in ("compressed", "nothing to do"):
                    print(f"{result.outcome}: {model.name}, {method}: {result.words}", flush=True)
    print("\n".join(_table(counts)))
    sys.exit(1 if any(outcome in ("wrong", "fault") for _, _, outcome in counts) else 0)


def _swept_and_kept(results: Path | None, model: BackendModel, method: str) -> Swept:
    """Return what comes of a model, after a line about it is appended to what is kept."""
    result = swept(model, method)
    if results is not None:
        with results.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"name": model.name, "method": method, **asdict(result)}) + "\n")
    return result


def _kept(results: Path | None) -> Iterator[tuple[tuple[str, str], Swept]]:
    """Yield what an earlier sweep kept; a line that it was stopped in is left out."""
    for line in results.read_text(encoding="utf-8").splitlines() if results is not None and results.exists() else ():
        if line.endswith("}"):
            kept = json.loads(line)
            yield (kept.pop("name"), kept.pop("method")), Swept(**kept)


def _table(counts: Mapping[tuple[str, str, str], int]) -> Iterator[str]:
    outcomes = ("compressed", "nothing to do", "refused", "wrong", "fault")
    yield f"| models | method | {' | '.join(outcomes)} |"
    yield f"| --- | --- |{' ---: |' * len(outcomes)}"
    for kind, method in dict.fromkeys((kind, method) for kind, method, _ in counts):
        numbers = " | ".join(str(counts.get((kind, method, outcome), 0)) for outcome in outcomes)
        yield f"| {kind} | `{METHODS[method]}` | {numbers} |"


if __name__ == "__main__":
    sweep()
