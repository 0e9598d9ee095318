"""How certain the difference of two models is that were judged on the same samples.

Most samples are right with both models, or wrong with both, and tell nothing of the difference: its standard error is
that of what single samples contribute to it, and not of two shares. A metric is a function f of the ratio r = N / D of
two sums over samples, so that sample i moves it by

    f'(r) (N_i - r D_i) / D

(the infinitesimal jackknife: B. Efron, The jackknife, the bootstrap and other resampling plans, 1982, chapter 6). The
contributions of both models are subtracted sample by sample, and the root of the sum of their squares is the error.
Samples that follow one another in a stream are alike: there, blocks of the stream stand for samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dtc.metrics import Doubles, Metric

_BLOCKS = 64
"""Blocks of a stream at the most: as long as may be, and still enough to tell an error by, to a tenth."""


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


def paired_error(metric: Metric, before: Doubles, after: Doubles) -> PairedError:
    """Return the standard errors of a metric's change, by the terms of both models on the same samples, `[samples, 2]`.

    They are infinite where one sample alone is there, or the metric is not finite. A share of samples is not told more
    finely than by one of them: without a single difference among 100, the error is a hundredth.

    In: accuracy, 100 samples that were right, of which 4 are wrong now. Out: about sqrt(4 + 1) / 100.
    """
    counted = (before != 0).any(axis=1) | (after != 0).any(axis=1)
    first, second = before[counted], after[counted]
    count = len(first)
    if count < 2 or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return PairedError(math.inf, math.inf, count)
    value, changed = (metric.of(*each.sum(axis=0)) for each in (first, second))
    if not (math.isfinite(value) and math.isfinite(changed)):
        return PairedError(math.inf, math.inf, count)
    one, other = _contributions(metric, first), _contributions(metric, second)
    grain = metric.grain / max(second[:, 1].sum(), 1.0)
    drop = _error(other - one, grain)
    share = _error((other - one * changed / value) / value, grain / abs(value)) if value else drop
    return PairedError(drop, share, count)


def in_blocks(terms: Doubles, most: int = _BLOCKS) -> Doubles:
    """Return the terms of a stream, `[samples]` or `[samples, 2]`, summed over blocks of neighbours, `most` of them."""
    starts = np.linspace(0, len(terms), min(len(terms), most), endpoint=False).astype(int)
    return np.asarray(np.add.reduceat(terms, starts, axis=0))


def _contributions(metric: Metric, terms: Doubles) -> Doubles:
    first, second = terms.sum(axis=0)
    ratio = first / second
    return np.asarray(metric.slope(ratio) * (terms[:, 0] - ratio * terms[:, 1]) / second)


def _error(contributions: Doubles, grain: float) -> float:
    count = len(contributions)
    with np.errstate(invalid="ignore", over="ignore"):
        found = math.sqrt(float(np.square(contributions).sum()) * count / (count - 1) + grain**2)
    return found if math.isfinite(found) else math.inf
