"""Which weights are pruned: exactly as many as asked for, those of the smallest magnitude first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from dtc.device_arrays import DeviceArray, namespace

Bools = npt.NDArray[np.bool_]
Scores = npt.NDArray[Any]

PAIRS_UP_TO = 16
"""Size of a group up to which comparing all pairs is faster than sorting."""


MANY = 1 << 20
"""Scores from which on they are counted in place of a partition of a copy."""

BLOCK = 1 << 18
"""Scores counted at once."""


def keep_largest(scores: DeviceArray, pruned: int) -> DeviceArray:
    """Return False at the `pruned` smallest of the non-negative `scores`, of any shape, and True elsewhere.

    Of equal scores the first in memory goes first: what a stable sort gives, found by a partition or by counting, which
    is a hundred times faster. Where the scores lie on a device, the answer does, too.
    """
    lib, count = namespace(scores), math.prod(scores.shape)
    if pruned <= 0 or pruned >= count:
        return lib.full_like(scores, pruned <= 0, dtype=bool if lib is np else lib.bool)
    # Scores (3, 1, 1, 2), one to prune: the threshold is 1, and nothing lies below it. So one of the two equal to it
    # goes, the first.
    flat = scores.reshape(-1)
    threshold = _smallest(flat, pruned - 1)
    kept = flat >= threshold
    missing = pruned - (count - int(kept.sum()))
    kept[lib.argwhere(flat == threshold).reshape(-1)[:missing]] = False
    return kept.reshape(scores.shape)


def _smallest(scores: DeviceArray, place: int) -> Any:
    """Return the score at that place in rising order; of many float32 scores without a copy of them."""
    if not isinstance(scores, np.ndarray):
        return scores.kthvalue(place + 1).values
    if scores.dtype != np.float32 or scores.size < MANY:
        return np.partition(scores, place)[place]
    # The bits of floats that are not negative rise as these do. Counted by their upper half first, then by the lower
    # one of those that have the upper half of the one that is looked for.
    bits = scores.view(np.uint32)
    blocks = [bits[start : start + BLOCK] for start in range(0, bits.size, BLOCK)]
    upper, place = _bucket((block >> 16 for block in blocks), place)
    lower, _ = _bucket((block[block >> 16 == upper] & 0xFFFF for block in blocks), place)
    return np.uint32(upper << 16 | lower).view(np.float32)


def _bucket(halves: Iterable[npt.NDArray[np.integer[Any]]], place: int) -> tuple[int, int]:
    """Return the half of that place in rising order, and the place among those that have the same."""
    counts = np.zeros(1 << 16, np.int64)
    for half in halves:
        counts += np.bincount(half, minlength=1 << 16)
    reached = np.cumsum(counts)
    found = int(np.searchsorted(reached, place, side="right"))
    return found, place - int(reached[found] - counts[found])


def keep_n_of_m(scores: Scores, n: int, m: int) -> Bools:
    """Return True at the `n` largest of each `m` consecutive `scores [rows, cols]` of a row.

    A shorter group at the end keeps its share, rounded up. Of equal scores the first goes first.
    """
    # 2:4 of a row of 6: two of the first four stay; of the last two, 2 * 2 / 4 = 1.
    whole = scores.shape[1] // m * m
    parts = [_keep_in_groups(scores[:, :whole], m, n)]
    rest = scores.shape[1] - whole
    if rest:
        parts.append(_keep_in_groups(scores[:, whole:], rest, -(-n * rest // m)))
    return np.concatenate(parts, axis=1)


def keep_lines(matrix: Scores, pruned: int, axis: int) -> Bools:
    """Return False in the `pruned` rows (`axis` 0) or columns (1) of the smallest L2 norm."""
    # Axis 0: [rows, cols] -> norms [rows] -> kept [rows, 1] -> [rows, cols].
    norms = np.square(matrix, dtype=np.float64).sum(axis=1 - axis)
    kept = np.expand_dims(keep_largest(norms, pruned), 1 - axis)
    return np.repeat(kept, matrix.shape[1 - axis], axis=1 - axis)


def _keep_in_groups(scores: Scores, size: int, kept: int) -> Bools:
    groups = np.ascontiguousarray(scores).reshape(-1, size)
    ranks = _ranks_by_pairs(groups) if size <= PAIRS_UP_TO else _ranks_by_sorting(groups)
    return np.asarray(ranks >= size - kept).reshape(scores.shape)


def _ranks_by_pairs(groups: Scores) -> npt.NDArray[np.uint8]:
    """Return the place of each score in its group's stable order, uint8 `[groups, size]`.

    Scores (3, 1, 1, 2) have the places (3, 0, 1, 2). Three times faster than sorting many groups of four.
    """
    # One array for each place in a group: comparisons run over all groups at once.
    columns = np.ascontiguousarray(groups.T)
    ranks = np.zeros(columns.shape, dtype=np.uint8)
    for first in range(len(columns)):
        for second in range(first + 1, len(columns)):
            # Of equal scores the first one ranks lower, as in a stable sort.
            in_order = columns[first] <= columns[second]
            ranks[second] += in_order
            ranks[first] += ~in_order
    return ranks.T


def _ranks_by_sorting(groups: Scores) -> npt.NDArray[np.int64]:
    return np.argsort(np.argsort(groups, axis=1, kind="stable"), axis=1)
