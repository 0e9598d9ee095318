"""Pictures of weights in numbers: histograms and spectra, small whatever the size of the site."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy

from dtc.distortion import relative_error
from dtc.forms import Array, Form, LowRank
from dtc.forms.composite import Product
from dtc.passes.solvers.spectra import LARGE_SIDE
from dtc.report.document import Histogram, SpectrumPair, WeightsChange

AnyArray = npt.NDArray[np.generic]

BINS = 65
"""Odd, so that zero lies in the middle of a bin: weights that became zero stand apart."""


_REACH = 4.5
"""The histogram ends at this many root mean squares; a normal distribution has three in a million beyond."""


def describe_weights(before: AnyArray, after: Array, matrices: Array, forms: Sequence[Form]) -> WeightsChange:
    """Describe a site whose weights `before` became `after`.

    Both are of the initializer's shape; `matrices [count, out, in]` is `before` as the site's matrices, and `forms` has
    the form of each. Low-rank forms have spectra, too; of large matrices not, whose singular values would take longer
    than the leading ones that are kept.
    """
    return WeightsChange(
        difference=relative_error(before, after),
        zeros=(_zeros(before), _zeros(after)),
        histogram=histogram(before, after),
        spectra=tuple(
            SpectrumPair(before=singular_values(matrix), after=_singular_values_of_product(form))
            for matrix, form in zip(matrices, forms, strict=True)
            if isinstance(form, LowRank | Product) and min(matrix.shape) < LARGE_SIDE
        ),
    )


def histogram(before: AnyArray, after: AnyArray) -> Histogram:
    """Count the weights in `BINS` bins around zero, the same for both."""
    kept = [_finite(array) for array in (before, after)]
    # Both histograms have the edges of the wider one. Ends lie at 4.5 root mean squares, or at the largest weight where
    # that is nearer.
    largest = max(float(np.abs(values).max(initial=0.0)) for values in kept) or 1.0
    reach = _REACH * max(_root_mean_square(values, largest) for values in kept)
    end = float(np.float32(min(largest, reach))) or 1.0  # a float32, so that clipped weights lie on the last edge
    edges = np.linspace(-end, end, BINS + 1)
    counts = [np.histogram(np.clip(values, -end, end), edges)[0].tolist() for values in kept]
    return Histogram(edges=edges, before=counts[0], after=counts[1])


def singular_values(matrix: AnyArray) -> list[float]:
    """Return the singular values of `matrix [out, in]`, falling.

    From the smaller Gram matrix in float64: many times faster than an SVD, and right to 1e-8 of the largest.
    """
    # W [1000, 64] has the Gram matrix W^T W [64, 64], whose eigenvalues are the squares of the singular values of W.
    # Rounding may leave an eigenvalue just below zero.
    wide = matrix.astype(np.float64)
    rows, cols = wide.shape
    if not np.isfinite(wide).all():
        return []
    gram = wide.T @ wide if cols <= rows else wide @ wide.T
    eigenvalues = scipy.linalg.eigvalsh(gram, overwrite_a=True, check_finite=False)
    values: list[float] = np.sqrt(np.maximum(eigenvalues[::-1], 0.0)).tolist()
    return values


def _root_mean_square(values: npt.NDArray[np.float32], largest: float) -> float:
    shares = values / np.float32(largest)  # their squares are finite
    return largest * math.sqrt(float(shares @ shares) / max(values.size, 1))


def _singular_values_of_product(form: LowRank | Product) -> list[float]:
    """Return the singular values of a low-rank product, as many as its rank, from two QR factorings."""
    factors = (form.left.dense(), form.right_dense()) if isinstance(form, Product) else (form.left, form.right)
    left, right = (factor.astype(np.float64) for factor in factors)
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return []
    # With left = Q1 R1 and right^T = Q2 R2 the product is Q1 (R1 R2^T) Q2^T: orthogonal factors change no singular
    # value, so those of the matrix [rank, rank] between them are all.
    small = np.linalg.qr(left).R @ np.linalg.qr(right.T).R.T
    values: list[float] = np.linalg.svd(small, compute_uv=False).tolist()
    return values


def _finite(array: AnyArray) -> npt.NDArray[np.float32]:
    values = array.astype(np.float32, copy=False).reshape(-1)
    finite = np.isfinite(values)
    return values if finite.all() else values[finite]


def _zeros(array: AnyArray) -> float:
    return 1.0 - float(np.count_nonzero(array)) / max(array.size, 1)
