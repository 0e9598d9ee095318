"""Measuring distorted weights on the evaluation data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dtc.data import Source
from dtc.errors import DataError
from dtc.forms import AnyArray
from dtc.graph.signature import Arrays
from dtc.labels import PADDING
from dtc.metrics import Metric
from dtc.training.carry import Carry
from dtc.training.engine import Engine


@dataclass(frozen=True)
class Score:
    """Mean loss over the evaluation data, the metric where there is one, and in words which samples these are."""

    loss: float
    metric: str | None = None
    value: float | None = None
    higher_is_better: bool = False
    samples: str = ""

    def beats(self, other: Score | None) -> bool:
        """True if this score is better than `other`, by the metric or else by the loss; NaN is never better."""
        # Every comparison with NaN is false, so a score of NaN never wins. A first score that is infinite counts none
        # the less: it would not be above minus infinity.
        mine, theirs = self.rank(), -np.inf if other is None else other.rank()
        return bool(mine > theirs) or (other is None and not np.isnan(mine))

    def rank(self) -> float:
        """Return the number that is higher for better weights."""
        # Loss 0.4 ranks -0.4, accuracy 0.9 ranks 0.9, perplexity 80 ranks -80.
        if self.value is None:
            return -self.loss
        return self.value if self.higher_is_better else -self.value


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of weights: over all of `source`, in the order of the source, carrying state as in training.

    Attributes:
        make_metric: Makes a new metric for each evaluation; None where the loss alone is reported.
        from_loss: Whether the metric is a function of the mean loss, as perplexity of cross-entropy is; it then takes
            no run of its own.
        output: Name of the model output that the metric reads.
        labels: Name of the labels in a batch.
    """

    source: Source
    carry: Carry
    make_metric: Callable[[], Metric] | None
    output: str
    labels: str
    seed: int
    from_loss: bool = False

    def __call__(self, engine: Engine) -> Score:
        """Return the score of the engine's present weights.

        Raises:
            DataError: The evaluation data has no batches.
        """
        metric = self.make_metric() if self.make_metric else None
        state: dict[str, AnyArray] = {}
        total, samples = 0.0, 0
        for batch in self.source.batches(epoch=0, seed=self.seed, shuffle=False):
            fed = self.carry.join(batch, state)
            loss, outputs = engine.loss(fed)
            state = self.carry.take(outputs)
            # A mean over batches of several sizes weighs each by what counts in it.
            weight = _samples(batch, self.labels)
            total, samples = total + loss * weight, samples + weight
            # A second run of the model for the metric: the loss graph ends in the loss, and the labels are no input of
            # the model.
            if metric and not self.from_loss:
                inputs = {name: array for name, array in fed.items() if name != self.labels}
                metric.update(engine.predict(inputs)[self.output], batch[self.labels])
        if not samples:
            raise DataError(f"{self.source.name}: no batches to evaluate on")
        words = self.source.words
        if metric is None:
            return Score(total / samples, samples=words)
        value = metric.of(total / samples, 1.0) if self.from_loss else metric.value()
        return Score(total / samples, metric.name, float(value), metric.higher_is_better, words)


def _samples(batch: Arrays, labels: str) -> int:
    """Return the weight of a batch in a mean over batches: the number of its labels that count, else of its samples."""
    if labels not in batch:
        return int(next(iter(batch.values())).shape[0])
    given = batch[labels]
    return int((given != PADDING).sum()) if np.issubdtype(given.dtype, np.integer) else int(given.size)
