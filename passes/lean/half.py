"""Vectors of a model, its biases and scales, stored in float16 behind a Cast: half of what they take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops import DOMAIN
from dtc.forms import fits_float16
from dtc.graph import all_graphs, find_sites
from dtc.graph.builder import GraphBuilder, Names, insert_first
from dtc.passes.lower.ledger import array_bytes

TOLERANCE = 4 * 2.0**-11
"""Relative L2 of the outputs: a float16 number is 2^-11 off at most, and several vectors act on an output."""

_READERS = {
    "Add": (0, 1),
    "Sub": (0, 1),
    "Mul": (0, 1),
    "Conv": (2,),
    "ConvTranspose": (2,),
    "Gemm": (2,),
    "LSTM": (3, 7),
    "GRU": (3,),
    "RNN": (3,),
    "PRelu": (1,),
    "BatchNormalization": (1, 2, 3, 4),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
}
"""The inputs that take whatever is computed; elsewhere, as for bounds and levels, runtimes want a constant."""

_CAST, _SPLIT = 34, 40
"""Bytes of a node with short names; of a Split without the names of its parts."""


@dataclass(frozen=True)
class Halved:
    """How many vectors are in float16, and what that saves."""

    count: int = 0
    nbytes: int = 0


def halve_vectors(model: ir.Model, keep: Collection[ir.Value] = ()) -> Halved:
    """Store float32 vectors in float16, in place, but for those in `keep` and what float16 cannot hold.

    Those of one shape become one tensor, with one Cast and one Split for all of them; the parts have their names.
    """
    kept = {*keep, *(site.value for site in find_sites(model))}
    names, count, saved = Names(model), 0, 0
    for graph in all_graphs(model):
        by_shape: dict[tuple[int, ...], list[ir.Value]] = {}
        for value in graph.initializers.values():
            if value not in kept and _is_vector(value):
                by_shape.setdefault(_shape(value), []).append(value)
        for values in by_shape.values():
            if (gain := _gain(values)) > 0:
                _join(GraphBuilder(names, "half", graph=graph), values)
                count, saved = count + len(values), saved + gain
    return Halved(count, saved)


def _is_vector(value: ir.Value) -> bool:
    """Return whether an initializer is a vector, or one a direction, and every reader takes what is computed."""
    if value.dtype != ir.DataType.FLOAT or value.const_value is None or not value.uses():
        return False
    if value.is_graph_input() or value.is_graph_output():
        return False
    shape, readers = _shape(value), [node for node, _ in value.uses()]
    long = [size for size in shape if size > 1]
    a_direction = len(shape) == 2 and shape[0] == 2 and all(_cell(node) for node in readers)
    taken = all(index in _vector_inputs(node) for node, index in value.uses())
    return (len(long) == 1 or a_direction) and taken and fits_float16(_array(value))


def _cell(node: ir.Node) -> str | None:
    """Return which recurrent cell a node is, standard or an operator of dtc such as `LSTM_binary_binary`."""
    cell = node.op_type.partition("_")[0] if node.domain == DOMAIN else node.op_type
    return cell if node.domain in ("", DOMAIN) and cell in ("LSTM", "GRU", "RNN") else None


def _vector_inputs(node: ir.Node) -> tuple[int, ...]:
    if node.domain == DOMAIN:
        return (1,) if _cell(node) else ()  # B stands behind X there
    return _READERS.get(node.op_type, ()) if node.domain == "" else ()


def _gain(values: Sequence[ir.Value]) -> int:
    """Return what joining vectors of one shape saves, in bytes."""
    before = sum(map(array_bytes, values))
    parts = sum(len(str(value.name)) + 2 for value in values) + _SPLIT if len(values) > 1 else 0
    return before - (sum(_array(value).nbytes for value in values) // 2 + 20 + _CAST + parts)


def _join(builder: GraphBuilder, values: Sequence[ir.Value]) -> None:
    # [16, 1, 1] and [16, 1, 1] become [32, 1, 1], which Split takes apart again along the same axis.
    arrays = [_array(value) for value in values]
    axis = int(np.argmax(arrays[0].shape)) if arrays[0].ndim else 0
    stored = builder.initializer("vectors", np.concatenate(arrays, axis=axis).astype(np.float16))
    parts = builder.split_evenly(builder.op("Cast", [stored], to=ir.DataType.FLOAT), len(values), axis)
    for value, part in zip(values, parts, strict=True):
        name = str(value.name)
        value.replace_all_uses_with(part)
        del builder.graph.initializers[name]
        value.name, part.name = None, name
    insert_first(builder)


def _shape(value: ir.Value) -> tuple[int, ...]:
    return _array(value).shape


def _array(value: ir.Value) -> npt.NDArray[np.float32]:
    assert value.const_value is not None
    return value.const_value.numpy()
