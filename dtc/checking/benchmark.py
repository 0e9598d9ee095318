"""Latency and memory of several models, measured side by side in one run and compared with no reference."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from pydantic import Field

from dtc.checking.measurements import MEASURED_SESSION, Latency, Memory, machine, measure_latency, measure_memory
from dtc.document import Document, DocumentPart
from dtc.errors import DataError
from dtc.graph import file_bytes, load_model
from dtc.graph.signature import Arrays, TensorSpec, input_specs
from dtc.sample_inputs import batch_dimension, sample_inputs
from dtc.session import runner, session, signature


class BenchRow(DocumentPart):
    """What was measured of one model, and on what."""

    path: Path
    file_bytes: int
    latency: Latency
    memory: Memory | None
    inputs: dict[str, tuple[int, ...]]
    threads: int
    machine: str
    versions: dict[str, str]


class BenchReport(Document):
    """What `dtc bench --json` prints: a row a model, in the order in which they were named."""

    schema_: Literal["dtc-bench/1"] = Field("dtc-bench/1", alias="schema")
    models: tuple[BenchRow, ...]


def bench(
    paths: Sequence[str | Path],
    *,
    threads: int = 1,
    batch: int | None = None,
    seconds: float = 3.0,
    fixed: Arrays | None = None,
    native: bool = True,
) -> list[BenchRow]:
    """Measure models in turns in this process; models with the same inputs get the same numbers.

    `batch` is the size of the free dimension that counts samples (`dtc.sample_inputs.batch_dimension`), 1 if not given;
    `fixed` gives inputs as they are; `seconds` is the time for all models together, memory not counted; `native` as for
    `dtc.session.session`.

    Raises:
        ModelError: A model cannot be loaded or run.
        DataError: No inputs that a model accepts were found, or it has no free batch dimension and `batch` is given.
    """
    feeds: dict[tuple[TensorSpec, ...], Arrays] = {}
    chosen: list[Arrays] = []
    runs: list[Callable[[Arrays], object]] = []
    for path in map(Path, paths):
        running = session(path, threads=threads, settings=MEASURED_SESSION, native=native)
        specs, run = signature(running)[0], runner(running)
        # Models with equal inputs are fed equal numbers: times of different inputs would not compare.
        if specs not in feeds:
            feeds[specs] = _feed(path, run, batch, fixed)
        chosen.append(feeds[specs])
        runs.append(run)
    # All sessions are open before the first is timed, so that they take turns under the same conditions.
    timed = measure_latency([partial(run, feed) for run, feed in zip(runs, chosen, strict=True)], seconds=seconds)
    rows = []
    for path, feed, latency in zip(map(Path, paths), chosen, timed, strict=True):
        memory = measure_memory(path, feed, threads=threads, native=native)
        rows.append(_row(path, feed, latency, memory, threads))
    return rows


def _row(path: Path, feed: Arrays, latency: Latency, memory: Memory | None, threads: int) -> BenchRow:
    return BenchRow(
        path=path,
        file_bytes=file_bytes(path, load_model(path)),
        latency=latency,
        memory=memory,
        inputs={name: array.shape for name, array in feed.items()},
        threads=threads,
        machine=machine(),
        versions={"python": sys.version.split()[0], "onnxruntime": ort.__version__, "numpy": np.__version__},
    )


def _feed(path: Path, run: Callable[[Arrays], object], batch: int | None, fixed: Arrays | None) -> Arrays:
    model = load_model(path)
    try:
        sizes = {} if batch is None else {batch_dimension(input_specs(model)): batch}
        return sample_inputs(model, run, count=1, seed=0, fixed=fixed, sizes=sizes)[0]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
