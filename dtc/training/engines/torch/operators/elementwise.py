"""Operators that compute each element by itself, broadcast as NumPy does."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.training.engines.torch.calls import MICROSOFT, Call, elementwise, operator
from dtc.training.engines.torch.dtypes import dtype_of
from dtc.training.engines.torch.poles import one, stopped, without_poles, zero

elementwise(
    {
        "Abs": torch.abs,
        "Acos": without_poles(torch.acos, one),
        "Acosh": without_poles(torch.acosh, one),
        "Asin": without_poles(torch.asin, one),
        "Asinh": torch.asinh,
        "Atan": torch.atan,
        "Atanh": without_poles(torch.atanh, one),
        "Cos": torch.cos,
        "Cosh": torch.cosh,
        "Erf": torch.erf,
        "Exp": torch.exp,
        "Log": without_poles(torch.log, zero),
        "Mish": F.mish,
        "Neg": torch.neg,
        "Reciprocal": without_poles(torch.reciprocal, zero),
        "Relu": torch.relu,
        "Sigmoid": torch.sigmoid,
        "Sin": torch.sin,
        "Sinh": torch.sinh,
        "Softplus": F.softplus,
        "Softsign": F.softsign,
        "Sqrt": without_poles(torch.sqrt, zero),
        "Tan": torch.tan,
        "Tanh": torch.tanh,
        "Add": torch.add,
        "Sub": torch.sub,
        "Mul": torch.mul,
        "Where": torch.where,
        "Identity": lambda value: value,
        "HardSwish": F.hardswish,
    }
)
elementwise(
    {
        "Ceil": torch.ceil,
        "Floor": torch.floor,
        "Round": torch.round,  # halves to even, as ONNX has it
        "Sign": torch.sign,
        "And": torch.logical_and,
        "Or": torch.logical_or,
        "Xor": torch.logical_xor,
        "Not": torch.logical_not,
        "Equal": torch.eq,
        "Less": torch.lt,
        "LessOrEqual": torch.le,
        "Greater": torch.gt,
        "GreaterOrEqual": torch.ge,
        "IsNaN": torch.isnan,
        "BitwiseAnd": torch.bitwise_and,
        "BitwiseOr": torch.bitwise_or,
        "BitwiseXor": torch.bitwise_xor,
        "BitwiseNot": torch.bitwise_not,
    },
    differentiable=False,
)
elementwise({"QuickGelu": lambda x: x * torch.sigmoid(1.702 * x)}, domain=MICROSOFT)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda *inputs: reduce(function, inputs)


elementwise({"Max": _folded(torch.maximum), "Min": _folded(torch.minimum), "Sum": _folded(torch.add)})
elementwise({"Mean": lambda *inputs: reduce(torch.add, inputs) / len(inputs)})


@operator("Div")
def _divide(_: Call, a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


@operator("Mod")
def _modulo(call: Call, a: Tensor, b: Tensor) -> Tensor:
    # The sign is that of the divisor, with fmod that of the dividend: -4 mod 3 is 2, or -1.
    return torch.fmod(a, b) if call.integer("fmod") else torch.remainder(a, b)


@operator("Pow")
def _power(_: Call, base: Tensor, exponent: Tensor) -> Tensor:
    if base.requires_grad:  # a root, or one over a power, at 0
        base, exponent = torch.broadcast_tensors(base, exponent)
        below = exponent.double() < 1  # torch compares no uint64
        base = stopped(base, lambda numbers: (numbers == 0) & below)
    # The type is the base's, whatever the exponent's.
    if base.dtype == exponent.dtype:
        return torch.pow(base, exponent)
    return torch.pow(base.double(), exponent.double()).to(base.dtype)


@operator("IsInf", differentiable=False)
def _is_infinite(call: Call, x: Tensor) -> Tensor:
    positive = torch.isposinf(x) & bool(call.integer("detect_positive", 1))
    return positive | (torch.isneginf(x) & bool(call.integer("detect_negative", 1)))


@operator("BitShift", differentiable=False)
def _shift(call: Call, x: Tensor, by: Tensor) -> Tensor:
    # Bits are unsigned; a shift to the left drops what does not fit, which int64 arithmetic and the cast back do.
    wide, by = x.to(torch.int64), by.to(torch.int64)
    return (wide << by if call.text("direction") == "LEFT" else wide >> by).to(x.dtype)


@operator("Clip")
def _clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    # Bounds are attributes before opset 11. Where the bounds cross, the result is the upper one.
    if call.version < 11:
        low = torch.tensor(call.real("min", -math.inf), dtype=x.dtype, device=x.device)
        high = torch.tensor(call.real("max", math.inf), dtype=x.dtype, device=x.device)
    if low is not None:
        x = torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


@operator("Cast")
def _cast(call: Call, x: Tensor) -> Tensor:
    return x.to(dtype_of(call.integer("to")))


@operator("CastLike")
def _cast_like(_: Call, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


@operator("Elu")
def _elu(call: Call, x: Tensor) -> Tensor:
    return F.elu(x, call.real("alpha", 1.0))


@operator("Celu")
def _celu(call: Call, x: Tensor) -> Tensor:
    return F.celu(x, call.real("alpha", 1.0))


@operator("Selu")
def _selu(call: Call, x: Tensor) -> Tensor:
    alpha, gamma = call.real("alpha", 1.6732632423543772), call.real("gamma", 1.0507009873554805)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x))


@operator("LeakyRelu")
def _leaky_relu(call: Call, x: Tensor) -> Tensor:
    return F.leaky_relu(x, call.real("alpha", 0.01))


@operator("ThresholdedRelu")
def _thresholded_relu(call: Call, x: Tensor) -> Tensor:
    return torch.where(x > call.real("alpha", 1.0), x, torch.zeros_like(x))


@operator("PRelu")
def _parametric_relu(_: Call, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


@operator("HardSigmoid")
def _hard_sigmoid(call: Call, x: Tensor) -> Tensor:
    return torch.clamp(call.real("alpha", 0.2) * x + call.real("beta", 0.5), 0, 1)


@operator("Shrink")
def _shrink(call: Call, x: Tensor) -> Tensor:
    bias, lambd = call.real("bias"), call.real("lambd", 0.5)
    zero = torch.zeros_like(x)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero)).to(x.dtype)


@operator("Gelu")
@operator("Gelu", domain=MICROSOFT)
def _gelu(call: Call, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=call.text("approximate", "none"))


@operator("FastGelu", domain=MICROSOFT)
def _fast_gelu(_: Call, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("BiasGelu", domain=MICROSOFT)
def _bias_gelu(_: Call, x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(x + bias)


@operator("Swish")
def _swish(call: Call, x: Tensor) -> Tensor:
    return x * torch.sigmoid(call.real("alpha", 1.0) * x)


@operator("SwiGLU")
def _swiglu(call: Call, gate: Tensor, up: Tensor) -> Tensor:
    return gate * torch.sigmoid(call.real("alpha", 1.0) * gate) * up
