"""Uniform quantization: round to the nearest of evenly spaced levels, `W = s (q - z)`.

Scale and zero point are those of least squared error, so that a few large weights may be cut off. Stored as a binary
code whose coefficients are the scale times powers of two, and whose offset is the rest (S. Park et al., LUT-GEMM, ICLR
2024, arXiv 2206.09557, section 3.1): one form, and one kernel, for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from dtc.forms import BinaryCode, Form
from dtc.passes.method import Outcome, SiteMethod, Weights
from dtc.passes.options import Bits, Compensation, GroupSize, Options, ScaleType, Try
from dtc.passes.solvers.even_codes import code_evenly, even_form
from dtc.passes.solvers.even_grids import EvenGrid, fit_grid
from dtc.passes.solvers.groups import group_width, refuse_not_finite, scale_type, settle


class UniformOptions(Compensation):
    """How many levels, and what shares a scale."""

    bits: Annotated[Bits, Try(3, 4, 6, 8, second=(4, 6))]
    symmetric: bool | None = Field(
        default=None,
        description="levels on both sides of 0 alike, or a zero point for each scale; unless said otherwise, alike in "
        "groups alone",
    )
    group_size: Annotated[GroupSize, Try(0, 256, 128, 64)] = 0
    alpha_dtype: ScaleType = "float16"

    @field_validator("bits")
    @classmethod
    def _more_than_signs(cls, bits: int) -> int:
        if bits < 2:
            raise ValueError("give 2 to 8: evenly spaced levels with 0 among them are more than two")
        return bits


class Uniform(SiteMethod):
    """Round each weight to the nearest of `2^bits` evenly spaced levels of its row or group."""

    name: ClassVar[str] = "uniform"
    title: ClassVar[str] = "uniform quantization (round to nearest)"
    paper: ClassVar[str] = "S. Park et al.: LUT-GEMM, ICLR 2024 (arXiv 2206.09557), section 3.1"
    options_type: ClassVar[type[Options]] = UniformOptions
    example: ClassVar[Mapping[str, Any]] = {"bits": 4}
    on_device: ClassVar[bool] = True
    gives: ClassVar[type[Form]] = BinaryCode
    heeds_mask: ClassVar[bool] = True
    compensates: ClassVar[str | None] = "GPTQ: levels are chosen by the error at the output, column by column"
    options: UniformOptions

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return what 8 bits with float16 scales a row give."""
        stored = rows * (8 * -(-cols // 8) + 18)
        return f"8 bits: {4 * rows * cols / stored:.1f}x" if stored < 4 * rows * cols else "nothing to save"

    def distort_site(self, w: Weights) -> Outcome:
        """Return the codes of a site, where it gets smaller by them; 0 is a level, so pruned weights stay 0.

        Raises:
            UsageError: `compensate` without calibration data.
            ModelError: A weight is not finite.
        """
        refuse_not_finite(w)
        size = group_width(w.out_in[1], self.options.group_size)
        symmetric = self.options.symmetric if self.options.symmetric is not None else size > 0
        fit = partial(fit_grid, bits=self.options.bits, symmetric=symmetric)
        coded = code_evenly(w, size, fit, self.moments(w))
        # One dtype for all matrices of a site, so that they can be lowered together.
        dtype = self._dtype([grid for _, grid in coded])
        return settle(w, tuple(even_form(codes, grid, size, dtype) for codes, grid in coded))

    def _dtype(self, grids: Sequence[EvenGrid]) -> ScaleType:
        """Return the dtype that holds coefficients and offset exactly: an offset of many steps needs float32."""
        middle = 1 << (self.options.bits - 1)
        if any((grid.zero != middle).any() for grid in grids):
            return "float32"
        scale = np.concatenate([grid.scale for grid in grids])
        # Coefficients go from s / 2 to s 2^bits / 4; the offset, -s / 2, is among them. Ample by a factor of 4.
        extremes = np.concatenate([scale * np.float32(0.5), scale * np.float32(2 * middle)])
        return scale_type(extremes, self.options.alpha_dtype)
