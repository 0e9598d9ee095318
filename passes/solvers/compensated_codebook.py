"""Coding with error compensation: what one column loses, the columns not yet coded make up for.

E. Frantar et al., GPTQ, 2022 (arXiv 2210.17323); blocks of columns at once as in M. van Baalen et al., GPTVQ, 2024
(arXiv 2402.15319).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from dtc.forms import Array
from dtc.passes.solvers.clustering import Labels, Points, assign
from dtc.passes.solvers.second_order import BLOCK, inverse_factor


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
    upper = inverse_factor(np.pad(gram, (0, spare))).astype(np.float32)  # padding is an input that is always zero
    rest = np.pad(matrix, ((0, 0), (0, spare)))
    kept = np.pad(np.ones(matrix.shape, bool) if mask is None else mask, ((0, 0), (0, spare)))
    labels = np.empty((rows, (cols + spare) // block), dtype=np.intp)
    batch = max(block, BLOCK // block * block)
    # Within a batch of about 128 columns errors are taken off column block by column block; what lies behind the batch
    # gets the errors of all of it in one product (GPTQ's lazy batch updates).
    for start in range(0, cols + spare, batch):
        stop = min(start + batch, cols + spare)
        errors = np.empty((rows, stop - start), dtype=np.float32)
        for left in range(start, stop, block):
            right = left + block
            found, coded = _nearest(rest[:, left:right], codewords, kept[:, left:right])
            labels[:, left // block] = found
            # GPTQ divides the error of one column by the diagonal of U; of a block of columns the diagonal block takes
            # that place (GPTVQ): error = (rest - coded) U[b, b]^-1, [out, block].
            error = scipy.linalg.blas.strsm(1.0, upper[left:right, left:right], rest[:, left:right] - coded, side=1)
            errors[:, left - start : right - start] = error
            rest[:, right:stop] -= error @ upper[left:right, right:stop]
        rest[:, stop:] -= errors @ upper[start:stop, stop:]
    return labels


def _nearest(block: Array, codewords: Array, kept: npt.NDArray[np.bool_]) -> tuple[Labels, Array]:
    """Return the codeword nearest to each row of `block [out, block]`, and those codewords, 0 where not kept."""
    distance = None if kept.all() else kept.astype(np.float32)
    labels, _ = assign(Points(np.ascontiguousarray(block), distance=distance), codewords)
    return labels, np.where(kept, codewords[labels], np.float32(0))
