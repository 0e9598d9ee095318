"""Uniform quantization: round to the nearest of evenly spaced levels, `W = s (q - z)`.

Stored as a binary code whose coefficients are the scale times powers of two, and whose offset is the rest (S. Park
et al., LUT-GEMM, ICLR 2024, arXiv 2206.09557, section 3.1): one form, and one kernel, for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from dtc.forms import Array, BinaryCode, Form
from dtc.forms.binary import pack_bits
from dtc.passes.method import DistortionStep, Method, Outcome, Weights
from dtc.passes.options import Bits, GroupSize, Options, ScaleType, Try
from dtc.passes.solvers.binary_codes import Rows
from dtc.passes.solvers.groups import group_width, grouped, refuse_not_finite, scale_type, settle

STEP_BITS = 11
"""Significant bits of a scale, float16's own: so that `s (q - z)`, and its sum of planes, is exact in float32."""


class UniformOptions(Options):
    """How many levels, and what shares a scale."""

    bits: Annotated[Bits, Try(3, 4, 6, 8)]
    symmetric: bool = Field(default=True, description="levels on both sides of 0 alike, or from minimum to maximum")
    group_size: Annotated[GroupSize, Try(0, 256, 128, 64)] = 0
    alpha_dtype: ScaleType = "float16"

    @field_validator("bits")
    @classmethod
    def _more_than_signs(cls, bits: int) -> int:
        if bits < 2:
            raise ValueError("give 2 to 8: evenly spaced levels with 0 among them are more than two")
        return bits


class Uniform(Method):
    """Round each weight to the nearest of `2^bits` evenly spaced levels of its row or group."""

    name: ClassVar[str] = "uniform"
    title: ClassVar[str] = "uniform quantization (round to nearest)"
    paper: ClassVar[str] = "S. Park et al.: LUT-GEMM, ICLR 2024 (arXiv 2206.09557), section 3.1"
    options_type: ClassVar[type[Options]] = UniformOptions
    example: ClassVar[Mapping[str, Any]] = {"bits": 4}
    gives: ClassVar[type[Form]] = BinaryCode
    heeds_mask: ClassVar[bool] = True
    options: UniformOptions

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return what 8 bits with float16 scales a row give."""
        stored = rows * (8 * -(-cols // 8) + 18)
        return f"8 bits: {4 * rows * cols / stored:.1f}x" if stored < 4 * rows * cols else "nothing to save"

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return the codes of every site that gets smaller by them; 0 is a level, so pruned weights stay 0.

        Raises:
            ModelError: A weight is not finite.
        """
        outcomes: dict[str, Outcome] = {}
        for w in weights:
            refuse_not_finite(w)
            size = group_width(w.out_in[1], self.options.group_size)
            masks = [None] * len(w.matrices) if w.mask is None else list(w.mask)
            parts = [grouped(matrix, kept, size) for matrix, kept in zip(w.matrices, masks, strict=True)]
            grids = [self._grid(part) for part in parts]
            dtype = self._dtype(np.concatenate([scale for scale, _ in grids]))
            forms = [self._form(*grid, part, w.out_in, size, dtype) for grid, part in zip(grids, parts, strict=True)]
            outcomes[w.site] = settle(w, tuple(forms))
        return outcomes

    def _grid(self, rows: Rows) -> tuple[Array, Array]:
        """Return scale and zero point, float32 `[rows, 1]`."""
        # 0 is in the range, so that it is a level; of a row without weights all is 0, and the scale with it.
        low = np.minimum(rows.values.min(axis=1, keepdims=True), 0)
        high = np.maximum(rows.values.max(axis=1, keepdims=True), 0)
        levels = 1 << self.options.bits
        if self.options.symmetric:
            # 3 bits: levels 0 to 7, zero point 4, steps -4 to 3: the largest magnitude is step 3 or -3. Step -4 is not
            # needed.
            scale = _short(np.maximum(high, -low) / np.float32(levels // 2 - 1))
            return scale, np.full_like(scale, levels // 2)
        scale = _short((high - low) / np.float32(levels - 1))
        return scale, np.round(-low / np.where(scale > 0, scale, 1)).astype(np.float32)

    def _dtype(self, scale: Array) -> ScaleType:
        """Return the dtype that holds coefficients and offset exactly: an offset of many steps needs float32."""
        if not self.options.symmetric:
            return "float32"
        # Coefficients go from s / 2 to s 2^bits / 4; the offset, -s / 2, is among them. Ample by a factor of 4.
        extremes = np.concatenate([scale * np.float32(0.5), scale * np.float32(1 << self.options.bits)])
        return scale_type(extremes, self.options.alpha_dtype)

    def _form(
        self, scale: Array, zero: Array, rows: Rows, shape: tuple[int, int], size: int, dtype: ScaleType
    ) -> BinaryCode:
        bits, (out, cols) = self.options.bits, shape
        steps = np.round(rows.values / np.where(scale > 0, scale, 1)) + zero
        levels = np.clip(steps, 0, (1 << bits) - 1).astype(np.uint8).reshape(out, -1)[:, :cols]
        powers = range(bits - 1, -1, -1)  # the largest coefficient first
        # q = sum of 2^p b_p with b_p = (1 + sign_p) / 2. So s (q - z) is the sum of s 2^p / 2 * sign_p, the planes, and
        # s ((2^bits - 1) / 2 - z), the offset. 2 bits, z = 2, q = 3: s + s / 2 - s / 2 = s.
        planes = np.stack([pack_bits((levels >> np.uint8(p) & 1).view(np.bool_)) for p in powers])
        alphas = np.stack([(scale * np.float32(2.0**p / 2)).reshape(out, -1) for p in powers])
        offset = (scale * (np.float32((2.0**bits - 1) / 2) - zero)).reshape(out, -1)
        return BinaryCode(planes, alphas.astype(dtype), cols, size, offset=offset.astype(dtype))


def _short(scale: Array) -> Array:
    """Return the scale rounded up to `STEP_BITS` significant bits."""
    # Up, and not to nearest: the largest weight must not fall beyond the last level.
    mantissa, exponent = np.frexp(scale)
    return np.asarray(np.ldexp(np.ceil(mantissa * 2**STEP_BITS) / 2**STEP_BITS, exponent), dtype=np.float32)
