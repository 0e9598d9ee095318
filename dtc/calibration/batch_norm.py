"""Statistics of BatchNormalization for weights that were changed, in the installed ONNX Runtime.

What a compression changes in the weights shifts what every BatchNormalization behind them sees; its statistics are
those of other weights. There are three answers:

1. They stay as they were: right where little has changed.
2. They are measured anew on samples (Y. Wu, J. Johnson: Rethinking "Batch" in BatchNorm, 2021, arXiv 2105.07576): right
   where the samples are what the model was trained on. Clean images are not, where it was trained on augmented ones:
   then their own statistics do harm, even to weights that have not changed at all.
3. They are corrected by what the change of the weights does to the moments of the same samples (ours): a channel comes
   out of the normalisation with the mean and the variance that it has in the original.

Which of them is the best is not to be known beforehand, so outputs decide: those nearest to the original's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.data import Batch, Source
from dtc.evaluate import Run, stateful
from dtc.forms import AnyArray
from dtc.graph import save_model
from dtc.graph.inference import infer_shapes
from dtc.graph.signature import input_specs
from dtc.passes.prepare.batch_moments import (
    BATCHES,
    Exposed,
    Statistics,
    correct_moments,
    corrected,
    expose_moments,
    given_statistics,
    pooled,
    use_batch_moments,
)
from dtc.recipe import Objective
from dtc.scratch import scratch_folder
from dtc.session import runner, session

ENOUGH = 256
"""Values of a channel from which its variance is known to a tenth; with fewer, statistics stay as they are."""

JUDGED = 8
"""Batches on which outputs are compared, others than statistics are measured on where there are others."""

Answer: TypeAlias = Literal["kept", "corrected", "measured"]


@dataclass(frozen=True)
class NearestStatistics:
    """The statistics that bring the outputs nearest to the original's.

    Attributes:
        answer: Which ones these are.
        statistics: Those of them that differ from the original's.
        distances: Squared distance of the outputs from the original's relative to their square, by answer.
    """

    answer: Answer
    statistics: Statistics
    distances: Mapping[Answer, float]


@dataclass(frozen=True)
class Bench:
    """Samples for statistics, and how they are read.

    Attributes:
        source: The samples.
        objective: How the state is carried from batch to batch.
        seed: Of the order of the samples.
    """

    source: Source
    objective: Objective
    seed: int

    def batches(self, start: int, count: int) -> Iterable[Batch]:
        """Return `count` batches from number `start` on, or as many as there are."""
        # In order of the samples where state is carried; elsewhere the first may well be all of one class.
        shuffle = not self.objective.carry
        return islice(self.source.batches(epoch=0, seed=self.seed, shuffle=shuffle, start=start), count)

    def measure(self, model: ir.Model, expose: Callable[[ir.Model], list[Exposed]]) -> Statistics:
        """Return what enters each BatchNormalization over the first batches, after a change that exposes it.

        Empty where there are none, where the batch is fixed to one sample, or with too few samples.

        Raises:
            DataError: The samples do not fit the model.
        """
        clone = model.clone()
        # 1. Whether the batch is fixed to one sample is a matter of shapes, so these are inferred first.
        infer_shapes(clone)
        exposed = expose(clone)
        if not exposed:
            return {}
        # 2. Mean, variance and shape of each norm become outputs.
        clone.graph.outputs.extend(value for each in exposed for value in each.values)
        names = [[str(value.name) for value in each.values] for each in exposed]
        # 3. Sums over all batches; the variance is about the common mean, not the mean of the batches' variances.
        return pooled(
            (
                [each.moments(*(outputs[name] for name in three)) for each, three in zip(exposed, names, strict=True)]
                for outputs in self.outputs(clone, self.batches(0, BATCHES))
            ),
            enough=ENOUGH,
        )

    def outputs(self, model: ir.Model, batches: Iterable[Batch]) -> Iterator[Mapping[str, AnyArray]]:
        """Yield the outputs of a model for each batch."""
        for outputs, _ in stateful(_runner(model), batches, self.objective, input_specs(model)):
            yield outputs


def measure_statistics(model: ir.Model, source: Source, objective: Objective, *, seed: int) -> Statistics:
    """Return the statistics of the BatchNormalizations of `model` measured anew, over the first batches of `source`.

    Norms use the moments of the batch meanwhile, so that those further back see what they would see with the new
    statistics. Empty where there are none, where the batch is fixed to one sample, or with too few samples.

    Raises:
        DataError: The samples do not fit the model.
    """
    return Bench(source, objective, seed).measure(model, use_batch_moments)


def choose_statistics(
    model: ir.Model, original: ir.Model, source: Source, objective: Objective, *, seed: int
) -> NearestStatistics | None:
    """Return the statistics with which the outputs of `model` are nearest to those of `original`.

    Both have the same BatchNormalizations. None where there are none, or as `measure_statistics`.

    Raises:
        DataError: The samples do not fit the model.
    """
    bench = Bench(source, objective, seed)
    observed = bench.measure(original, expose_moments)
    if not observed:
        return None
    given = given_statistics(original)
    changed = bench.measure(model, lambda clone: correct_moments(clone, given, observed))
    answers: dict[Answer, Statistics] = {
        "kept": given,
        "corrected": {**given, **corrected(given, observed, changed)},
        "measured": {**given, **bench.measure(model, use_batch_moments)},
    }
    # Other batches than those that were measured, where there are any.
    start = BATCHES if any(True for _ in bench.batches(BATCHES, 1)) else 0
    wanted = list(bench.outputs(original, bench.batches(start, JUDGED)))
    distances = {
        answer: _distance(wanted, bench.outputs(with_statistics(model, statistics), bench.batches(start, JUDGED)))
        for answer, statistics in answers.items()
    }
    best = min(distances, key=lambda answer: distances[answer])  # of equal ones the first: what is there stays
    return NearestStatistics(best, answers[best], distances)


def with_statistics(model: ir.Model, statistics: Statistics) -> ir.Model:
    """Return a copy of a model that has other statistics."""
    clone = model.clone()
    for name, array in statistics.items():
        clone.graph.initializers[name].const_value = ir.tensor(array, name=name)
    return clone


def _runner(model: ir.Model) -> Run:
    with scratch_folder() as folder:
        path = folder / "measured.onnx"
        save_model(model, path)
        return runner(session(path, called="the model"))


def _distance(wanted: Sequence[Mapping[str, AnyArray]], found: Iterable[Mapping[str, AnyArray]]) -> float:
    """Return the mean over the float outputs of their squared distance relative to their square; inf for NaN."""
    noise: dict[str, float] = {}
    signal: dict[str, float] = {}
    for one, other in zip(wanted, found, strict=True):
        for name, array in one.items():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                difference = np.subtract(other[name], array, dtype=np.float64)
                noise[name] = noise.get(name, 0.0) + float(np.square(difference).sum())
                signal[name] = signal.get(name, 0.0) + float(np.square(array, dtype=np.float64).sum())
    relative = [noise[name] / signal[name] if signal[name] else noise[name] for name in noise]
    distance = float(np.mean(relative)) if relative else 0.0
    return distance if np.isfinite(distance) else np.inf
