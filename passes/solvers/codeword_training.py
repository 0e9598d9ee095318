"""Fine-tuning codewords while the assignments stay: gradients of codewords, and EWGS fake quantization.

J. Lee, D. Kim, B. Ham, Network quantization with element-wise gradient scaling (CVPR 2021): the gradient of a rounded
number is scaled by how far it was rounded. Product quantization takes the mean of its members' gradients for a
codeword (P. Stock et al., And the bit goes down, 2020), Deep Compression their sum (S. Han et al., 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dtc.forms import Array, Codebook, Grid


def codeword_gradient(forms: Sequence[Codebook], gradient: Array, reduction: Literal["mean", "sum"] = "mean") -> Array:
    """Return the gradient of the codewords that the matrices of a site share.

    Args:
        forms: One for each matrix, all with the same codewords.
        gradient: Of the dense weights, float32 `[count, out, in]`.
        reduction: `sum` is the derivative of the loss; `mean` is that over the members, so that a codeword's step does
            not grow with their number.

    Returns:
        float32 `[codewords, block]`; zero for a codeword without members.
    """
    words = forms[0].codewords
    total = np.zeros(words.stored.shape, dtype=np.float64)
    members = np.zeros_like(total)
    for form, slope in zip(forms, gradient, strict=True):
        kept = np.ones(form.shape, dtype=bool) if form.mask is None else form.mask
        spare = ((0, 0), (0, form.indices.shape[1] * form.block - form.columns))
        slopes = np.pad(np.where(kept, slope, 0) * (1.0 if form.gain is None else form.gain), spare)
        coded = form.indices.ravel().astype(np.intp) - form.zero
        used = coded >= 0
        for part, values in ((total, slopes), (members, np.pad(kept, spare))):
            np.add.at(part, coded[used], values.reshape(-1, form.block)[used])
    result = total / np.maximum(members, 1) if reduction == "mean" else total
    return result.astype(np.float32)


def with_codewords(forms: Sequence[Codebook], values: Array, grid: Grid | None = None) -> tuple[Codebook, ...]:
    """Return the forms with other codewords, float32 `[codewords, block]`, in the precision of the old ones."""
    return tuple(form.with_codewords(values, grid) for form in forms)


def refitted(forms: Sequence[Codebook], weights: Array) -> tuple[Codebook, ...]:
    """Return the forms with each codeword at the mean of its members in `weights`, float32 `[count, out, in]`.

    After one step of gradient descent on all weights this is one step on the codewords, with the mean of their members'
    gradients. A codeword without members stays.
    """
    means = codeword_gradient(forms, weights)
    return with_codewords(forms, np.where(means.any(axis=1, keepdims=True), means, forms[0].codewords.values))


@dataclass(frozen=True, eq=False)
class FakeQuantized:
    """Numbers as the levels of a learned range stand for them, and what their gradient needs.

    Attributes:
        values: float32, `lower + (upper - lower) * rounded`; those of `grid` but for rounding.
        normal: float32, the numbers in the range, clipped to 0..1.
        rounded: float32, `normal` at the nearest of `2 ** bits` levels.
        inside: Which numbers were not clipped.
        lower: Of the range.
        upper: Of the range.
    """

    values: Array
    normal: Array
    rounded: Array
    inside: Array
    lower: float
    upper: float

    def backward(self, gradient: Array, delta: float = 1e-3) -> tuple[Array, float, float]:
        """Return the gradients of the numbers, of `lower` and of `upper`, given that of `values`.

        With `g` the gradient of `rounded`, that of `normal` is `g * (1 + delta * sign(g) * (normal - rounded))`;
        `delta` 0 is the straight-through estimator.
        """
        width = self.upper - self.lower
        rounded = gradient * width
        normal = rounded * (1 + delta * np.sign(rounded) * (self.normal - self.rounded))
        inner = normal * self.inside
        lower = (gradient * (1 - self.rounded) + inner * (self.normal - 1) / width).sum(dtype=np.float64)
        upper = (gradient * self.rounded - inner * self.normal / width).sum(dtype=np.float64)
        return (inner / width).astype(np.float32), float(lower), float(upper)


def fake_quantize(values: Array, lower: float, upper: float, bits: int) -> FakeQuantized:
    """Round numbers to the `2 ** bits` levels of the range from `lower` to `upper`.

    Raises:
        ValueError: The range is empty.
    """
    if not lower < upper:
        raise ValueError(f"the range from {lower} to {upper} is empty")
    raw = (values - lower) / (upper - lower)
    normal = np.clip(raw, 0, 1).astype(np.float32)
    rounded = (np.rint(normal * (2**bits - 1)) / (2**bits - 1)).astype(np.float32)
    inside = ((raw >= 0) & (raw <= 1)).astype(np.float32)
    return FakeQuantized((lower + (upper - lower) * rounded).astype(np.float32), normal, rounded, inside, lower, upper)


def learned_grid(lower: float, upper: float, bits: int) -> Grid:
    """Return the grid to store codewords on that were fine-tuned with `fake_quantize`."""
    return Grid.spanning(lower, upper, bits)
