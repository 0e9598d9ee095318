"""Singular values and vectors of a matrix: all of them, or the leading ones of a large one.

All of them come from the smaller Gram matrix. The leading ones come from a random subspace that is multiplied by the
matrix and orthonormalised until it stands still: N. Halko, P. Martinsson, J. Tropp: Finding structure with randomness,
SIAM Review 2011 (arXiv 0909.4061), algorithms 4.4 and 5.1; shifted as in X. Feng et al.: Faster randomized SVD with
dynamic shifts, 2024 (arXiv 2404.09276). How much a subspace leaves is known, not estimated: the squares of the matrix
less those of its projection. So the iteration ends by what another step gains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from dtc.forms import Array

Wide = npt.NDArray[np.float64]

LARGE_SIDE = 2048
"""Smaller side from which on leading vectors are sought alone; below all are found, in a second or two."""

FEW = 8
"""The rank is few where it is at most the smaller side divided by this; above, all of them cost no more."""

_SPARE = 0.125
"""Directions sought beside those that are wanted, as a share of them."""

_FEWEST_SPARE = 16

_STANDS_STILL = 2e-3
"""Share of the squares left over that a step has to gain; a step that gains less is the last: on noise without any
structure, the worst case, 0.2 % above the least error."""

_MOST_STEPS = 40


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a matrix in falling order, and its singular vectors on the smaller side.

    Attributes:
        matrix: float32 `[out, in]`.
        values: float64 `[count]`; all `min(out, in)` of them, or the leading ones.
        vectors: float32 `[min(out, in), count]`, a column a singular vector: right ones of a tall matrix, left ones of
            a wide one.
    """

    matrix: Array
    values: Wide
    vectors: Array

    @classmethod
    def of(cls, matrix: Array) -> Spectrum:
        """Decompose through the smaller Gram matrix in float64.

        Several times faster than an SVD of the whole matrix, and as exact as float32 weights can tell.
        """
        rows, cols = matrix.shape
        wide = matrix.astype(np.float64)
        # W = U S V^T: W^T W = V S^2 V^T for a tall matrix, W W^T = U S^2 U^T for a wide one. `eigh` is ascending.
        eigenvalues, vectors = scipy.linalg.eigh(wide.T @ wide if cols <= rows else wide @ wide.T, driver="evd")
        values = np.sqrt(np.maximum(eigenvalues[::-1], 0.0))
        return cls(matrix, values, np.ascontiguousarray(vectors[:, ::-1], dtype=np.float32))

    @classmethod
    def leading(cls, matrix: Array, rank: int, seed: int) -> Spectrum:
        """Return the leading `rank` values and vectors of a large matrix, all of a small one.

        What they leave is within 1 % of the least that a matrix of that rank can leave, in the Frobenius norm; of a
        small matrix, or where the rank is not few, it is the least. The same seed gives the same bits.
        """
        if min(matrix.shape) < LARGE_SIDE or FEW * rank > min(matrix.shape):
            return cls.of(matrix)
        # `across @ x` goes from the larger side to the smaller one.
        across = matrix.T if matrix.shape[1] <= matrix.shape[0] else matrix
        count = rank + max(_FEWEST_SPARE, round(_SPARE * rank))
        start = np.random.default_rng(seed).standard_normal((across.shape[1], count), np.float32)
        basis = _orthonormal(across @ start)
        energy, before = float(np.square(matrix).sum(dtype=np.float64)), -np.inf
        for _ in range(_MOST_STEPS):
            image = across.T @ basis
            squares, turned = scipy.linalg.eigh((image.T @ image).astype(np.float64))
            squares, turned = np.maximum(squares[::-1], 0), turned[:, ::-1].astype(np.float32)
            kept = float(squares[:rank].sum())
            basis = basis @ turned
            if kept - before <= _STANDS_STILL * max(energy - kept, 1e-12 * energy):
                break
            before = kept
            # A step by `W W^T - shift`: the squares that are not sought lie between 0 and the last that is. With half
            # of that taken away they are half as large, while the leading ones lose little.
            basis = _orthonormal(across @ (image @ turned) - np.float32(squares[-1] / 2) * basis)
        return cls(matrix, np.sqrt(squares[:rank]), np.ascontiguousarray(basis[:, :rank]))

    def factors(self, rank: int) -> tuple[Array, Array]:
        """Return `left [out, rank]` and `right [rank, in]` of the best approximation of that rank."""
        # Tall: left = W V, right = V^T. Wide: left = U, right = U^T W. Either way left right is the projection of W.
        leading = self.vectors[:, :rank]
        if self.matrix.shape[1] <= self.matrix.shape[0]:
            return self.matrix @ leading, np.ascontiguousarray(leading.T)
        return np.ascontiguousarray(leading), leading.T @ self.matrix

    def basis(self, rank: int) -> Array:
        """Return the leading right singular vectors as orthonormal rows `[rank, in]`."""
        # Of a tall matrix right = V^T is it. Of a wide one right = U^T W = S V^T: rows are divided by the singular
        # values.
        left, right = self.factors(rank)
        if right.shape[1] <= left.shape[0]:
            return right
        # Below the resolution of the Gram matrix a direction is noise; zeros are as good, and finite.
        known = self.values[:rank] > self.values[0] * 1e-7
        return right * np.where(known, 1.0 / np.where(known, self.values[:rank], 1.0), 0.0).astype(np.float32)[:, None]


def _orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis of the columns `[size, count]`, which are brought to one size first."""
    sizes = np.sqrt(np.square(columns, dtype=np.float64).sum(axis=0))
    return np.asarray(np.linalg.qr(columns / np.maximum(sizes, 1e-30).astype(np.float32))[0], np.float32)
