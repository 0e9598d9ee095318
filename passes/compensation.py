"""Coding with error compensation: what one column loses, the columns not yet coded make up for.

E. Frantar et al., GPTQ, 2022 (arXiv 2210.17323); blocks of columns at once as in M. van Baalen et al., GPTVQ, 2024
(arXiv 2402.15319).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.linalg

from dtc.forms import Array
from dtc.passes.clustering import Labels, Points, assign

_DAMPING = 0.01
"""Share of the mean second moment that is added to every input's own."""

_BATCH = 128
"""Columns that are brought up to date at once."""


def compensated_labels(
    matrix: Array, gram: npt.NDArray[np.float64], codewords: Array, mask: npt.NDArray[np.bool_] | None = None
) -> Labels:
    """Return the codewords of the blocks of a matrix, chosen to keep `X W^T` rather than `W`.

    Args:
        matrix: float32 `[out, in]`.
        gram: Second moments of the inputs, float64 `[in, in]`.
        codewords: float32 `[count, block]`.
        mask: Boolean `[out, in]`; False where the weight is zero whatever its codeword.

    Returns:
        Integers `[out, ceil(in / block)]`.
    """
    block = codewords.shape[1]
    rows, cols = matrix.shape
    spare = -cols % block
    upper = _inverse_factor(gram, spare).astype(np.float32)
    rest = np.pad(matrix, ((0, 0), (0, spare)))
    kept = np.pad(np.ones(matrix.shape, bool) if mask is None else mask, ((0, 0), (0, spare)))
    labels = np.empty((rows, (cols + spare) // block), dtype=np.intp)
    batch = max(block, _BATCH // block * block)
    for start in range(0, cols + spare, batch):
        stop = min(start + batch, cols + spare)
        errors = np.empty((rows, stop - start), dtype=np.float32)
        for left in range(start, stop, block):
            right = left + block
            found, coded = _nearest(rest[:, left:right], codewords, kept[:, left:right])
            labels[:, left // block] = found
            triangle = upper[left:right, left:right]
            error = scipy.linalg.solve_triangular(triangle.T, (rest[:, left:right] - coded).T, lower=True).T
            errors[:, left - start : right - start] = error
            rest[:, right:stop] -= error @ upper[left:right, right:stop]
        rest[:, stop:] -= errors @ upper[start:stop, stop:]
    return labels


def _nearest(block: Array, codewords: Array, kept: npt.NDArray[np.bool_]) -> tuple[Labels, Array]:
    distance = None if kept.all() else kept.astype(np.float32)
    labels, _ = assign(Points(np.ascontiguousarray(block), distance=distance), codewords)
    return labels, np.where(kept, codewords[labels], np.float32(0))


def _inverse_factor(gram: npt.NDArray[np.float64], spare: int) -> npt.NDArray[np.float64]:
    """Return the upper triangular U of `inverse(gram) = U^T U`; `spare` inputs that are never used are added."""
    mean = float(np.diag(gram).mean()) or 1.0
    damped = gram + np.diag(np.full(len(gram), _DAMPING * mean))
    damped = scipy.linalg.block_diag(damped, mean * np.eye(spare)) if spare else damped
    factor = scipy.linalg.cho_factor(damped, lower=True)
    inverse = scipy.linalg.cho_solve(factor, np.eye(len(damped)))
    return np.asarray(np.linalg.cholesky(inverse).T)
