"""Metrics: numbers that judge a model's outputs on labelled data, computed in one pass over batches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from dtc.ctc import check_scores, checked_sequences, decode, edit_distance
from dtc.errors import DataError, UsageError
from dtc.forms import AnyArray
from dtc.labels import PADDING

Doubles: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]


KNOWN = (
    "accuracy",
    "top-K (top-5)",
    "perplexity",
    "label-error",
    "mse",
    "snr",
    "accuracy@T (one score, class 1 above T)",
)

_BLOCK = 1 << 17  # scores widened to float64 at a time: they stay in the cache, and a long text may be one batch


class Metric(ABC):
    """A number over a whole data set: a function of the ratio of two sums over its samples, kept batch by batch.

    Attributes:
        name: As the user writes it.
        higher_is_better: Its direction.
        grain: What the first sum changes by at the least, as by one sample that is right or not; 0: by any amount.
    """

    name: str
    higher_is_better: bool
    grain: ClassVar[float] = 0.0

    def __init__(self) -> None:
        self._sums = np.zeros(2)
        self._seen = 0.0

    def update(self, outputs: AnyArray, labels: AnyArray) -> None:
        """Take in one batch: the output that the objective names, and its labels.

        Raises:
            DataError: The two do not belong together.
        """
        self.add(self.terms(outputs, labels))

    def add(self, terms: Doubles) -> None:
        """Take in the terms of samples."""
        self._sums += terms.sum(axis=0)
        self._seen += self._counted(terms)

    def value(self) -> float:
        """Return the metric over everything seen so far.

        Raises:
            DataError: Nothing was seen that counts.
        """
        if not self._seen:
            raise DataError(f"metric {self.name}: the data holds no labelled sample")
        return self.of(float(self._sums[0]), float(self._sums[1]))

    @abstractmethod
    def terms(self, outputs: AnyArray, labels: AnyArray) -> Doubles:
        """Return what each sample, an item of the first axis, adds to both sums, `[samples, 2]`.

        Raises:
            DataError: Outputs and labels do not belong together.
        """

    @abstractmethod
    def of(self, first: float, second: float) -> float:
        """Return the metric of both sums."""

    @abstractmethod
    def slope(self, ratio: float) -> float:
        """Return the derivative of the metric by the ratio of the first sum to the second."""

    def stand_in(self, outputs: AnyArray) -> AnyArray:
        """Return the labels by which these outputs are perfect, for data that has none."""
        return outputs

    def _counted(self, terms: Doubles) -> float:
        return float(terms[:, 1].sum())


class TopK(Metric):
    """Share of the positions whose label is among the `k` highest scores; of equal scores the first class wins.

    Outputs `[..., C]` (any monotone score), labels integer `[...]`. A row with NaN is wrong. With one score a position,
    `[..., 1]` or `[...]`, the class is 1 where it is above the threshold, else 0; labels have either shape.
    """

    higher_is_better = True
    grain: ClassVar[float] = 1.0

    def __init__(self, k: int, threshold: float | None = None) -> None:
        super().__init__()
        self.name = f"top-{k}" if k > 1 else "accuracy" if threshold is None else f"accuracy@{threshold:g}"
        self._k = k
        self._threshold = threshold

    def terms(self, outputs: AnyArray, labels: AnyArray) -> Doubles:
        """Return how many positions of each sample are right, and how many count."""
        if self._k == 1 and _has_one_score(outputs, labels):
            return self._binary_terms(outputs, labels.reshape(outputs.shape))
        sums = _Sums(labels)
        for scores, chosen, samples in _rows(self.name, outputs, labels):
            # Scores 0.2 0.5 0.5 with label 2: no higher score, one equal score before it, rank 1: wrong for k = 1,
            # right for k = 2. Counting takes one pass; a sort of 10,000 classes a row would take many.
            own = np.take_along_axis(scores, chosen[:, None], axis=1)
            before = np.arange(scores.shape[1]) < chosen[:, None]
            rank = np.sum((scores > own) | ((scores == own) & before), axis=1)
            sums.add(samples, (rank < self._k) & ~np.isnan(scores).any(axis=1))
        return sums.terms

    def of(self, first: float, second: float) -> float:
        """Return the share in 0..1."""
        return first / second

    def slope(self, ratio: float) -> float:
        """Return 1."""
        return 1.0

    def stand_in(self, outputs: AnyArray) -> AnyArray:
        """Return the class of each position."""
        if self._k == 1 and outputs.shape[-1:] == (1,):
            return self._classes(outputs)
        return np.asarray(outputs.argmax(axis=-1))

    def _binary_terms(self, outputs: AnyArray, labels: AnyArray) -> Doubles:
        _refuse_strangers(self.name, labels.reshape(-1).astype(np.int64), 2)
        counts = labels != PADDING
        right = (self._classes(outputs) == labels) & ~np.isnan(outputs) & counts
        return np.stack([each.reshape(len(labels), -1).sum(axis=1) for each in (right, counts)], axis=1).astype(float)

    def _classes(self, outputs: AnyArray) -> Labels:
        scores = outputs.astype(np.float64)
        if self._threshold is None and (np.nanmin(scores, initial=0) < 0 or np.nanmax(scores, initial=0) > 1):
            raise DataError(
                "metric accuracy: the one score of a position is no probability; say --metric accuracy@0 for scores "
                "of which those above 0 mean class 1"
            )
        return np.asarray(scores > (0.5 if self._threshold is None else self._threshold), np.int64)


class Perplexity(Metric):
    """The exponential of the mean negative log-likelihood, in float64.

    Outputs `[..., C]`: logits, or probabilities (all rows non-negative with sum 1 within 1e-3); labels integer `[...]`.
    """

    name = "perplexity"
    higher_is_better = False

    def terms(self, outputs: AnyArray, labels: AnyArray) -> Doubles:
        """Return the negative log-likelihood of each sample, and how many of its positions count."""
        sums = _Sums(labels)
        for scores, chosen, samples in _rows(self.name, outputs, labels):
            sums.add(samples, -_log_likelihood(scores, chosen))
        return sums.terms

    def of(self, first: float, second: float) -> float:
        """Return the perplexity; infinite where a label had probability 0, NaN where an output was."""
        with np.errstate(over="ignore"):
            return float(np.exp(first / second))

    def slope(self, ratio: float) -> float:
        """Return the perplexity again."""
        return self.of(ratio, 1.0)

    def stand_in(self, outputs: AnyArray) -> AnyArray:
        """Return the likeliest class of each position."""
        return np.asarray(outputs.argmax(axis=-1))


class LabelError(Metric):
    """Labels to insert, delete or replace for what was spelt to be right, as a share of the labels there are.

    Outputs `[T, N, C]`, class 0 the blank, decoded by the best class of each step (`dtc.ctc`); labels integer
    `[N, L]`, -1 behind the last one of a sequence.
    """

    name = "label-error"
    higher_is_better = False
    grain: ClassVar[float] = 1.0

    def terms(self, outputs: AnyArray, labels: AnyArray) -> Doubles:
        """Return the edit distance of each sequence, and how many labels it has."""
        wanted = checked_sequences(labels)
        check_scores(outputs.shape, wanted)
        told = [row[row != PADDING] for row in wanted]
        errors = [edit_distance(found, right) for found, right in zip(decode(outputs), told, strict=True)]
        return np.array([errors, [len(right) for right in told]], np.float64).T

    def of(self, first: float, second: float) -> float:
        """Return the rate, from 0 on; 0.01 is a point."""
        return first / second

    def slope(self, ratio: float) -> float:
        """Return 1."""
        return 1.0

    def stand_in(self, outputs: AnyArray) -> AnyArray:
        """Return the labels that are spelt."""
        found = decode(outputs)
        labels = np.full((len(found), max(map(len, found), default=0)), PADDING)
        for row, each in zip(labels, found, strict=True):
            row[: len(each)] = each
        return labels


class MeanSquaredError(Metric):
    """Mean of the squared differences, in float64; outputs and labels have one shape."""

    name = "mse"
    higher_is_better = False

    def terms(self, outputs: AnyArray, labels: AnyArray) -> Doubles:
        """Return the squared differences of each sample, and how many there are."""
        found, wanted = _pair(self.name, outputs, labels)
        return np.stack([np.square(found - wanted).sum(axis=1), np.full(len(found), found.shape[1])], axis=1)

    def of(self, first: float, second: float) -> float:
        """Return the mean squared error."""
        return first / second

    def slope(self, ratio: float) -> float:
        """Return 1."""
        return 1.0


class SignalToNoise(Metric):
    """10 log10 of the power of the labels over the power of the error, in dB; outputs and labels have one shape."""

    name = "snr"
    higher_is_better = True

    def terms(self, outputs: AnyArray, labels: AnyArray) -> Doubles:
        """Return the noise of each sample, and its signal."""
        found, wanted = _pair(self.name, outputs, labels)
        return np.stack([np.square(found - wanted).sum(axis=1), np.square(wanted).sum(axis=1)], axis=1)

    def of(self, first: float, second: float) -> float:
        """Return the ratio in dB; infinite where there is no error."""
        return decibels(second, first)

    def slope(self, ratio: float) -> float:
        """Return what the ratio of noise to signal is worth in dB; minus infinity without noise."""
        return -10 / math.log(10) / ratio if ratio > 0 else -math.inf

    def _counted(self, terms: Doubles) -> float:
        return len(terms)


def make_metric(name: str) -> Metric:
    """Return a fresh metric: accuracy, top-K (top-5), perplexity, label-error, mse, snr (dB), accuracy@T (one score).

    Raises:
        UsageError: No metric has that name.
    """
    match name:
        case "accuracy":
            return TopK(1)
        case "perplexity":
            return Perplexity()
        case "label-error":
            return LabelError()
        case "mse":
            return MeanSquaredError()
        case "snr":
            return SignalToNoise()
    if name.startswith("accuracy@") and (threshold := _number(name.removeprefix("accuracy@"))) is not None:
        return TopK(1, threshold)
    kind, _, k = name.partition("-")
    if kind == "top" and k.isascii() and k.isdigit() and 0 < int(k) < 1 << 31:
        return TopK(int(k))
    raise UsageError(f"no metric is called {name!r}; there are: {', '.join(KNOWN)}")


def default_metric(labels: AnyArray | None, *, carries: bool = False, sequences: bool = False) -> str:
    """Return the metric that fits the labels: accuracy for integers, mse for floats, snr where there are none.

    Of sequences of labels it is their error rate. Integer labels of a model that carries state from batch to batch are
    those of a language model: perplexity. Without labels a model is compared with the original model's own outputs.
    """
    if labels is None:
        return "snr"
    if labels.dtype.kind == "f":
        return "mse"
    if sequences:
        return "label-error"
    return "perplexity" if carries else "accuracy"


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise); infinite without noise, minus infinite without signal."""
    if math.isnan(signal) or math.isnan(noise):
        return math.nan
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and noise < math.inf else -math.inf


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


