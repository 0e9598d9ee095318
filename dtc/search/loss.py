"""What other weights cost: how far the outputs are from the original's, and what that does to the metric.

A metric hardly moves while one site changes, and on the samples that a model was trained on it does not move at all;
the distance of the outputs does. Where outputs are scores of classes it is the divergence of Kullback and Leibler from
the original's distribution, in nats; elsewhere the squared error relative to the square of the original's outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dtc.checking import CheckOptions
from dtc.checking.metric import PairMetric
from dtc.checking.report import MetricChange
from dtc.data import Batch
from dtc.errors import DataError
from dtc.evaluate import judged_output, stateful, within_lengths
from dtc.forms import AnyArray, Array
from dtc.graph import load_model
from dtc.graph.signature import Arrays, input_specs
from dtc.paired import Spread, in_blocks, of_samples, of_streams
from dtc.recipe import Objective
from dtc.session import Outputs, runner, session

Doubles = npt.NDArray[np.float64]
Measure = Literal["divergence", "error"]

_PARTS = 16


@dataclass(frozen=True)
class Loss:
    """What a model loses against the original, on some samples.

    Attributes:
        distance: Mean distance of the outputs; infinite where one is not finite.
        deviation: Standard error of that mean.
        rows: Positions that were compared: samples, or the steps of sequences.
        drop: How much worse the metric is, in its own unit; without a metric the relative L2 of the outputs.
        before: The metric of the original; 0 without one.
        after: The metric, or the relative L2.
        drop_error: Standard error of the drop: of the difference of both models on the same samples.
        share_error: The same of the drop as a share of the original's metric.
        count: How many samples the metric was told by; of a stream, blocks of it.
        parts: What each of up to 16 runs of neighbouring positions adds to the distance; by these two models are told
            apart that were run on the same samples.
    """

    distance: float
    deviation: float
    rows: int
    drop: float
    before: float
    after: float
    drop_error: float = np.inf
    share_error: float = np.inf
    count: int = 0
    parts: tuple[float, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return the loss as JSON takes it."""
        return asdict(self)


class Judge:
    """Holds models to the original on batches.

    Args:
        original: The model file to hold others to.
        batches: All the batches there are; a measurement takes so many of the first. The original's outputs for them
            are kept.
        objective: Which output is read, how state is carried, and the metric; no metric: outputs are compared.
        before: Batches of the same stream that are run first, and not compared: what a model loses grows along a stream
            where errors of its state add up.
    """

    def __init__(
        self,
        original: Path,
        batches: Sequence[Batch],
        objective: Objective,
        *,
        measure: Measure,
        before: Sequence[Batch] = (),
    ) -> None:
        self._original, self._batches, self._objective, self._measure = original, batches, objective, measure
        self._before = before
        self._specs = input_specs(load_model(original))
        self._kept: dict[int, list[Outputs]] = {}

    def rows(self, count: int) -> int:
        """Return how many positions the first batches have, which is what a measurement of them compares."""
        return sum(_positions(judged_output(outputs, self._objective)) for outputs in self._wanted(count))

    def measure(self, path: Path, count: int) -> Loss:
        """Return the loss of a model file on the first batches.

        Raises:
            DataError: The outputs do not fit the labels.
            ModelError: The model does not run.
        """
        return self._compare(self._run(path, count), count)

    def compare(self, outputs: Iterable[Outputs], count: int) -> Loss:
        """Return the loss of a model by its outputs on the first batches, between which no state is carried.

        Raises:
            DataError: They do not fit the labels.
        """
        return self._compare(zip(outputs, self._batches[:count], strict=True), count)

    def _compare(self, results: Iterable[tuple[Outputs, Arrays]], count: int) -> Loss:
        objective, parts = self._objective, []
        metric = PairMetric(CheckOptions(objective=objective)) if objective.metric else None
        for outputs, (found, batch) in zip(self._wanted(count), results, strict=True):
            pair = (judged_output(each, objective) for each in (outputs, found))
            wanted, given = (within_lengths(each, each, batch, objective)[0] for each in pair)
            parts.append(_distances(wanted, given, self._measure))
            if metric is not None:
                metric.update(outputs, found, batch)
        return _loss(parts, None if metric is None else metric.change(""), carries=bool(objective.carry))

    def _wanted(self, count: int) -> Sequence[Outputs]:
        if count not in self._kept:
            name = self._objective.output
            self._kept[count] = [
                {key: array for key, array in each.items() if key == (name or next(iter(each)))}
                for each, _ in self._run(self._original, count)
            ]
        return self._kept[count]

    def _run(self, path: Path, count: int) -> Iterator[tuple[Outputs, Arrays]]:
        run = runner(session(path, threads=1))
        batches = (*self._before, *self._batches[:count])
        return islice(stateful(run, batches, self._objective, self._specs), len(self._before), None)


