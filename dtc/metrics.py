"""Metrics: numbers that judge a model's outputs on labelled data, computed in one pass over batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from dtc.errors import DataError, UsageError
from dtc.forms import AnyArray

Doubles: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]

PADDING = -1
"""The integer label of a position that does not count."""

KNOWN = ("accuracy", "top-K (top-5)", "perplexity", "mse", "snr")

_BLOCK = 1 << 17  # scores widened to float64 at a time: they stay in the cache, and a long text may be one batch


class Metric(Protocol):
    """A number over a whole data set, built up batch by batch in constant memory."""

    name: str
    higher_is_better: bool

    def update(self, outputs: AnyArray, labels: AnyArray) -> None:
        """Take in one batch: the output that the objective names, and its labels.

        Raises:
            DataError: The two do not belong together.
        """
        ...

    def value(self) -> float:
        """Return the metric over everything seen so far.

        Raises:
            DataError: Nothing was seen that counts.
        """
        ...


class TopK:
    """Share of the positions whose label is among the `k` highest scores; of equal scores the first class wins.

    Outputs `[..., C]` (any monotone score), labels integer `[...]`. A row with NaN is wrong.
    """

    higher_is_better = True

    def __init__(self, k: int) -> None:
        self.name = "accuracy" if k == 1 else f"top-{k}"
        self._k = k
        self._right = 0
        self._seen = 0

    def update(self, outputs: AnyArray, labels: AnyArray) -> None:
        """Count the batch."""
        for scores, chosen in _rows(self.name, outputs, labels):
            # Scores 0.2 0.5 0.5 with label 2: no higher score, one equal score before it, rank 1: wrong for k = 1,
            # right for k = 2. Counting takes one pass; a sort of 10,000 classes a row would take many.
            own = np.take_along_axis(scores, chosen[:, None], axis=1)
            before = np.arange(scores.shape[1]) < chosen[:, None]
            rank = np.sum((scores > own) | ((scores == own) & before), axis=1)
            right = (rank < self._k) & ~np.isnan(scores).any(axis=1)
            self._right += int(right.sum())
            self._seen += len(chosen)

    def value(self) -> float:
        """Return the share in 0..1."""
        return self._right / _counted(self.name, self._seen)


class Perplexity:
    """The exponential of the mean negative log-likelihood, in float64.

    Outputs `[..., C]`: logits, or probabilities (all rows non-negative with sum 1 within 1e-3); labels integer `[...]`.
    """

    name = "perplexity"
    higher_is_better = False

    def __init__(self) -> None:
        self._total = 0.0
        self._seen = 0

    def update(self, outputs: AnyArray, labels: AnyArray) -> None:
        """Add the batch's negative log-likelihood."""
        for scores, chosen in _rows(self.name, outputs, labels):
            self._total -= float(_log_likelihood(scores, chosen).sum())
            self._seen += len(chosen)

    def value(self) -> float:
        """Return the perplexity; infinite where a label had probability 0, NaN where an output was."""
        mean = self._total / _counted(self.name, self._seen)
        with np.errstate(over="ignore"):
            return float(np.exp(mean))


class MeanSquaredError:
    """Mean of the squared differences, in float64; outputs and labels have one shape."""

    name = "mse"
    higher_is_better = False

    def __init__(self) -> None:
        self._total = 0.0
        self._seen = 0

    def update(self, outputs: AnyArray, labels: AnyArray) -> None:
        """Add the batch's squared differences."""
        found, wanted = _pair(self.name, outputs, labels)
        self._total += float(np.square(found - wanted).sum())
        self._seen += found.size

    def value(self) -> float:
        """Return the mean squared error."""
        return self._total / _counted(self.name, self._seen)


class SignalToNoise:
    """10 log10 of the power of the labels over the power of the error, in dB; outputs and labels have one shape."""

    name = "snr"
    higher_is_better = True

    def __init__(self) -> None:
        self._signal = 0.0
        self._noise = 0.0
        self._seen = 0

    def update(self, outputs: AnyArray, labels: AnyArray) -> None:
        """Add the batch's signal and noise."""
        found, wanted = _pair(self.name, outputs, labels)
        self._signal += float(np.square(wanted).sum())
        self._noise += float(np.square(found - wanted).sum())
        self._seen += found.size

    def value(self) -> float:
        """Return the ratio in dB; infinite where there is no error."""
        _counted(self.name, self._seen)
        return decibels(self._signal, self._noise)


