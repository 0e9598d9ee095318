"""Measuring distorted weights on the evaluation data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dtc.data import Source
from dtc.errors import DataError
from dtc.evaluate import judged_output, within_lengths
from dtc.forms import AnyArray
from dtc.graph.signature import Arrays
from dtc.labels import PADDING
from dtc.lengths import is_row_a_sequence, steps_of
from dtc.metrics import Metric
from dtc.recipe import Objective
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
        objective: Which output the metric reads, and which arrays of a batch are labels and lengths.
        samples: The axis of the samples in outputs and labels, where the model tells it.
    """

    source: Source
    carry: Carry
    make_metric: Callable[[], Metric] | None
    objective: Objective
    seed: int
    samples: int | None = None
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
            weight = self._counted(batch)
            total, samples = total + loss * weight, samples + weight
            # A second run of the model for the metric: the loss graph ends in the loss, and the labels are no input of
            # the model.
            if metric and not self.from_loss:
                metric.update(*self._judged(engine, fed))
        if not samples:
            raise DataError(f"{self.source.name}: no batches to evaluate on")
        words = self.source.words
        if metric is None:
            return Score(total / samples, samples=words)
        value = metric.of(total / samples, 1.0) if self.from_loss else metric.value()
        return Score(total / samples, metric.name, float(value), metric.higher_is_better, words)

    def _judged(self, engine: Engine, fed: Arrays) -> tuple[AnyArray, AnyArray]:
        """Return the outputs and the labels that count."""
        inputs = {name: array for name, array in fed.items() if name != self.objective.labels}
        outputs = judged_output(engine.predict(inputs), self.objective)
        return within_lengths(outputs, fed[self.objective.labels], fed, self.objective, self.samples)

    def _counted(self, batch: Arrays) -> int:
        """Return the weight of a batch in a mean over batches: how many of its labels count, else of its samples."""
        if self.objective.labels not in batch:
            return int(next(iter(batch.values())).shape[0])
        labels = batch[self.objective.labels]
        lengths = batch.get(self.objective.lengths or "")
        steps = None
        if lengths is not None and not is_row_a_sequence(labels, lengths):
            steps = steps_of(labels.shape, lengths, self.samples)
        counted = labels if steps is None else labels[steps.inside]
        return int((counted != PADDING).sum()) if np.issubdtype(counted.dtype, np.integer) else int(counted.size)
