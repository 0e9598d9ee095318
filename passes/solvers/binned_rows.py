"""Rows in bins of equal width with running counts and sums: what a set of levels makes of a long row, nearly.

The end of a range is moved to the nearest edge of a bin, a thousandth of what levels are apart, and is found without a
search. So hundreds of long rows are worked on at once, where sorted ones fit into a cache by the dozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from dtc.forms import Array
from dtc.passes.solvers.binary_codes import Rows, Wide

BINS = 8192
"""Bins of a row."""

REACH = 32.0
"""Root mean squares from 0 to the first and the last edge; what lies beyond is in the bins at the ends."""

ROWS = 128
"""Rows worked on at once: counts and sums take 17 MB."""


@dataclass(frozen=True, eq=False)
class BinnedRows:
    """Rows of which only bins are known.

    Attributes:
        per_bin: float64 `[rows]`, bins for a difference of 1.
        below: int64 `[rows, BINS + 1]`, weights below each edge.
        running: float64 `[rows, BINS + 1]`, their sum.
        counts: int64 `[rows]`, how many weights count.
        energy: float64 `[rows]`, the sum of their squares.
        largest: float64 `[rows]`, their largest magnitude.
    """

    per_bin: Wide
    below: npt.NDArray[np.int64]
    running: Wide
    counts: npt.NDArray[np.int64]
    energy: Wide
    largest: Wide

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Return rows in bins; weights that do not count are 0 in them, and in no bin."""
        values = rows.values
        count, cols = values.shape
        counts = np.full(count, cols) if rows.kept is None else rows.kept.sum(axis=1)
        energy = np.array([float(row @ row) for row in values.astype(np.float64)])
        largest = np.maximum(values.max(axis=1), -values.min(axis=1)).astype(np.float64)
        end = np.minimum(largest, REACH * np.sqrt(energy / np.maximum(counts, 1)))
        per_bin = BINS / 2 / np.where(end > 0, end, 1)
        held, sums = np.empty((count, BINS)), np.empty((count, BINS))
        for row in range(count):
            part = values[row] if rows.kept is None else values[row][rows.kept[row]]
            bins = np.clip((part * per_bin[row] + BINS / 2).astype(np.intp), 0, BINS - 1)
            held[row] = np.bincount(bins, minlength=BINS)
            sums[row] = np.bincount(bins, part, BINS)
        below = np.zeros((count, BINS + 1), np.int64)
        running = np.zeros((count, BINS + 1))
        np.cumsum(held, axis=1, out=below[:, 1:], dtype=np.int64)
        np.cumsum(sums, axis=1, out=running[:, 1:])
        return cls(per_bin, below, running, counts, energy, largest)

    @classmethod
    def chunks(cls, rows: Rows) -> Iterator[tuple[Rows, Self]]:
        """Yield some rows at a time, as they stand and in bins."""
        for start in range(0, len(rows.values), ROWS):
            span = slice(start, start + ROWS)
            part = Rows(rows.values[span], None if rows.kept is None else rows.kept[span])
            yield part, cls.of(part)

    def ranges(self, midpoints: Array, which: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int64], Wide]:
        """Return how many weights lie below each range between midpoints, and the ranges' sums."""
        edges = np.empty((len(which), midpoints.shape[1] + 2), np.intp)
        edges[:, 0], edges[:, -1] = 0, BINS
        # Edge `BINS / 2` is 0: of 8 bins from -4 to 4 a midpoint of 1.2 lies at edge 5.2, nearest to the fifth.
        at = midpoints * self.per_bin[which, None] + (BINS / 2 + 0.5)
        edges[:, 1:-1] = np.clip(at, 0, BINS)
        edges += (which * (BINS + 1))[:, None]
        return self.below.ravel().take(edges), np.diff(self.running.ravel().take(edges), axis=1)
