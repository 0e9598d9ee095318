"""How certain the difference of two models is that were judged on the same samples.

Most samples are right with both models, or wrong with both, and tell nothing of the difference: its standard error is
that of what single samples contribute to it, and not of two shares. A metric is a function f of the ratio r = N / D of
two sums over samples, so that sample i moves it by

    f'(r) (N_i - r D_i) / D

(the infinitesimal jackknife: B. Efron, The jackknife, the bootstrap and other resampling plans, 1982, chapter 6). The
contributions of both models are subtracted sample by sample, and the root of the sum of their squares is the error.
Samples that follow one another in a stream are alike: there, sums over blocks of a stream, or over whole streams, stand
for samples. How far samples are alike is told by the blocks themselves: the longer they are, the larger the error that
they tell, until they are longer than what makes neighbours alike (H. Flyvbjerg and H. G. Petersen, Error estimates on
averages of correlated data, 1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from dtc.metrics import Doubles, Metric

_FEWEST = 16
"""Blocks, or streams, that an error is told by at the least: to a fifth or so."""

Spread: TypeAlias = Callable[[Doubles], tuple[float, int]]
"""Returns the standard error of a sum over samples, and how many samples or blocks tell it.

Takes `[samples, 2]`: what each contributes, and 1 where it counts, else 0."""


@dataclass(frozen=True)
class PairedError:
    """Standard errors of a difference.

    Attributes:
        drop: Of the metric after less the metric before.
        share: Of that as a share of the metric before.
        samples: How many samples, or blocks of a stream, they were told by.
    """

    drop: float
    share: float
    samples: int


def paired_error(metric: Metric, before: Doubles, after: Doubles, spread: Spread) -> PairedError:
    """Return the standard errors of a metric's change, by the terms of both models on the same samples, `[samples, 2]`.

    `spread` is `of_samples`, or that of `of_streams`. Errors are infinite where there is but one sample, or the metric
    is not finite. A share of samples is not told more finely than by one of them: without a single difference among
    100, the error is a hundredth.

    In: accuracy, 100 samples that were right, of which 4 are wrong now. Out: about sqrt(4 + 1) / 100.
    """
    counted = (before != 0).any(axis=1) | (after != 0).any(axis=1)
    count = int(counted.sum())
    if count < 2 or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return PairedError(math.inf, math.inf, count)
    value, changed = (metric.of(*each.sum(axis=0)) for each in (before, after))
    if not (math.isfinite(value) and math.isfinite(changed)):
        return PairedError(math.inf, math.inf, count)
    one, other = _contributions(metric, before), _contributions(metric, after)
    grain = metric.grain / max(after[:, 1].sum(), 1.0)
    error, told = spread(np.stack([other - one, counted], axis=1))
    drop = _with_grain(error, grain)
    if not value:
        return PairedError(drop, drop, told)
    share, _ = spread(np.stack([(other - one * changed / value) / value, counted], axis=1))
    return PairedError(drop, _with_grain(share, grain / abs(value)), told)


def of_samples(contributions: Doubles) -> tuple[float, int]:
    """Return the standard error of a sum over samples that are nothing to each other, and their number."""
    counted = contributions[contributions[:, 1] > 0, 0]
    count = len(counted)
    if count < 2:
        return math.inf, count
    with np.errstate(invalid="ignore", over="ignore"):
        return math.sqrt(float(np.square(counted).sum()) * count / (count - 1)), count


def of_streams(batches: Iterable[int]) -> Spread:
    """Return the spread of samples of streams, which go on from batch to batch, by how many samples each batch has.

    The error is the largest that blocks of 1, 2, 4 and so on neighbours tell, 16 blocks at the least. Neighbours are
    those of a batch, which may be steps of one stream, and those of the same place in batches, which may be steps of
    one of several.

    In: 100 batches of 32 samples; at each place all are wrong, or none. Out: what 32 samples tell.
    """
    sizes = set(batches)
    beside = sizes.pop() if len(sizes) == 1 else 1

    def spread(contributions: Doubles) -> tuple[float, int]:
        by_place = contributions.reshape(-1, beside, 2).swapaxes(0, 1).reshape(-1, 2)
        return max(of_samples(each) for order in (contributions, by_place) for each in _longer_blocks(order))

    return spread


def _longer_blocks(contributions: Doubles) -> Iterator[Doubles]:
    yield contributions
    while len(contributions) >= 2 * _FEWEST:
        contributions = in_blocks(contributions, len(contributions) // 2)
        yield contributions


def in_blocks(terms: Doubles, most: int) -> Doubles:
    """Return terms, `[samples]` or `[samples, 2]`, summed over blocks of neighbours, `most` of them."""
    starts = np.linspace(0, len(terms), min(len(terms), most), endpoint=False).astype(int)
    return np.asarray(np.add.reduceat(terms, starts, axis=0))


def _contributions(metric: Metric, terms: Doubles) -> Doubles:
    first, second = terms.sum(axis=0)
    ratio = first / second
    return np.asarray(metric.slope(ratio) * (terms[:, 0] - ratio * terms[:, 1]) / second)


def _with_grain(error: float, grain: float) -> float:
    found = math.hypot(error, grain)
    return found if math.isfinite(found) else math.inf