def measure_of(outputs: AnyArray, objective: Objective, *, labelled_by_class: bool) -> Measure:
    """Return how the outputs of a model are compared: those that are scores of classes by their divergence."""
    if is_probability(outputs) and objective.metric is not None and objective.metric.startswith("accuracy"):
        return "divergence"
    if outputs.ndim == 0 or outputs.dtype.kind != "f" or outputs.shape[-1] < 2:
        return "error"
    of_classes = objective.metric == "perplexity" or labelled_by_class or is_distribution(outputs)
    return "divergence" if of_classes or objective.metric == "accuracy" else "error"


def is_distribution(outputs: AnyArray) -> bool:
    """Return whether outputs are probabilities of several classes, in the last axis."""
    if outputs.dtype.kind != "f" or outputs.ndim == 0 or outputs.shape[-1] < 2 or not outputs.size:
        return False
    return bool(outputs.min() >= 0 and np.abs(outputs.sum(axis=-1) - 1).max() <= 1e-3)


def is_probability(outputs: AnyArray) -> bool:
    """Return whether outputs are one probability a position, in a last axis of their own."""
    if outputs.dtype.kind != "f" or outputs.shape[-1:] != (1,) or not outputs.size:
        return False
    return bool(outputs.min() >= 0 and outputs.max() <= 1)


def _positions(outputs: AnyArray) -> int:
    return outputs.size // max(outputs.shape[-1], 1) if outputs.ndim else 1


def _distances(wanted: AnyArray, found: AnyArray, measure: Measure) -> tuple[Doubles, Doubles]:
    """Return the distance of each position, and what it is relative to (ones where it is not)."""
    if found.shape != wanted.shape:
        raise DataError(f"outputs are {list(found.shape)} in place of {list(wanted.shape)}")
    if measure == "divergence":
        divergence = _divergence(wanted.reshape(-1, wanted.shape[-1]), found.reshape(-1, found.shape[-1]))
        return divergence, np.ones(len(divergence))
    # A sample is a row: all that lies behind the first axis.
    rows = len(wanted) if wanted.ndim else 1
    one, other = (np.asarray(each, np.float64).reshape(rows, -1) for each in (wanted, found))
    return np.square(one - other).sum(axis=1), np.square(one).sum(axis=1)


def _divergence(wanted: AnyArray, found: AnyArray) -> Doubles:
    """Return the divergence of each row's distribution from the original's, in nats."""
    one, other = _log_probabilities(wanted), _log_probabilities(found)
    divergence = np.einsum("nc,nc->n", np.exp(one), one - other, dtype=np.float64)
    return np.asarray(np.where(np.isfinite(divergence), np.maximum(divergence, 0), np.inf))


def _log_probabilities(scores: AnyArray) -> Array:
    """Return log probabilities of scores, float32; of probabilities, their logarithms."""
    if scores.shape[-1] == 1:
        scores = np.concatenate([1 - scores, scores], axis=-1)
    if is_distribution(scores):
        return np.log(np.maximum(scores, 1e-12), dtype=np.float32)
    shifted = scores.astype(np.float32) - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _loss(parts: Sequence[tuple[Doubles, Doubles]], metric: MetricChange | None, *, carries: bool) -> Loss:
    noise, signal = (np.concatenate(each) for each in zip(*parts, strict=True))
    total = float(signal.mean()) or 1.0
    distance = float(noise.mean()) / total
    if not np.isfinite(distance):
        return Loss(np.inf, 0.0, len(noise), np.inf, 0.0 if metric is None else metric.before, np.nan)
    deviation = float((noise - distance * signal).std() / total / np.sqrt(len(noise)))
    shares = tuple((in_blocks(noise, _PARTS) / total / len(noise)).tolist())
    if metric is None:
        # Samples, or blocks of a stream, tell how far the distance of others may be; the relative L2 is its root.
        spread = of_streams(len(each) for each, _ in parts) if carries else of_samples
        relative, (error, count) = float(np.sqrt(distance)), _error_of_root(noise, signal, spread)
        return Loss(distance, deviation, len(noise), relative, 0.0, relative, error, error, count, shares)
    drop = metric.drop if np.isfinite(metric.drop) else np.inf
    errors = (metric.drop_error, metric.share_error, metric.count)
    return Loss(distance, deviation, len(noise), drop, metric.before, metric.after, *errors, shares)


def _error_of_root(noise: Doubles, signal: Doubles, spread: Spread) -> tuple[float, int]:
    """Return the standard error of the root of the ratio of two sums over samples, and how many of these tell it."""
    if not noise.sum() or not signal.sum():
        return 0.0 if len(noise) > 1 else np.inf, len(noise)
    ratio = noise.sum() / signal.sum()
    moved = (noise - ratio * signal) / signal.sum() / 2 / np.sqrt(ratio)
    return spread(np.stack([moved, np.ones(len(moved))], axis=1))
