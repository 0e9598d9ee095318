"""Products of matrices and tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import MICROSOFT, Call, elementwise, operator

elementwise({"MatMul": torch.matmul, "Det": torch.linalg.det})


@operator("Gemm")
@operator("FusedGemm", domain=MICROSOFT)
def _gemm(call: Call, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.transpose(0, 1) if call.integer("transA") else a
    alpha, beta = call.real("alpha", 1.0), call.real("beta", 1.0)
    # The usual layer, x W^T + b, is one call; every other variant is written out.
    if c is not None and c.dim() == 1 and alpha == beta == 1.0:
        y = F.linear(a, b if call.integer("transB") else b.transpose(0, 1), c)
    else:
        y = a @ (b.transpose(0, 1) if call.integer("transB") else b)
        y = y if alpha == 1.0 else (alpha * y).to(a.dtype)
        if c is not None:
            y = y + (c if beta == 1.0 else (beta * c).to(c.dtype))
    return _activated(call, y)


@operator("FusedMatMul", domain=MICROSOFT)
def _fused_matmul(call: Call, a: Tensor, b: Tensor) -> Tensor:
    a = a.transpose(-1, -2) if call.integer("transA") and a.dim() > 1 else a
    b = b.transpose(-1, -2) if call.integer("transB") and b.dim() > 1 else b
    return call.real("alpha", 1.0) * (a @ b)


@operator("Einsum")
def _einsum(call: Call, *inputs: Tensor) -> Tensor:
    return torch.einsum(call.text("equation").replace(" ", ""), *inputs)


@operator("MatMulInteger", differentiable=False)
def _matmul_integer(
    _: Call, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    wide = [a.to(torch.int32), b.to(torch.int32)]
    if a_zero is not None:
        wide[0] = wide[0] - (a_zero.to(torch.int32).reshape(-1, 1) if a_zero.numel() > 1 else a_zero.to(torch.int32))
    if b_zero is not None:
        wide[1] = wide[1] - b_zero.to(torch.int32)
    return wide[0] @ wide[1]


def _activated(call: Call, y: Tensor) -> Tensor:
    """Apply the activation that the fused operators of ONNX Runtime name; none where there is none."""
    name = call.text("activation")
    if not name:
        return y
    simple = {"Relu": torch.relu, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid}
    if name not in simple:
        raise call.refuse(f"the torch engine does not know the fused activation {name}")
    return simple[name](y)
