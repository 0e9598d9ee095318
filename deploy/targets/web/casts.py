"""What Casts do, by other operators.

ONNX Runtime Web has all pairs of types that Cast knows in one function of half a megabyte. At the first Cast an engine
compiles it while the session waits; where it ran for long, once more in the background with all its might, and what a
model computes with waits for the same compiler meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.graph import all_nodes
from dtc.graph.builder import GraphBuilder, Shared, replace_node
from dtc.graph.inference import KnownValues
from dtc.graph.opset import opset_of
from dtc.passes.prepare.known_sizes import known_sizes

OPSET = 10
"""Operator set that the other operators came with."""

SMALL = 256
"""Half floats of an array that is stored as floats instead: what makes floats of them takes as many bytes."""

WIDE = 64
"""Bytes of a row that are multiplied by an identity matrix, whose bytes are this number's square at most."""

_Replacement: TypeAlias = Callable[[GraphBuilder, ir.Value, ir.Value], "ir.Value | None"]
"""Puts nodes into a builder that cast a value; the second value knows its shape. None: a Cast it is."""


def replace_casts(model: ir.Model) -> None:
    """Put other nodes in the place of the Casts that decoding needs, in the model; the numbers are the same ones.

    Those of models of older operator sets stay.
    """
    if opset_of(model) < OPSET:
        return
    shared, known = Shared(model), KnownValues(model)
    casts = [node for node in all_nodes(model) if node.domain == "" and node.op_type == "Cast"]
    # What is known is asked for first: new nodes are not yet part of the model while others are replaced.
    for node, told in [(node, known.of(_input(node))) for node in casts]:
        replacement = _REPLACEMENTS.get((told.dtype, ir.DataType(node.attributes["to"].as_int())))
        if replacement is None:
            continue
        assert isinstance(node.graph, ir.Graph)
        value, builder = _input(node), shared.builder(node.name or "", node.graph)
        output = replacement(builder, value, told)
        if output is not None:
            replace_node(node, builder, {node.outputs[0]: output})
            if value.is_initializer() and not value.uses() and not value.is_graph_output():
                assert isinstance(value.graph, ir.Graph)
                del value.graph.initializers[str(value.name)]
    shared.insert()


def _input(cast: ir.Node) -> ir.Value:
    (value,) = cast.inputs
    assert value is not None
    return value


def _bytes_to_integers(builder: GraphBuilder, value: ir.Value, known: ir.Value) -> ir.Value:
    """Multiply by one, which makes int32 of bytes: of a row of them all where their number is known."""
    one, shape = builder.constant(np.ones((1, 1), np.uint8)), known.shape
    if shape is None or not all(isinstance(size, int) for size in shape):
        width = shape[-1] if shape is not None and len(shape) > 1 else None
        if isinstance(width, int) and width <= WIDE:  # one node, where each counts in a run
            return builder.op("MatMulInteger", [value, builder.constant(np.eye(width, dtype=np.uint8))])
        column = builder.op("MatMulInteger", [builder.unsqueeze(value, [-1]), one])
        return builder.squeeze(column, [-1])
    if len(shape) == 2 and shape[0] == 1:
        return builder.op("MatMulInteger", [one, value])
    return builder.op(
        "Reshape", [builder.op("MatMulInteger", [one, _row(builder, value)]), builder.constant(shape.numpy())]
    )


def _row(builder: GraphBuilder, value: ir.Value) -> ir.Value:
    """Return bytes `[1, count]`, as which they are stored where nothing else reads them."""
    alone = len(value.uses()) == 1 and value.is_initializer() and not value.is_graph_input()
    if alone and not value.is_graph_output() and value.const_value is not None:
        return builder.initializer("row", value.const_value.numpy().reshape(1, -1))
    return builder.op("Reshape", [value, builder.constant([1, -1])])


def _bytes_to_floats(builder: GraphBuilder, value: ir.Value, known: ir.Value) -> ir.Value:
    """Look floats up by bytes; ONNX Runtime computes no DequantizeLinear when it loads a model."""
    return builder.op("Gather", [_floats(builder), _bytes_to_integers(builder, value, known)])


def _floats(builder: GraphBuilder) -> ir.Value:
    """Return the float of each byte, `[256]`."""
    ends = [np.float32(number) for number in (0, 256, 1)]
    return builder.once("floats", lambda front: front.op("Range", [front.constant(end) for end in ends]))


