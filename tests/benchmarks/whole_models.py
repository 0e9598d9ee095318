"""How long a whole compressed model takes beside the original, for every method with its defaults, as Markdown.

    python tests/benchmarks/whole_models.py [--method NAME]... [MODEL...]

Models are those of `$DTC_DATA/onnx` and `$DTC_DATA/trained`; a method has the options of its help page's example, and
no data. Each file takes turns with the original in one process, on one thread, and the number is the ratio of the
medians: above 1 is slower. A cell is left out where the model's batch is fixed, or the method saves nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime as ort
from compare_versions import FIXED, TOO_SLOW

import dtc
from dtc.checking.measurements import MEASURED_SESSION, machine, measure_latency
from dtc.errors import DataError, DtcError
from dtc.graph import load_model
from dtc.graph.signature import input_specs
from dtc.models.datasets import data_file
from dtc.passes.method import methods
from dtc.sample_inputs import batch_dimension, sample_inputs
from dtc.session import runner, session

BATCHES = (1, 20)
SECONDS = 1.5


def fixed_inputs(model: Path) -> dict[str, Any]:
    """Return the inputs of a model that must not be random."""
    return {spec.name: np.array(FIXED[spec.name]) for spec in input_specs(load_model(model)) if spec.name in FIXED}


def inputs_of(model: Path, batch: int) -> dict[str, Any] | None:
    """Return inputs of so many samples; None where the model has a size of its own."""
    loaded = load_model(model)
    try:
        sizes = {} if batch == 1 else {batch_dimension(input_specs(loaded)): batch}
        run = runner(session(model, native=False))
        return sample_inputs(loaded, run, count=1, seed=0, fixed=fixed_inputs(model), sizes=sizes)[0]
    except DataError:
        return None


def compressed(model: Path, method: str, folder: Path) -> Path | None:
    """Return the file of a method with the options of its example; None where nothing gets smaller."""
    output = folder / f"{method}.onnx"
    rule = dtc.Rule(method=method, options=dict(methods()[method].example))
    try:
        dtc.compress(model, dtc.Recipe(rules=(rule,)), dtc.Job(output, seconds=0.0, fixed=fixed_inputs(model)))
    except DtcError as error:
        click.echo(f"{model.stem}, {method}: {error}", err=True)
        return None
    return output


def ratio(original: Path, file: Path, feed: dict[str, Any]) -> float:
    """Return how long a run of a file takes, as a share of the original's."""
    sessions = [session(path, threads=1, settings=MEASURED_SESSION) for path in (original, file)]
    before, after = measure_latency([partial(runner(each), feed) for each in sessions], seconds=SECONDS)
    return after.median / before.median


def row(model: Path, names: Sequence[str], folder: Path) -> str:
    """Return the row of a model: for each method the ratio of each batch."""
    feeds = [inputs_of(model, batch) for batch in BATCHES]
    cells = []
    for name in names:
        file = None if model.stem in TOO_SLOW.get(name, ()) else compressed(model, name, folder)
        found = ["-" if file is None or feed is None else f"{ratio(model, file, feed):.2f}" for feed in feeds]
        cells.append(", ".join(found))
    return f"| {model.stem} | " + " | ".join(cells) + " |"


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
        with tempfile.TemporaryDirectory() as folder:
            print(row(model, chosen, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
