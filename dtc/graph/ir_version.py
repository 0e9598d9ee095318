"""The lowest IR version that a model can be written in: a runtime refuses a file of a later one than it knows."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from dtc.graph.opset import opset_of
from dtc.graph.walk import all_graphs, all_nodes, all_tensors

PORTABLE_IR_VERSION = 8
"""What ONNX Runtime reads from 1.10 on, and files with functions need."""

_CAME_WITH = ((28, 14), (25, 13), (24, 12), (23, 11), (21, 10), (19, 9))
"""Operator sets, and the IR versions that they were published with: what knows the one knows the other."""

_TYPES = {
    ir.DataType.FLOAT8E4M3FN: 9,
    ir.DataType.FLOAT8E4M3FNUZ: 9,
    ir.DataType.FLOAT8E5M2: 9,
    ir.DataType.FLOAT8E5M2FNUZ: 9,
    ir.DataType.INT4: 10,
    ir.DataType.UINT4: 10,
    ir.DataType.FLOAT4E2M1: 11,
    ir.DataType.FLOAT8E8M0: 12,
    ir.DataType.INT2: 13,
    ir.DataType.UINT2: 13,
}
"""Element types by the version that brought them, after those that there were before functions."""


def lowest_ir_version(model: ir.Model) -> int:
    """Return the model's own version where that is an old one, else the lowest that its content and opset need."""
    came_with = next((version for opset, version in _CAME_WITH if opset_of(model) >= opset), PORTABLE_IR_VERSION)
    return max(min(model.ir_version, came_with), *_needed(model))


def _needed(model: ir.Model) -> Iterator[int]:
    """Yield a version for each thing in a model that came with one."""
    yield 3
    if any(not value.is_graph_input() for value in model.graph.initializers.values()):
        yield 4  # before, an initializer was the default of an input
    for function in model.functions.values():
        has_defaults = any(attribute.value is not None for attribute in function.attributes.values())
        yield 10 if function.overload else 9 if has_defaults else 8
    yield from (_TYPES.get(tensor.dtype, 0) for tensor in all_tensors(model))
    yield from (_of_value(value) for value in _values(model))
    metadata = [node.metadata_props for node in all_nodes(model)]
    metadata += [value.metadata_props for value in _values(model)]
    metadata += [graph.metadata_props for graph in all_graphs(model)]
    metadata += [function.metadata_props for function in model.functions.values()]
    if any(metadata):
        yield 10


def _of_value(value: ir.Value) -> int:
    optional = isinstance(value.type, ir.OptionalType)
    return max(8 if optional else 0, 0 if value.dtype is None else _TYPES.get(value.dtype, 0))


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in all_graphs(model):
        yield from (*graph.inputs, *graph.initializers.values())
        for node in graph:
            yield from node.outputs
