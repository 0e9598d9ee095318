"""How much two ways to compute the same may differ, where weights are rounded to few bits."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from dtc.passes.lower.lowered import Lowered

_BITS = {ir.DataType.FLOAT16: 11, ir.DataType.BFLOAT16: 8}
"""Of the significand."""

_ROUNDINGS = 4.0
"""A weight is rounded, so are the two factors that stand for it, and so is what flows between two products."""


def rounded_like(lowered: Lowered) -> Lowered:
    """Return a lowered site that may differ from its dense weight by the rounding of the weight's own type.

    The dense weight is rounded to it once, the arrays of a form each by themselves: a float16 number of 11 bits is
    2^-11 off, so two factors in its place are 2 * 2^-11 off.
    """
    dtype = lowered.site.value.dtype
    if dtype not in _BITS:
        return lowered
    allowed = _ROUNDINGS * 2.0 ** -_BITS[dtype]
    if lowered.tolerance is not None and lowered.tolerance >= allowed:
        return lowered
    return replace(lowered, tolerance=allowed, because=f"the rounding of {dtype.name.lower()} weights")
