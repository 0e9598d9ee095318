"""Latency and memory of models, side by side in one run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from dtc.errors import DataError
from dtc.graph.load import load_model
from dtc.graph.signature import Arrays, TensorSpec, input_specs
from dtc.measure import MEASURED_SESSION, Latency, Memory, file_bytes, machine, measure_latency, measure_memory
from dtc.sample_inputs import batch_dimension, sample_inputs
from dtc.session import runner, session, signature


@dataclass(frozen=True)
class BenchRow:
    """What was measured of one model, and on what."""

    path: Path
    file_bytes: int
    latency: Latency
    memory: Memory | None
    inputs: dict[str, tuple[int, ...]]
    threads: int
    machine: str
    versions: dict[str, str]


def bench(
    paths: Sequence[str | Path],
    *,
    threads: int = 1,
    batch: int | None = None,
    seconds: float = 3.0,
    fixed: Arrays | None = None,
    seed: int = 0,
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
        if specs not in feeds:
            try:
                feeds[specs] = _feed(load_model(path), run, batch, fixed, seed)
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
        chosen.append(feeds[specs])
        runs.append(run)
    timed = measure_latency([partial(run, feed) for run, feed in zip(runs, chosen, strict=True)], seconds=seconds)
    return [
        BenchRow(
            path=Path(path),
            file_bytes=file_bytes(path),
            latency=latency,
            memory=measure_memory(path, feed, threads=threads, native=native),
            inputs={name: array.shape for name, array in feed.items()},
            threads=threads,
            machine=machine(),
            versions={"python": sys.version.split()[0], "onnxruntime": ort.__version__, "numpy": np.__version__},
        )
        for path, feed, latency in zip(paths, chosen, timed, strict=True)
    ]


def _feed(
    model: ir.Model, run: Callable[[Arrays], object], batch: int | None, fixed: Arrays | None, seed: int
) -> Arrays:
    sizes = {} if batch is None else {batch_dimension(input_specs(model)): batch}
    return sample_inputs(model, run, count=1, seed=seed, fixed=fixed, sizes=sizes)[0]
