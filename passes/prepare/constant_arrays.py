"""The arrays behind weights that a graph computes from constants by moving data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

AnyArray: TypeAlias = npt.NDArray[Any]


DEEPEST = 100
"""Nodes one behind the other; exporters make fewer than ten."""


def constant_array(value: ir.Value | None, limit: int = 2**31) -> AnyArray | None:
    """Return the array that `value` always has, if it is made of constants by the operators below; else None.

    None as well where a part would be larger than `limit` bytes: a small file can ask for a huge array.
    """
    return _evaluate(value, limit, {}, 0)


def _evaluate(
    value: ir.Value | None, limit: int, known: dict[ir.Value, AnyArray | None], depth: int
) -> AnyArray | None:
    if value is None or depth > DEEPEST:
        return None
    if value not in known:
        known[value] = _compute(value, limit, known, depth)
    return known[value]


def _compute(value: ir.Value, limit: int, known: dict[ir.Value, AnyArray | None], depth: int) -> AnyArray | None:
    node = value.producer()
    # 1. No node: an initializer that no caller can replace.
    if node is None:
        fixed = value.const_value is not None and value.is_initializer() and not value.is_graph_input()
        return value.const_value.numpy() if fixed and value.const_value is not None else None
    if node.domain != "" or len(node.outputs) != 1:
        return None
    # 2. A constant.
    if node.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(value)
        return None if tensor is None else tensor.numpy()
    # 3. An operator that moves data. All inputs that are given have to be known.
    operator = _OPERATORS.get(node.op_type)
    if operator is None:
        return None
    arrays = [_evaluate(read, limit, known, depth + 1) for read in node.inputs]
    if any(array is None and read is not None for array, read in zip(arrays, node.inputs, strict=True)):
        return None
    # The inputs bound the result: none of these operators makes more elements than it reads.
    if sum(array.nbytes for array in arrays if array is not None) > limit:
        return None
    try:
        return operator(node, arrays)
    except (ValueError, IndexError, TypeError, KeyError):
        return None  # the node is not valid; the runtime will say so better


def _ints(node: ir.Node, name: str, arrays: list[Any], index: int) -> list[int] | None:
    """Return an argument that older operator sets hold as an attribute, and newer ones as an input; None: not given."""
    if name in node.attributes:
        return list(node.attributes[name].as_ints())
    if index < len(arrays) and arrays[index] is not None:
        return [int(i) for i in np.atleast_1d(arrays[index])]
    return None


def _reshape(node: ir.Node, arrays: list[Any]) -> AnyArray:
    target = _ints(node, "shape", arrays, 1) or []
    data = arrays[0]
    if not node.attributes.get_int("allowzero", 0):
        target = [data.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    return np.asarray(np.reshape(data, target))


def _unsqueeze(node: ir.Node, arrays: list[Any]) -> AnyArray:
    return np.expand_dims(arrays[0], tuple(_ints(node, "axes", arrays, 1) or ()))


def _squeeze(node: ir.Node, arrays: list[Any]) -> AnyArray:
    axes = _ints(node, "axes", arrays, 1)
    squeezed: AnyArray = np.squeeze(arrays[0], None if axes is None else tuple(axes))
    return squeezed


def _slice(node: ir.Node, arrays: list[Any]) -> AnyArray:
    data = arrays[0]
    starts, ends = _ints(node, "starts", arrays, 1) or [], _ints(node, "ends", arrays, 2) or []
    axes = _ints(node, "axes", arrays, 3) or list(range(len(starts)))
    steps = _ints(node, "steps", arrays, 4) or [1] * len(starts)
    chosen = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        chosen[axis] = slice(start, end, step)
    return np.asarray(data[tuple(chosen)])


def _concat(node: ir.Node, arrays: list[Any]) -> AnyArray:
    return np.concatenate(arrays, axis=node.attributes["axis"].as_int())


def _transpose(node: ir.Node, arrays: list[Any]) -> AnyArray:
    perm = node.attributes.get("perm")
    return np.transpose(arrays[0], None if perm is None else tuple(perm.as_ints()))


def _cast(node: ir.Node, arrays: list[Any]) -> AnyArray:
    return np.asarray(arrays[0].astype(ir.DataType(node.attributes["to"].as_int()).numpy()))


def _flatten(node: ir.Node, arrays: list[Any]) -> AnyArray:
    axis = node.attributes.get_int("axis", 1) or 0
    return np.reshape(arrays[0], (math.prod(arrays[0].shape[:axis]), -1))


_OPERATORS: dict[str, Callable[[ir.Node, list[Any]], AnyArray]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Flatten": _flatten,
    "Identity": lambda _, arrays: arrays[0],
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
