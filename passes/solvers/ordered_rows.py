"""Rows in rising order with running sums: what a set of levels makes of a row, without a look at its weights.

The weights nearest to a level are a range of the sorted row, between the midpoints to its neighbours. So an iteration
that moves levels needs the ends of 2^bits ranges, not the weights in them (S. Lloyd, Least squares quantization in PCM,
1982, for one row after another).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from dtc.forms import Array
from dtc.passes.solvers.binary_codes import Rows, Wide

CHUNK = 1 << 18
"""Weights that are sorted at once: sorted and summed they take 3 MB, and stay in a cache."""


@dataclass(frozen=True, eq=False)
class OrderedRows:
    """Sorted rows, whose weights that do not count stand behind all others.

    Attributes:
        rising: float32 `[rows, n]`; infinite where a weight does not count.
        running: float64 `[rows, n + 1]`, the sum of the first weights of a row.
        counts: int64 `[rows]`, how many weights count.
        energy: float64 `[rows]`, the sum of their squares.
    """

    rising: Array
    running: Wide
    counts: npt.NDArray[np.int64]
    energy: Wide

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Return rows in order."""
        count, cols = rows.values.shape
        values = rows.values if rows.kept is None else np.where(rows.kept, rows.values, np.float32(np.inf))
        rising = np.sort(values, axis=1)
        finite = rising if rows.kept is None else np.where(np.isfinite(rising), rising, np.float32(0))
        running = np.zeros((count, cols + 1))
        np.cumsum(finite, axis=1, dtype=np.float64, out=running[:, 1:])
        counts = np.full(count, cols) if rows.kept is None else rows.kept.sum(axis=1)
        return cls(rising, running, counts, np.square(finite, dtype=np.float64).sum(axis=1))

    @classmethod
    def chunks(cls, rows: Rows) -> Iterator[tuple[Rows, Self]]:
        """Yield a few rows at a time, as they stand and in order."""
        count, cols = rows.values.shape
        step = max(1, CHUNK // cols)
        for start in range(0, count, step):
            span = slice(start, start + step)
            part = Rows(rows.values[span], None if rows.kept is None else rows.kept[span])
            yield part, cls.of(part)

    @property
    def largest(self) -> Wide:
        """The largest magnitude of each row, float64 `[rows]`; 0 where no weight counts."""
        last = np.take_along_axis(self.rising, np.maximum(self.counts - 1, 0)[:, None], axis=1)[:, 0]
        ends = np.maximum(np.abs(self.rising[:, 0]), np.abs(last))
        return np.where(self.counts > 0, ends, 0).astype(np.float64)

    def below(self, midpoints: Array, which: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        """Return how many weights of each of some rows lie below each midpoint, float32 `[len(which), m]`."""
        cols = self.rising.shape[1]
        flat = self.rising.ravel()
        base = (which * cols)[:, None]
        # All searches at once, a bit of the position a round. Invariant: the first `position` weights of the row are
        # below. A row of 5: steps of 4, 2, 1; a step beyond the row's end is not taken.
        position = np.zeros(midpoints.shape, dtype=np.int64)
        step = 1 << cols.bit_length() - 1
        while step:
            further = position + step
            inside = further <= cols
            probe = flat.take(base + np.minimum(further, cols) - 1)
            position = np.where(inside & (probe < midpoints), further, position)
            step //= 2
        return position

    def ranges(self, midpoints: Array, which: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int64], Wide]:
        """Return the bounds `[len(which), m + 2]` of the ranges between midpoints, and sums `[len(which), m + 1]`."""
        ends = np.minimum(self.below(midpoints, which), self.counts[which, None])
        bounds = np.concatenate([np.zeros((len(which), 1), np.int64), ends, self.counts[which, None]], axis=1)
        sums = np.diff(self.running.ravel().take((which * self.running.shape[1])[:, None] + bounds), axis=1)
        return bounds, sums
