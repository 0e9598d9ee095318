"""How long a whole compressed model takes beside the original, for every method with its defaults, as Markdown.

    python tests/benchmarks/whole_models.py [--method NAME]... [MODEL...]

Models are those of `$DTC_DATA/onnx` and `$DTC_DATA/trained`; a method has the options of its help page's example, and
no data. Each file takes turns with the original in one process, on one thread, and the number is the ratio of their
processor times: above 1 is slower. A cell is left out where the model's batch is fixed, where 20 samples are more than
`MOST_NUMBERS`, or where the method refuses the model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime as ort
from compare_versions import FIXED, TOO_SLOW

import dtc
from dtc.checking.measurements import MEASURED_SESSION, machine
from dtc.errors import DataError, DtcError
from dtc.graph import load_model
from dtc.graph.signature import input_specs
from dtc.models.datasets import data_file
from dtc.passes.method import methods
from dtc.pipeline.stages import TRIED
from dtc.pipeline.work import begin
from dtc.sample_inputs import batch_dimension, sample_inputs
from dtc.session import runner, session

BATCHES = (1, 20)
MOST_NUMBERS = 1 << 20
"""Of an input: 20 of dnsmos would be three minutes of sound, whose run takes 6 GB."""
SECONDS, ROUNDS, BURST_SECONDS = 1.5, 7, 0.01


def fixed_inputs(model: Path) -> dict[str, Any]:
    """Return the inputs of a model that must not be random."""
    return {spec.name: np.array(FIXED[spec.name]) for spec in input_specs(load_model(model)) if spec.name in FIXED}


def inputs_of(model: Path, batch: int) -> dict[str, Any] | None:
    """Return inputs of so many samples; None where the model has a size of its own."""
    loaded = load_model(model)
    try:
        sizes = {} if batch == 1 else {batch_dimension(input_specs(loaded)): batch}
        run = runner(session(model, native=False))
        found = sample_inputs(loaded, run, count=1, seed=0, fixed=fixed_inputs(model), sizes=sizes)[0]
        return None if batch > 1 and max(np.size(array) for array in found.values()) > MOST_NUMBERS else found
    except DataError:
        return None


def cell(model: Path, method: str, feeds: Sequence[dict[str, Any] | None], folder: Path) -> str:
    """Return the ratios of a method's file, one for each of the inputs; the file is made, but not checked."""
    rule = dtc.Rule(method=method, options=dict(methods()[method].example))
    try:
        with begin(model, dtc.Recipe(rules=(rule,)), dtc.Job(folder / "out.onnx"), Path()) as work:
            for stage in TRIED:
                stage(work)
            return ", ".join("-" if feed is None else f"{ratio(model, work.written.path, feed):.2f}" for feed in feeds)
    except DtcError as error:
        click.echo(f"{model.stem}, {method}: {error}", err=True)
        return "-"


def ratio(original: Path, file: Path, feed: dict[str, Any]) -> float:
    """Return the processor time of a run of a file as a share of the original's: the median over pairs of bursts."""
    runs = [partial(runner(session(path, threads=1, settings=MEASURED_SESSION)), feed) for path in (original, file)]
    for run in (*runs, *runs):
        run()
    often = max(1, round(BURST_SECONDS / max(min(map(_taken, runs)), 1e-6)))
    found, begin_at = list[float](), time.perf_counter()
    while len(found) < ROUNDS or time.perf_counter() - begin_at < SECONDS:
        order = (0, 1) if len(found) % 2 else (1, 0)
        taken = {index: _taken(runs[index], often) for index in order}
        found.append(taken[1] / taken[0])
    return float(np.median(found))


def _taken(run: Callable[[], object], often: int = 1) -> float:
    """Return the seconds of processor time of so many runs, which another process takes nothing of."""
    start = time.process_time()
    for _ in range(often):
        run()
    return time.process_time() - start


def row(model: Path, names: Sequence[str]) -> str:
    """Return the row of a model: for each method the ratio of each batch."""
    feeds = [inputs_of(model, batch) for batch in BATCHES]
    with tempfile.TemporaryDirectory() as folder:
        tried = [name for name in names if model.stem not in TOO_SLOW.get(name, ())]
        found = {name: cell(model, name, feeds, Path(folder)) for name in tried}
    return f"| {model.stem} | " + " | ".join(found.get(name, "-") for name in names) + " |"


@click.command()
@click.option("--method", "names", multiple=True, type=click.Choice(sorted(methods())), help="alone; else all")
@click.argument("models", nargs=-1, type=click.Path(path_type=Path, exists=True))
def main(names: tuple[str, ...], models: tuple[Path, ...]) -> None:
    """Print the table."""
    chosen = names or tuple(sorted(methods()))
    print(f"{machine()}, ONNX Runtime {ort.__version__}, one thread; batch {' and '.join(map(str, BATCHES))}\n")
    print("| model | " + " | ".join(chosen) + " |")
    print("| --- |" + " ---: |" * len(chosen))
    found = [path for part in ("onnx", "trained") for path in sorted(data_file(part).glob("*.onnx"))]
    for model in models or found:
        print(row(model, chosen), flush=True)


if __name__ == "__main__":
    main()