class _Sums:
    """Two sums for each sample: of what its positions have, and of how many count."""

    def __init__(self, labels: AnyArray) -> None:
        self.terms = np.zeros((len(labels) if labels.ndim else 1, 2))

    def add(self, samples: Labels, values: npt.NDArray[Any]) -> None:
        """Add what some positions have, each to its sample."""
        count = len(self.terms)
        self.terms[:, 0] += np.bincount(samples, weights=values, minlength=count)
        self.terms[:, 1] += np.bincount(samples, minlength=count)


def _has_one_score(outputs: AnyArray, labels: AnyArray) -> bool:
    """Return whether each position has one score alone: outputs `[N, 1]` or `[N]` with labels `[N]` or `[N, 1]`."""
    if labels.ndim == 0 or labels.dtype.kind not in "iub" or outputs.dtype.kind != "f":
        return False
    of_one = outputs.shape[-1:] == (1,) and outputs.shape[:-1] == labels.shape
    return of_one or outputs.shape == labels.shape


def _rows(name: str, outputs: AnyArray, labels: AnyArray) -> Iterator[tuple[Doubles, Labels, Labels]]:
    """Yield blocks of rows that count: scores float64 `[rows, C]`, labels `[rows]` and the sample of each `[rows]`."""
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
    positions = max(1, math.prod(labels.shape[1:]))
    for start in range(0, len(chosen), step):
        # Padding leaves before the widening to float64; a block of padding alone yields nothing.
        counts = chosen[start : start + step] != PADDING
        block = flat[start : start + step][counts].astype(np.float64)
        if len(block):
            samples = (np.flatnonzero(counts) + start) // positions
            yield block, chosen[start : start + step][counts], samples


