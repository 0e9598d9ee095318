"""Weights of which few are not zero."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dtc.deploy.codegen.weights.stored import AnyArray, Matrix, Several, StoredWeight

_WIDEST = 255
"""Columns from one value to the next that a byte tells."""


def sparse(matrix: Matrix) -> StoredWeight | None:
    """Return a matrix of which at least half is zero; values are indices of a palette where there are few."""
    kept = matrix != 0
    if 2 * np.count_nonzero(kept) > matrix.size:
        return None
    _keep_between(kept)
    _, columns = np.nonzero(kept)
    starts = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.uint32)
    # Columns 3 7 | 2: gaps 3 4 | 2, as the first of a row counts from column 0.
    gaps = np.diff(columns, prepend=0)
    first = starts[:-1][np.diff(starts) > 0]
    gaps[first] = columns[first]
    values = matrix[kept]
    palette, indices = np.unique(values, return_inverse=True)
    arrays: dict[str, AnyArray | None] = {"starts": starts, "gaps": gaps.astype(np.uint8), "values": values}
    arrays |= {"indices": None, "palette": None}
    if len(palette) <= 256 and palette.nbytes + indices.size < values.nbytes:
        arrays |= {"values": None, "indices": indices.astype(np.uint8), "palette": palette}
    (rows, cols), count = matrix.shape, len(values)
    return StoredWeight("sparse", rows, cols, arrays, multiply_adds=count, several=Several(0, count))


def _keep_between(kept: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> None:
    """Mark zeros in gaps that are too wide for a byte, so that every gap fits."""
    for row in kept:
        columns = np.concatenate([[0], np.flatnonzero(row)])
        for before, after in pairwise(columns):
            row[before + _WIDEST : after : _WIDEST] = True
