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

from dtc.device_arrays import DeviceArray, as_type, beside, namespace, on_host

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
        matrix: float32 `[out, in]`, in host memory or on a device.
        values: float64 `[count]`, in host memory; all `min(out, in)` of them, or the leading ones.
        vectors: float32 `[min(out, in), count]`, a column a singular vector: right ones of a tall matrix, left ones of
            a wide one. They lie where the matrix does.
    """

    matrix: DeviceArray
    values: Wide
    vectors: DeviceArray

    @classmethod
    def of(cls, matrix: DeviceArray) -> Spectrum:
        """Decompose through the smaller Gram matrix in float64.

        Several times faster than an SVD of the whole matrix, and as exact as float32 weights can tell.
        """
        rows, cols = matrix.shape
        wide = as_type(matrix, "float64")
        # W = U S V^T: W^T W = V S^2 V^T for a tall matrix, W W^T = U S^2 U^T for a wide one. `eigh` is ascending.
        eigenvalues, vectors = _eigh(wide.T @ wide if cols <= rows else wide @ wide.T)
        values = np.sqrt(np.maximum(on_host(eigenvalues)[::-1], 0.0))
        return cls(matrix, values, as_type(namespace(vectors).flip(vectors, (1,)), "float32"))

    @classmethod
    def leading(cls, matrix: DeviceArray, rank: int, seed: int) -> Spectrum:
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
        basis = _orthonormal(across @ beside(start, matrix))
        energy, before = float(namespace(matrix).square(as_type(matrix, "float64")).sum()), -np.inf
        for _ in range(_MOST_STEPS):
            image = across.T @ basis
            squares, columns = scipy.linalg.eigh(on_host(image.T @ image).astype(np.float64))
            squares, turned = np.maximum(squares[::-1], 0), beside(columns[:, ::-1].astype(np.float32), matrix)
            kept = float(squares[:rank].sum())
            basis = basis @ turned
            if kept - before <= _STANDS_STILL * max(energy - kept, 1e-12 * energy):
                break
            before = kept
            # A step by `W W^T - shift`: the squares that are not sought lie between 0 and the last that is. With half
            # of that taken away they are half as large, while the leading ones lose little.
            basis = _orthonormal(across @ (image @ turned) - basis * np.float32(squares[-1] / 2))
        return cls(matrix, np.sqrt(squares[:rank]), as_type(basis[:, :rank], "float32"))

    def factors(self, rank: int) -> tuple[DeviceArray, DeviceArray]:
        """Return `left [out, rank]` and `right [rank, in]` of the best approximation of that rank."""
        # Tall: left = W V, right = V^T. Wide: left = U, right = U^T W. Either way left right is the projection of W.
        leading = self.vectors[:, :rank]
        if self.matrix.shape[1] <= self.matrix.shape[0]:
            return self.matrix @ leading, as_type(leading.T, "float32")
        return as_type(leading, "float32"), leading.T @ self.matrix

    def basis(self, rank: int) -> DeviceArray:
        """Return the leading right singular vectors as orthonormal rows `[rank, in]`."""
        # Of a tall matrix right = V^T is it. Of a wide one right = U^T W = S V^T: rows are divided by the singular
        # values.
        left, right = self.factors(rank)
        if right.shape[1] <= left.shape[0]:
            return right
        # Below the resolution of the Gram matrix a direction is noise; zeros are as good, and finite.
        known = self.values[:rank] > self.values[0] * 1e-7
        inverse = np.where(known, 1.0 / np.where(known, self.values[:rank], 1.0), 0.0).astype(np.float32)
        return right * beside(inverse[:, None], right)


def _eigh(gram: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Return eigenvalues in rising order, and eigenvectors as columns."""
    if isinstance(gram, np.ndarray):
        eigenvalues, vectors = scipy.linalg.eigh(gram, driver="evd")
        return eigenvalues, vectors
    values, columns = namespace(gram).linalg.eigh(gram)
    return values, columns


def _orthonormal(columns: DeviceArray) -> DeviceArray:
    """Return an orthonormal basis of the columns `[size, count]`, which are brought to one size first."""
    lib = namespace(columns)
    sizes = lib.sqrt(lib.square(as_type(columns, "float64")).sum(axis=0))
    return lib.linalg.qr(columns / as_type(lib.clip(sizes, 1e-30, None), "float32"))[0]
