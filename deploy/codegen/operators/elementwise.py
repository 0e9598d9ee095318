"""Operators on each number, and on two or three tensors that are broadcast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from dtc.deploy.codegen.axes import MOST, broadcast_strides, merged, strides
from dtc.deploy.codegen.compiling import PACKED, Compiler, NodeCompiling
from dtc.deploy.codegen.program import Struct, Tensor

_UNARY: Mapping[str, str] = {
    "Abs": "abs",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "HardSwish": "hard_swish",
    "Log": "log",
    "Mish": "mish",
    "Neg": "neg",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Tanh": "tanh",
}

_WITH_NUMBERS: Mapping[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "Celu": ("celu", (("alpha", 1.0),)),
    "Elu": ("elu", (("alpha", 1.0),)),
    "HardSigmoid": ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))),
    "LeakyRelu": ("leaky_relu", (("alpha", 0.01),)),
    "Selu": ("selu", (("alpha", 1.6732632), ("gamma", 1.050701))),
    "ThresholdedRelu": ("thresholded_relu", (("alpha", 1.0),)),
}
"""Kernels with the attributes that they take, and their defaults."""

_PAIRS: Mapping[str, str] = {
    "Add": "add",
    "Div": "div",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Mul": "mul",
    "PRelu": "prelu",
    "Pow": "pow",
    "Sub": "sub",
}

_FLOATS_ALONE = frozenset({"div", "pow", "prelu"})


def _unary(name: str, at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    at.call(f"dtc_{name}", x.size, x, at.output(), over=x)


def _with_numbers(name: str, attributes: Sequence[tuple[str, float]], at: NodeCompiling) -> None:
    numbers = [at.node.attributes.get_float(key, default) for key, default in attributes]
    with_numbers(at, name, *numbers)


def with_numbers(at: NodeCompiling, name: str, p: float, q: float = 0.0) -> None:
    """Add a call of a kernel on each number that takes two numbers of its own."""
    x = at.tensor(0)
    at.expect_float(x)
    at.call(f"dtc_{name}", x.size, float(p), float(q), x, at.output(), over=x)


def _clip(at: NodeCompiling) -> None:
    limits = []
    for index, (key, default) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
        given = at.constant(index, "its limits") if at.has(index) else at.node.attributes.get_float(key, default)
        limits.append(float(np.asarray(given).reshape(-1)[0]))
    least, most = limits
    with_numbers(at, "clip", min(least, most), most)  # where both contradict, the upper one holds


def _gelu(at: NodeCompiling) -> None:
    _unary("gelu_tanh" if at.node.attributes.get_string("approximate", "none") == "tanh" else "gelu", at)


def pair(at: NodeCompiling, name: str, a: Tensor, b: Tensor, y: Tensor) -> None:
    """Add a call of a kernel on two tensors, which are repeated to the shape of `y`."""
    if a.ctype != b.ctype or (a.ctype != "float" and name in _FLOATS_ALONE) or a.ctype == "int32_t":
        raise at.refuse(f"of {a.ctype} and {b.ctype} it is not there; {PACKED}")
    steps = [broadcast_strides(each.shape, y.shape) for each in (a, b)]
    sizes, (a_step, b_step) = merged(y.shape, *steps)
    if len(sizes) > MOST:
        raise at.refuse(f"it takes {len(sizes)} axes, {MOST} are there")
    shape = Struct("dtc_pair_shape", {"axes": len(sizes), "size": sizes, "a_step": a_step, "b_step": b_step})
    # Where an operand is as large as the result it is met number by number, in the order of the result.
    over = next((each for each in (a, b) if each.shape == y.shape and each.ctype == y.ctype), None)
    at.call(f"dtc_{name}_{a.word}", shape, a, b, y, over=over)


def _pair(name: str, at: NodeCompiling) -> None:
    pair(at, name, at.tensor(0), at.tensor(1), at.output())


def _pow(at: NodeCompiling) -> None:
    a, b = at.tensor(0), at.tensor(1)
    if b.array is not None and b.ctype != "float":
        b = at.floats(b.array)
    pair(at, "pow", a, b, at.output())


def _several(name: str, at: NodeCompiling) -> None:
    """Take the first two, then the result and the next one."""
    operands = [at.tensor(index) for index in range(len(at.node.inputs))]
    y = at.output()
    if len(operands) == 1:
        at.like(operands[0])
        return
    pair(at, name, _repeated(at, operands[0], y), operands[1], y)
    for operand in operands[2:]:
        pair(at, name, y, operand, y)


def _repeated(at: NodeCompiling, x: Tensor, y: Tensor) -> Tensor:
    """Return a tensor in the shape of another one, repeated where it must be."""
    if x.shape == y.shape:
        return x
    whole = at.memory(y.shape, x.ctype)
    sizes, (x_step, y_step) = merged(y.shape, broadcast_strides(x.shape, y.shape), strides(y.shape))
    copy(at, x, whole, sizes, x_step, y_step)
    return whole


def copy(
    at: NodeCompiling,
    x: Tensor,
    y: Tensor,
    sizes: Sequence[int],
    x_step: Sequence[int],
    y_step: Sequence[int],
    places: tuple[int, int] = (0, 0),
) -> None:
    """Add a copy of numbers from one order to another, beginning at `places` of both."""
    if len(sizes) > MOST:
        raise at.refuse(f"it takes {len(sizes)} axes, {MOST} are there")
    members = {"axes": len(sizes), "size": list(sizes), "from": places[0], "to": places[1]}
    members |= {"x_step": list(x_step), "y_step": list(y_step)}
    at.call(f"dtc_copy_{x.word}", Struct("dtc_copy_shape", members), x, y)


def _mean(at: NodeCompiling) -> None:
    _several("add", at)
    if len(at.node.inputs) == 1:
        return
    y = at.graph.values[at.node.outputs[0]]
    pair(at, "mul", y, at.floats(np.array([1 / len(at.node.inputs)])), y)


def _where(at: NodeCompiling) -> None:
    a, b = at.tensor(1), at.tensor(2)
    if a.ctype not in ("float", "int64_t"):
        raise at.refuse(f"of {a.ctype} it is not there")
    y = at.output()
    condition, a, b = (_repeated(at, each, y) for each in (at.tensor(0), a, b))
    at.call(f"dtc_where_{y.word}", y.size, condition, a, b, y)


def _not(at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.call("dtc_not", x.size, x, at.output(), over=x)


def _cast(at: NodeCompiling) -> None:
    x = at.tensor(0)
    if x.ctype == at.graph.ctype(at.node.outputs[0], at):
        at.like(x)
        return
    y = at.output()
    at.call(f"dtc_cast_{x.word}_{y.word}", x.size, x, y)


_LOGICAL: Mapping[str, Compiler] = {name: partial(_pair, name.lower()) for name in ("And", "Or", "Xor")}

COMPILERS: Mapping[str, Compiler] = {
    **{name: partial(_unary, kernel) for name, kernel in _UNARY.items()},
    **{name: partial(_with_numbers, kernel, told) for name, (kernel, told) in _WITH_NUMBERS.items()},
    **{name: partial(_pair, kernel) for name, kernel in _PAIRS.items() if name != "Pow"},
    **{name: partial(_several, kernel) for name, kernel in (("Sum", "add"), ("Min", "min"), ("Max", "max"))},
    **_LOGICAL,
    "Cast": _cast,
    "Clip": _clip,
    "Gelu": _gelu,
    "Mean": _mean,
    "Not": _not,
    "Pow": _pow,
    "Where": _where,
}
