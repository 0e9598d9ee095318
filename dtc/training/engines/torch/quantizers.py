"""Quantized activations with a gradient, which replaces the zero gradient of rounding.

The rounded activation gets the gradient of element-wise gradient scaling (J. Lee, D. Kim, B. Ham: Network quantization
with element-wise gradient scaling, CVPR 2021, arXiv 2104.00903, section 3.2), its scale that of learned step sizes (S.
Esser et al.: Learned step size quantization, ICLR 2020, arXiv 1902.08153, sections 2.1 and 2.2).
"""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from dtc.graph import find_quantizers
from dtc.training.engines.torch.calls import Call, operator

DOMAIN = "dtc.torch"


def hold_quantizers(graph: ir.Graph, delta: float) -> list[ir.Value]:
    """Put one node with a gradient in the place of each quantizer of a graph, in place; return their scales.

    `delta` is the gradient scaling; 0 is the straight-through estimator.
    """
    quantizers = find_quantizers(graph)
    for each in quantizers:
        levels = {"lowest": each.lowest - each.zero_point, "highest": each.highest - each.zero_point}
        name = f"{each.quantize.name}::FakeQuantize"
        attributes = {**levels, "delta": float(delta)}
        node = ir.node("FakeQuantize", [each.data, each.scale], attributes, domain=DOMAIN, name=name)
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        graph.insert_before(each.quantize, node)
        for reader in each.dequantize:
            ir.convenience.replace_all_uses_with(reader.outputs[0], node.outputs[0])
    return list(dict.fromkeys(each.scale for each in quantizers))


@operator("FakeQuantize", domain=DOMAIN)
def _fake_quantize(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    y: Tensor = _FakeQuantize.apply(x, scale, call.integer("lowest"), call.integer("highest"), call.real("delta"))
    return y


class _FakeQuantize(torch.autograd.Function):
    """Compute y = s q with u = x / s, q = round(u) clipped to the levels; Q is the number of levels less one.

    With g the gradient of y and n the size of a sample:

    * of x: g (1 + delta sign(g) (c - q) / Q) where u is within the levels, else 0; c is u clipped;
    * of s: the sum of g (q - u) where u is within and of g q elsewhere, divided by the root of n Q.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, lowest: int, highest: int, delta: float) -> Tensor:  # type: ignore[override]
        scaled = x / scale
        clipped = scaled.clamp(lowest, highest)
        rounded = torch.round(clipped)
        ctx.save_for_backward(scaled, clipped, rounded, scale)
        ctx.steps, ctx.delta = highest - lowest, delta
        return rounded * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:  # type: ignore[override]
        scaled, clipped, rounded, scale = ctx.saved_tensors
        inside = scaled == clipped
        own = gradient + gradient.abs() * (clipped - rounded) * (ctx.delta / ctx.steps) if ctx.delta else gradient
        error = torch.where(inside, rounded - scaled, rounded)
        # n is the size of x without its first axis, the samples: batches of any size give steps of the same length.
        count = scaled.numel() / scaled.shape[0] * ctx.steps if scaled.dim() else ctx.steps
        of_scale = (gradient * error).sum() / math.sqrt(count)
        return own * inside, of_scale.reshape(scale.shape), None, None, None