def _refuse_strangers(name: str, labels: Labels, classes: int) -> None:
    strange = labels[(labels < PADDING) | (labels >= classes)]
    if len(strange):
        raise DataError(f"metric {name}: label {strange[0]} is none of the {classes} classes (-1 marks padding)")


def _pair(name: str, outputs: AnyArray, labels: AnyArray) -> tuple[Doubles, Doubles]:
    """Return outputs and labels as float64, a row a sample."""
    if outputs.shape != labels.shape:
        raise DataError(
            f"metric {name}: outputs of shape {list(outputs.shape)} do not fit labels of shape {list(labels.shape)}; "
            "they must have the same shape"
        )
    rows = len(outputs) if outputs.ndim else 1
    width = outputs.size // rows if rows else 0
    return outputs.astype(np.float64).reshape(rows, width), labels.astype(np.float64).reshape(rows, width)


def _log_likelihood(scores: Doubles, labels: Labels) -> Doubles:
    chosen = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Probabilities are taken as they are; all else is logits, whose largest is taken off against overflow.
        if scores.min() >= 0 and np.all(np.abs(scores.sum(axis=1) - 1) <= 1e-3):
            return np.asarray(np.log(chosen))
        top = scores.max(axis=1, keepdims=True)
        likelihood: Doubles = chosen - top[:, 0] - np.log(np.exp(scores - top).sum(axis=1))
        return likelihood
