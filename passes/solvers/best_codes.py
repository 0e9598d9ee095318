"""The best binary codes of rows that several starts lead to.

Alternating least squares and nearest codes (C. Xu et al., ICLR 2018, arXiv 1802.00150, algorithm 2) ends in one of many
local minima: on Gaussian rows of 300 at 3 bits near a relative error of 0.036, whatever the start. So the best
coefficients of each row are shaken and improved again, several times (iterated local search; H. Lourenço, O. Martin,
T. Stützle, 2003), which leads to 0.033. Ours: rows are sorted first, so that a round costs the ends of 2^bits ranges of
a row, however long it is. Long rows are searched in bins, hundreds at once, and what that finds is improved on the
weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dtc.forms import Array
from dtc.passes.solvers.binary_codes import (
    Rows,
    SignPlanes,
    Wide,
    canonical,
    coefficients,
    greedy,
    least_squares,
    nearest,
    sign_table,
)
from dtc.passes.solvers.binned_rows import BinnedRows
from dtc.passes.solvers.ordered_rows import OrderedRows

WIDTHS = (2.1, 2.7)
"""The outermost of evenly spaced levels to start from, in root mean squares of the row."""

SHAKES = 10
"""How often coefficients are shaken."""

SHAKEN_BY = 0.3
"""The share by which each coefficient changes then, a standard deviation."""

ROUNDS = 100
"""Most rounds from one start; few rows need as many."""

LONG = 1024
"""Weights of a row from which on bins stand for them in the search."""

GAIN = 1e-4
"""Share of the error that a round has to gain in the search of many weights: what it finds is improved to the end."""

MANY = 1 << 22
"""Weights in all rows from which on that is worth it: they take seconds."""

EASY_BITS = 4
"""Bits up to which all shakes and rounds are made. Each further bit has twice the levels, and half of them: errors are
small there, from every start."""


class LevelRanges(Protocol):
    """Rows of which any range between two midpoints can be counted and summed."""

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Weights of each row that count, int64 `[rows]`."""
        ...

    @property
    def energy(self) -> Wide:
        """The sum of their squares, float64 `[rows]`."""
        ...

    @property
    def largest(self) -> Wide:
        """The largest magnitude of each row, float64 `[rows]`."""
        ...

    def ranges(self, midpoints: Array, which: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int64], Wide]:
        """Return how many weights lie below each range, `[len(which), m + 2]`, and the sums, `[len(which), m + 1]`."""
        ...


def best_codes(rows: Rows, bits: int) -> SignPlanes:
    """Return the codes of least squared error that are found; each row has the best of all starts."""
    if bits == 1:
        return greedy(rows, bits)  # the mean magnitude is the solution
    if rows.values.size >= MANY:
        chunks = BinnedRows.chunks(rows) if rows.values.shape[1] >= LONG else OrderedRows.chunks(rows)
        starts = np.concatenate([_search(part, known, bits, GAIN) for part, known in chunks])
        alphas = _improved(rows, starts)
    else:
        alphas = np.concatenate([_search(part, ordered, bits) for part, ordered in OrderedRows.chunks(rows)])
    codes = nearest(rows, alphas)
    return canonical(codes, least_squares(rows, codes, bits), rows.kept)


def _improved(rows: Rows, starts: Wide) -> Wide:
    """Return coefficients `[rows, bits]` that no round on the weights themselves improves."""
    improved, done = np.empty_like(starts), 0
    for _, ordered in OrderedRows.chunks(rows):
        span = slice(done, done + len(ordered.counts))
        improved[span], _ = _improve(ordered, starts[span], ROUNDS)
        done = span.stop
    return improved


def _search(rows: Rows, ordered: LevelRanges, bits: int, gain: float = 0.0) -> Wide:
    """Return the best coefficients found, `[rows, bits]`; `gain` as in `_improve`."""
    hard = max(0, bits - EASY_BITS, 8 * 2**bits // rows.values.shape[1])
    rounds, shakes = (most >> hard for most in (ROUNDS, SHAKES))
    best, least = _improve(ordered, greedy(rows, bits).alphas, rounds, gain)

    def start_at(alphas: Wide) -> None:
        found, error = _improve(ordered, alphas, rounds, gain)
        better = error < least
        best[better], least[better] = found[better], error[better]

    for start in _even_levels(ordered, bits):
        start_at(start)
    # The same shakes for all rows, and for the same weights at any time.
    for shake in np.random.default_rng(0).normal(1, SHAKEN_BY, (shakes, bits)):
        start_at(best * shake)
    return best


def _even_levels(rows: LevelRanges, bits: int) -> Iterator[Wide]:
    """Yield the coefficients `[rows, bits]` of evenly spaced levels, the last ones up to the row's largest weight."""
    size = np.sqrt(rows.energy / np.maximum(rows.counts, 1))
    # Halves of each other: 2 bits of width 3 are 2 and 1, the levels -3, -1, 1, 3.
    halves = 2.0 ** np.arange(bits - 1, -1, -1) / ((1 << bits) - 1)
    yield from (width[:, None] * halves for width in (*(size * width for width in WIDTHS), rows.largest))


def _improve(rows: LevelRanges, start: Wide, rounds: int, gain: float = 0.0) -> tuple[Wide, Wide]:
    """Return coefficients `[rows, bits]` after least squares and nearest codes in turn, and the squared errors.

    A row is done where a round changes nothing, or takes less than the share `gain` off its error.
    """
    bits = start.shape[1]
    signs = sign_table(bits)
    alphas, explained = start.copy(), np.zeros(len(start))
    bounds = np.full((len(start), len(signs) + 1), -1)
    # Rows that still change; a row whose ranges are those of the round before has come to its end.
    active: npt.NDArray[np.intp] = np.arange(len(start))
    for _ in range(rounds):
        # Of each row: its levels in rising order, the codes that they have, and the midpoints between them.
        levels = alphas[active] @ signs.T
        order = np.argsort(levels, axis=1, kind="stable")
        rising = np.take_along_axis(levels, order, axis=1)
        found, sums = rows.ranges(((rising[:, 1:] + rising[:, :-1]) / 2).astype(np.float32), active)
        # Counts and sums by code again, [rows, 2^bits].
        held, summed = np.empty_like(levels), np.empty_like(levels)
        np.put_along_axis(held, order, np.diff(found, axis=1), axis=1)
        np.put_along_axis(summed, order, sums, axis=1)
        count = np.maximum(rows.counts[active], 1.0)
        before = explained[active]
        alphas[active], now = coefficients(held, summed, count)
        explained[active] = now
        moved = (found != bounds[active]).any(axis=1)
        if gain:
            moved &= now - before > gain * (rows.energy[active] - now)
        bounds[active] = found
        active = active[moved]
        if not active.size:
            break
    return alphas, rows.energy - explained
