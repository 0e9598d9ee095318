"""What integers a model takes: rows of tables, lengths of sequences; told by the nodes that read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import onnx_ir as ir

from dtc.graph.signature import TensorSpec, input_specs
from dtc.graph.walk import all_nodes
from dtc.sample_inputs.shapes import Shapes

Steps: TypeAlias = tuple[str, int] | int
"""The number of steps of a sequence, or the input and the axis that tell it."""

_SAME_NUMBERS = frozenset(
    {"Identity", "Dropout", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice", "Expand"}
)


def integer_range(
    spec: TensorSpec,
    shapes: Shapes,
    tables: Mapping[str, int],
    lengths: Mapping[str, Steps],
) -> tuple[int, int]:
    """Return the half-open range of an integer input."""
    if spec.name in lengths:
        steps = lengths[spec.name]
        longest = steps if isinstance(steps, int) else shapes.get(steps[0], (1,))[steps[1]]
        return 1, max(2, longest + 1)
    return 0, tables.get(spec.name, 2)


def table_rows(model: ir.Model) -> dict[str, int]:
    """Return for each integer input the number of rows of the smallest table that it indexes."""
    found: dict[str, int] = {}
    for node in all_nodes(model):
        if node.domain != "" or node.op_type != "Gather" or len(node.inputs) < 2:
            continue
        source, table = graph_input(node.inputs[1]), node.inputs[0]
        if source is None or table is None or table.shape is None:
            continue
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
        rows = table.shape[axis]
        if isinstance(rows, int) and rows > 0:
            found[source] = min(rows, found.get(source, rows))
    return found


def sequence_lengths(model: ir.Model) -> dict[str, Steps]:
    """Return for each input of sequence lengths the number of steps, or the input and axis that tell it."""
    inputs = {spec.name: spec for spec in input_specs(model)}
    found: dict[str, Steps] = {}
    for node in all_nodes(model):
        if node.domain != "" or node.op_type not in {"LSTM", "GRU", "RNN"} or len(node.inputs) < 5:
            continue
        source, x = graph_input(node.inputs[4]), node.inputs[0]
        if source is None or source in found:
            continue
        steps = x.shape[0] if x is not None and x.shape is not None else 1
        places = [
            (spec.name, spec.shape.index(steps.value))
            for spec in inputs.values()
            if isinstance(steps, ir.SymbolicDim) and steps.value in spec.shape
        ]
        found[source] = steps if isinstance(steps, int) else places[0] if places else 1
    return found


def graph_input(value: ir.Value | None) -> str | None:
    """Follow integers upstream through operators that only move them."""
    while value is not None and not value.is_graph_input():
        node = value.producer()
        if node is None or node.domain != "" or node.op_type not in _SAME_NUMBERS:
            return None
        value = node.inputs[0]
    return None if value is None else value.name
