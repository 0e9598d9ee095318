"""Integers of 8 bits for weights, and for what they are multiplied with: runtimes then multiply integers.

Weights are whole numbers of steps, on both sides of 0 alike, with a scale for each output channel; activations are
rounded to the levels that samples tell, and retraining trains on (B. Jacob et al., Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018, arXiv 1712.05877). Ours: the form is that of
`uniform`, so that what no runtime multiplies as integers, as recurrent weights and tables, is stored and computed as
codes are.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dtc.forms import BinaryCode, Form
from dtc.passes.method import Outcome, SiteMethod, Weights
from dtc.passes.options import Compensation, Options, Try
from dtc.passes.solvers.even_codes import code_evenly, even_form
from dtc.passes.solvers.even_grids import fit_grid
from dtc.passes.solvers.groups import refuse_not_finite, settle


class Int8Options(Compensation):
    """How many of the 8 bits weights use."""

    reduce_range: Annotated[bool, Try(True, False)] = Field(  # noqa: FBT003 - values to try
        default=True,
        description="weights use 7 of 8 bits: x86 processors without VNNI add products of all 8 up wrongly",
    )


class Int8(SiteMethod):
    """Round each weight to an integer of 8 bits times the scale of its output channel; activations too, given samples.

    With `--data`, products and convolutions between activations are written as QuantizeLinear and DequantizeLinear, so
    that ONNX Runtime computes them in integers.
    """

    name: ClassVar[str] = "int8"
    title: ClassVar[str] = "8-bit integers, weights and activations"
    paper: ClassVar[str] = (
        "B. Jacob et al.: Quantization and training of neural networks for efficient integer-arithmetic-only "
        "inference, CVPR 2018 (arXiv 1712.05877)"
    )
    options_type: ClassVar[type[Options]] = Int8Options
    on_device: ClassVar[bool] = True
    gives: ClassVar[type[Form]] = BinaryCode
    heeds_mask: ClassVar[bool] = True
    compensates: ClassVar[str | None] = "GPTQ: levels are chosen by the error at the output, column by column"
    rounds_activations: ClassVar[bool] = True
    options: Int8Options

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return what a byte a weight and a float16 scale a row give."""
        stored = rows * (cols + 2)
        return f"{4 * rows * cols / stored:.1f}x" if stored < 4 * rows * cols else "nothing to save"

    def distort_site(self, w: Weights) -> Outcome:
        """Return the codes of a site, where it gets smaller by them; 0 is a level, so pruned weights stay 0.

        Raises:
            UsageError: `compensate` without calibration data.
            ModelError: A weight is not finite.
        """
        refuse_not_finite(w)
        fit = partial(fit_grid, bits=7 if self.options.reduce_range else 8, symmetric=True)
        coded = code_evenly(w, 0, fit, self.moments(w))
        # Without the lowest level, -128, a channel may change its sign: a BatchNormalization may want that.
        return settle(w, tuple(even_form(np.maximum(codes, 1), grid, 0, "float32") for codes, grid in coded))
