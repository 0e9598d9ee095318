"""Constants that a model compares its inputs with: what takes a branch that no usual number does.

`If(sr == 8000)` runs its first branch for 8000 alone, and no draw would ever give that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.graph.walk import all_nodes

_COMPARISONS = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"})
_SAME_NUMBERS = frozenset(
    {"Identity", "Dropout", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice", "Expand"}
    | {"Gather", "GatherElements", "GatherND", "Split", "Concat", "Abs", "Not", "And", "Or"}
    | {"ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "Max", "Min"}
)
_MOST = 16  # constants of one array

Inverse: TypeAlias = Callable[[float], float]
"""Of what was compared, the number that the input has to hold."""

_UNDONE: dict[str, tuple[Callable[[float, float], float], Callable[[float, float], float]]] = {
    "Add": (lambda wanted, other: wanted - other, lambda wanted, other: wanted - other),
    "Sub": (lambda wanted, other: wanted + other, lambda wanted, other: other - wanted),
    "Mul": (lambda wanted, other: wanted / other, lambda wanted, other: wanted / other),
    "Div": (lambda wanted, other: wanted * other, lambda wanted, other: other / wanted),
}
"""By operator: the first operand, of the result and a constant second one; the second, of a constant first one."""


def compared_constants(model: ir.Model) -> dict[str, list[object]]:
    """Return for each graph input the values that decide what a comparison with it gives, each once.

    Of `x == 8000` these are 8000 and 8001, of `x < 5` they are 4, 5 and 6; of an input that is a condition itself,
    0 and 1; of strings, the strings.
    """
    found: dict[str, dict[object, None]] = {}
    for node in all_nodes(model):
        if node.domain != "":
            continue
        if node.op_type in _COMPARISONS and len(node.inputs) == 2:
            for name, value in _of_comparison(node):
                found.setdefault(name, {})[value] = None
        elif node.op_type in {"If", "Where"}:
            for name, _ in _sources(node.inputs[0]):
                found.setdefault(name, {}).update({0: None, 1: None})
    return {name: list(values) for name, values in found.items()}


def _of_comparison(node: ir.Node) -> Iterator[tuple[str, object]]:
    for side, other in ((0, 1), (1, 0)):
        constants = _constant(node.inputs[other])
        if constants is None:
            continue
        for name, inverse in _sources(node.inputs[side]):
            for constant in dict.fromkeys(constants.ravel()[:_MOST].tolist()):
                yield from ((name, value) for value in _around(constant, inverse, equal=node.op_type == "Equal"))


def _around(constant: Any, inverse: Inverse, *, equal: bool) -> Iterator[object]:
    """Yield the value that an input has to hold, and neighbours on whichever side gives another result."""
    if isinstance(constant, (str, bytes)):
        yield constant if isinstance(constant, str) else constant.decode()
        return
    try:
        value = inverse(float(constant))
    except ZeroDivisionError:
        return
    if not np.isfinite(value):
        return
    step = max(1.0, abs(value) / 100)
    yield from (value, value + step) if equal else (value - step, value, value + step)


def _sources(value: ir.Value | None) -> Iterator[tuple[str, Inverse]]:
    """Follow a value upstream to the graph inputs that it is made of, by operators that can be undone."""
    waiting: list[tuple[ir.Value | None, Inverse]] = [(value, lambda wanted: wanted)]
    seen: set[ir.Value] = set()
    while waiting:
        value, inverse = waiting.pop()
        if value is None or value in seen or _constant(value) is not None:
            continue
        seen.add(value)
        node = value.producer()
        if node is None:
            if value.is_graph_input() and value.name:
                yield value.name, inverse
        elif node.domain == "" and node.op_type in _SAME_NUMBERS:
            waiting += [(each, inverse) for each in node.inputs]
        elif node.domain == "" and node.op_type in _UNDONE:
            waiting += _operands(node, inverse)


def _operands(node: ir.Node, inverse: Inverse) -> Iterator[tuple[ir.Value | None, Inverse]]:
    for index, undo in enumerate(_UNDONE[node.op_type]):
        constant = _constant(node.inputs[1 - index])
        if constant is not None and constant.size == 1 and constant.dtype.kind in "iuf":
            yield node.inputs[index], _behind(inverse, undo, float(constant.item()))


def _behind(inverse: Inverse, undo: Callable[[float, float], float], constant: float) -> Inverse:
    return lambda wanted: undo(inverse(wanted), constant)


def _constant(value: ir.Value | None) -> Any:
    """Return the array of a constant, seen through operators that only move its numbers; None of what is computed."""
    while value is not None:
        if value.is_graph_input() and not value.is_initializer():
            return None
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None:
            return tensor.numpy()
        node = value.producer()
        if node is None or node.domain != "" or node.op_type not in {"Identity", "Cast", "Unsqueeze", "Squeeze"}:
            return None
        value = node.inputs[0]
    return None
