"""Rounding to integers and back; the gradient of what is quantized on purpose is in `fake_quantization`."""

from __future__ import annotations

import torch
from torch import Tensor

from dtc.training.engines.torch.calls import Call, operator
from dtc.training.engines.torch.dtypes import dtype_of


@operator("QuantizeLinear", differentiable=False)
def _quantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    dtype = zero.dtype if zero is not None else torch.uint8
    if zero is None and call.integer("output_dtype"):
        dtype = dtype_of(call.integer("output_dtype"))
    limits = torch.iinfo(dtype)
    levels = torch.round(x / _along(call, scale, x).to(x.dtype))
    shifted = levels if zero is None else levels + _along(call, zero, x).to(x.dtype)
    return shifted.clamp(limits.min, limits.max).to(dtype)


@operator("DequantizeLinear")
def _dequantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    levels = x.to(torch.int64)
    if zero is not None:
        levels = levels - _along(call, zero, x).to(torch.int64)
    return levels.to(scale.dtype) * _along(call, scale, x)


@operator("DynamicQuantizeLinear", differentiable=False)
def _quantize_by_range(_: Call, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round((-low / scale).clamp(0, 255))
    return (torch.round(x / scale) + zero).clamp(0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


def _along(call: Call, parameter: Tensor, x: Tensor) -> Tensor:
    """Return scales or zero points in the shape in which they meet `x`: one, one along an axis, or one a block."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    axis, block = call.integer("axis", 1) % x.dim(), call.integer("block_size")
    if block:
        return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return parameter.reshape([-1 if place == axis else 1 for place in range(x.dim())])
