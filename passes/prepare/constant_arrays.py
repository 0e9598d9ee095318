"""The arrays behind weights that a graph computes from constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
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
    # Known before anything is read: rows that are looked up are no constant, and the table may be a large file.
    return _evaluate(value, limit, {}, 0) if is_constant(value) else None


def is_constant(value: ir.Value | None) -> bool:
    """Return whether a value is made of constants alone, by the operators below; no number is read for that."""
    return _is_constant(value, {}, 0)


def _is_constant(value: ir.Value | None, known: dict[ir.Value, bool], depth: int) -> bool:
    if value is None or depth > DEEPEST:
        return False
    if value not in known:
        node = value.producer()
        if node is None:
            known[value] = _is_fixed(value)
        elif node.domain == "" and node.op_type in _OPERATORS:
            known[value] = all(each is None or _is_constant(each, known, depth + 1) for each in data_of(node))
        else:
            known[value] = node.domain == "" and node.op_type == "Constant"
    return known[value]


def _is_fixed(value: ir.Value) -> bool:
    """Return whether a value is an initializer that no caller can replace."""
    return value.const_value is not None and value.is_initializer() and not value.is_graph_input()


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
    # 1. No node: an initializer.
    if node is None:
        return value.const_value.numpy() if value.const_value is not None and _is_fixed(value) else None
    if node.domain != "":
        return None
    # 2. A constant.
    if node.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(value)
        return None if tensor is None else tensor.numpy()
    # 3. An operator that moves data, or computes with floats. All inputs that are given have to be known.
    operator = _OPERATORS.get(node.op_type)
    if operator is None or (len(node.outputs) > 1 and node.op_type != "Split"):
        return None
    read = data_of(node)
    arrays = [_evaluate(each, limit, known, depth + 1) for each in read]
    if any(array is None and each is not None for array, each in zip(arrays, read, strict=True)):
        return None
    try:
        if _bytes_of_result(node, arrays) > limit:
            return None
        made = operator(node, arrays)
        return made[node.outputs.index(value)] if isinstance(made, list) else made
    except (ValueError, IndexError, TypeError, KeyError):
        return None  # the node is not valid; the runtime will say so better


def data_of(node: ir.Node) -> Sequence[ir.Value | None]:
    """Return the inputs whose numbers a node computes with; of the second one of CastLike only the type counts."""
    return node.inputs[:1] if node.op_type == "CastLike" else node.inputs


def _bytes_of_result(node: ir.Node, arrays: list[Any]) -> int:
    """Return the most bytes that a node makes: of one that neither joins, repeats nor broadcasts, those of its data."""
    data = arrays[0]
    match node.op_type:
        case "Concat":
            return sum(int(array.nbytes) for array in arrays)
        case "Gather":
            return int(data.nbytes // max(data.shape[_axis(node, data)], 1) * arrays[1].size)
        case "Expand":
            return int(data.itemsize) * math.prod(np.broadcast_shapes(data.shape, tuple(map(int, arrays[1]))))
        case name if name in _BROADCASTING:
            sizes = np.broadcast_shapes(*(array.shape for array in arrays))
            return max(int(array.itemsize) for array in arrays) * math.prod(sizes)
        case _:
            return int(data.nbytes)


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


def _cast_like(node: ir.Node, arrays: list[Any]) -> AnyArray:
    like = node.inputs[1]
    if like is None or like.dtype is None:
        raise ValueError("its type is unknown")
    return np.asarray(arrays[0].astype(like.dtype.numpy()))


def _flatten(node: ir.Node, arrays: list[Any]) -> AnyArray:
    axis = node.attributes.get_int("axis", 1) or 0
    return np.reshape(arrays[0], (math.prod(arrays[0].shape[:axis]), -1))


def _axis(node: ir.Node, data: AnyArray) -> int:
    return (node.attributes.get_int("axis", 0) or 0) % data.ndim


def _split(node: ir.Node, arrays: list[Any]) -> list[AnyArray]:
    data, axis, count = arrays[0], _axis(node, arrays[0]), len(node.outputs)
    # Of equal sizes where none are given; 7 in 3 parts are 3, 3, 1.
    equal = -(-data.shape[axis] // count)
    sizes = _ints(node, "split", arrays, 1) or [equal] * (count - 1)
    return np.split(data, np.cumsum(sizes)[: count - 1], axis=axis)


def _gather(node: ir.Node, arrays: list[Any]) -> AnyArray:
    return np.asarray(np.take(arrays[0], arrays[1], axis=_axis(node, arrays[0])))


def _expand(_: ir.Node, arrays: list[Any]) -> AnyArray:
    return np.asarray(np.broadcast_to(arrays[0], np.broadcast_shapes(arrays[0].shape, tuple(map(int, arrays[1])))))


def _by_element(function: Callable[..., AnyArray]) -> Callable[[ir.Node, list[Any]], AnyArray]:
    """Return the operator that computes with the elements of float arrays, in their own type."""

    def compute(_: ir.Node, arrays: list[Any]) -> AnyArray:
        if arrays[0].dtype.kind not in "fV":  # V: bfloat16; integers divide otherwise
            raise TypeError("it computes with whole numbers")
        with np.errstate(all="ignore"):  # numbers that overflow do so in the runtime
            return np.asarray(function(*arrays)).astype(arrays[0].dtype)

    return compute


def _reduced(function: Callable[..., AnyArray]) -> Callable[[ir.Node, list[Any]], AnyArray]:
    """Return the operator that reduces float arrays along axes, all if none are given."""

    def compute(node: ir.Node, arrays: list[Any]) -> AnyArray:
        axes = _ints(node, "axes", arrays, 1)
        if axes is None and node.attributes.get_int("noop_with_empty_axes", 0) == 1:
            raise ValueError("it reduces nothing")
        over, kept = None if axes is None else tuple(axes), node.attributes.get_int("keepdims", 1)
        reduced = function(arrays[0].astype(np.float64), axis=over, keepdims=bool(kept))
        return np.asarray(reduced).astype(arrays[0].dtype)

    return compute


def _length(array: AnyArray, axis: tuple[int, ...] | None, *, keepdims: bool) -> AnyArray:
    return np.asarray(np.sqrt(np.square(array).sum(axis=axis, keepdims=keepdims)))


_BROADCASTING = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where"})

_OPERATORS: dict[str, Callable[[ir.Node, list[Any]], AnyArray | list[AnyArray]]] = {
    "Abs": _by_element(np.abs),
    "Add": _by_element(np.add),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Concat": _concat,
    "Div": _by_element(np.divide),
    "Exp": _by_element(np.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": lambda _, arrays: arrays[0],
    "Max": _by_element(lambda *arrays: reduce(np.maximum, arrays)),
    "Min": _by_element(lambda *arrays: reduce(np.minimum, arrays)),
    "Mul": _by_element(np.multiply),
    "Neg": _by_element(np.negative),
    "Pow": _by_element(np.power),
    "Reciprocal": _by_element(np.reciprocal),
    "ReduceL2": _reduced(_length),
    "ReduceMean": _reduced(np.mean),
    "ReduceSum": _reduced(np.sum),
    "ReduceSumSquare": _reduced(lambda array, **over: np.square(array).sum(**over)),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _by_element(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _by_element(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": lambda _, arrays: np.where(*arrays),
}