def make_metric(name: str) -> Metric:
    """Return a fresh metric: accuracy, top-K (as in top-5), perplexity, mse or snr (dB).

    Raises:
        UsageError: No metric has that name.
    """
    match name:
        case "accuracy":
            return TopK(1)
        case "perplexity":
            return Perplexity()
        case "mse":
            return MeanSquaredError()
        case "snr":
            return SignalToNoise()
    kind, _, k = name.partition("-")
    if kind == "top" and k.isascii() and k.isdigit() and 0 < int(k) < 1 << 31:
        return TopK(int(k))
    raise UsageError(f"no metric is called {name!r}; there are: {', '.join(KNOWN)}")


def default_metric(labels: AnyArray | None, *, carries: bool = False) -> str:
    """Return the metric that fits the labels: accuracy for integers, mse for floats, snr where there are none.

    Integer labels of a model that carries state from batch to batch are those of a language model: perplexity. Without
    labels a model is compared with the original model's own outputs.
    """
    if labels is None:
        return "snr"
    if labels.dtype.kind == "f":
        return "mse"
    return "perplexity" if carries else "accuracy"


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise); infinite without noise, minus infinite without signal."""
    if math.isnan(signal) or math.isnan(noise):
        return math.nan
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and noise < math.inf else -math.inf


def _counted(name: str, seen: int) -> int:
    if seen == 0:
        raise DataError(f"metric {name}: the data holds no labelled sample")
    return seen


def _rows(name: str, outputs: AnyArray, labels: AnyArray) -> Iterator[tuple[Doubles, Labels]]:
    """Yield blocks of rows that count: scores float64 `[rows, C]` and labels `[rows]`."""
    if labels.dtype.kind not in "iub":
        raise DataError(f"metric {name} needs integer labels; these are {labels.dtype}")
    if outputs.ndim == 0 or outputs.shape[:-1] != labels.shape or outputs.shape[-1] == 0:
        raise DataError(
            f"metric {name}: outputs of shape {list(outputs.shape)} do not fit labels of shape {list(labels.shape)}; "
            "outputs [..., classes] need labels [...]"
        )
    # outputs [T, N, C] and labels [T, N] -> scores [T * N, C] and labels [T * N], in blocks of 2^17 scores
    classes = outputs.shape[-1]
    flat, chosen = outputs.reshape(-1, classes), labels.reshape(-1).astype(np.int64)
    _refuse_strangers(name, chosen, classes)
    step = max(1, _BLOCK // classes)
    for start in range(0, len(chosen), step):
        # Padding leaves before the widening to float64; a block of padding alone yields nothing.
        counts = chosen[start : start + step] != PADDING
        block = flat[start : start + step][counts].astype(np.float64)
        if len(block):
            yield block, chosen[start : start + step][counts]


def _refuse_strangers(name: str, labels: Labels, classes: int) -> None:
    strange = labels[(labels < PADDING) | (labels >= classes)]
    if len(strange):
        raise DataError(f"metric {name}: label {strange[0]} is none of the {classes} classes (-1 marks padding)")


def _pair(name: str, outputs: AnyArray, labels: AnyArray) -> tuple[Doubles, Doubles]:
    if outputs.shape != labels.shape:
        raise DataError(
            f"metric {name}: outputs of shape {list(outputs.shape)} do not fit labels of shape {list(labels.shape)}; "
            "they must have the same shape"
        )
    return outputs.astype(np.float64), labels.astype(np.float64)


def _log_likelihood(scores: Doubles, labels: Labels) -> Doubles:
    chosen = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Probabilities are taken as they are; all else is logits, whose largest is taken off against overflow.
        if scores.min() >= 0 and np.all(np.abs(scores.sum(axis=1) - 1) <= 1e-3):
            return np.asarray(np.log(chosen))
        top = scores.max(axis=1, keepdims=True)
        likelihood: Doubles = chosen - top[:, 0] - np.log(np.exp(scores - top).sum(axis=1))
        return likelihood