def _few_to_floats(builder: GraphBuilder, value: ir.Value, _known: ir.Value) -> ir.Value | None:
    """Store the floats of few stored numbers."""
    numbers = _stored(value)
    return (
        builder.initializer("floats", numbers.astype(np.float32))
        if numbers is not None and numbers.size <= SMALL
        else None
    )


def _stored(value: ir.Value) -> np.ndarray | None:
    """Return the array of a constant; None where a run decides."""
    stored = value.is_initializer() and not value.is_graph_input() and value.const_value is not None
    return value.const_value.numpy() if stored and value.const_value is not None else None


def _choice(dtype: type[np.generic]) -> _Replacement:
    def choose(builder: GraphBuilder, value: ir.Value, _known: ir.Value) -> ir.Value:
        return builder.op("Where", [value, *(builder.constant(dtype(number)) for number in (1, 0))])

    return choose


def _is_not_zero(builder: GraphBuilder, value: ir.Value, _known: ir.Value) -> ir.Value:
    return builder.op("Not", [builder.op("Equal", [value, builder.constant(np.int32(0))])])


def _sizes(builder: GraphBuilder, value: ir.Value, _known: ir.Value) -> ir.Value | None:
    """Store the sizes of an array, where they are known."""
    node = value.producer()
    sizes = None if node is None else known_sizes(node)
    return None if sizes is None else builder.constant(sizes.astype(np.int32))


def _halves_to_floats(builder: GraphBuilder, value: ir.Value, known: ir.Value) -> ir.Value | None:
    """Make floats of stored half floats: those of few are stored, others are made of the two bytes of each."""
    halves = _stored(value)
    if halves is None or halves.size <= SMALL:
        return _few_to_floats(builder, value, known)
    if not np.isfinite(halves).all():
        return None
    # Sign, 5 bits of exponent and 2 of fraction are the high byte. 1.5 is 0 01111 10 | 00000000: (1024 + 512 + 0) of
    # units of 2^-10, and the high byte tells both the unit, with its sign, and 1024 + 512.
    units, begun = _tables(builder)
    low, high = (builder.initializer(name, _part(halves, byte)) for byte, name in enumerate(("low", "high")))
    high = _bytes_to_integers(builder, high, high)
    whole = builder.op("Add", [builder.op("Gather", [begun, high]), _bytes_to_floats(builder, low, low)])
    floats = builder.op("Mul", [builder.op("Gather", [units, high]), whole])
    return builder.op("Reshape", [floats, builder.constant(list(halves.shape))])


def _part(halves: np.ndarray, byte: int) -> np.ndarray:
    return np.ascontiguousarray(halves.astype("<f2").reshape(-1).view(np.uint8)[byte::2][None])


def _tables(builder: GraphBuilder) -> tuple[ir.Value, ir.Value]:
    """Return of each high byte the unit of the number, and how many units it stands for, float `[256]` both."""
    exponents = np.arange(32)[:, None]
    units = (2.0 ** (np.maximum(exponents, 1) - 25)).astype(np.float32)
    begun = np.where(exponents > 0, 1024, 0).astype(np.float32)
    signs = np.array([1, -1], np.float32)[:, None, None]

    def table(front: GraphBuilder, op_type: str, *parts: np.ndarray) -> ir.Value:
        total = front.constant(parts[0])
        for part in parts[1:]:
            total = front.op(op_type, [total, front.constant(part)])
        return front.op("Reshape", [total, front.constant([-1])])

    # [32, 1], [2, 1, 1] and [4] -> [2, 32, 4], in the order of the bits.
    fractions = 256 * np.arange(4, dtype=np.float32)
    return (
        builder.once("units", lambda front: table(front, "Mul", units, signs, np.ones(4, np.float32))),
        builder.once("begun", lambda front: table(front, "Add", begun, 0 * signs, fractions)),
    )


_REPLACEMENTS: Mapping[tuple[ir.DataType | None, ir.DataType], _Replacement] = {
    (ir.DataType.UINT8, ir.DataType.INT32): _bytes_to_integers,
    (ir.DataType.UINT8, ir.DataType.FLOAT): _bytes_to_floats,
    (ir.DataType.INT8, ir.DataType.FLOAT): _few_to_floats,
    (ir.DataType.INT32, ir.DataType.BOOL): _is_not_zero,
    (ir.DataType.INT64, ir.DataType.INT32): _sizes,
    (ir.DataType.BOOL, ir.DataType.FLOAT): _choice(np.float32),
    (ir.DataType.BOOL, ir.DataType.INT32): _choice(np.int32),
    (ir.DataType.FLOAT16, ir.DataType.FLOAT): _halves_to_floats,
}
