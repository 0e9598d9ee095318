"""Slices that run backwards: SliceGrad of the training build fails on negative steps over the last axis."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph.builder import Shared, replace_node


def expand_reversals(model: ir.Model, shared: Shared) -> None:
    """Rewrite a Slice with a negative step as a Gather for each axis: the positions are sliced, not the data."""
    for node in list(model.graph):
        if node.op_type == "Slice" and node.domain == "" and _runs_backwards(node):
            _expand(node, shared)


def _runs_backwards(node: ir.Node) -> bool:
    steps, axes = _constant(node, 4), _constant(node, 3)
    known = steps is not None and (axes is not None or node.inputs[3] is None)
    return known and any(step < 0 for step in steps or ())


def _expand(node: ir.Node, shared: Shared) -> None:
    data, starts, ends, _, steps = node.inputs
    build = shared.builder(str(node.name))
    count = len(_constant(node, 4) or ())
    parts = [build.split_evenly(value, count, 0) for value in (starts, ends, steps) if value is not None]
    result = data
    # x of 5 samples with start -1, end far below, step -1: positions [0, 1, 2, 3, 4] become [4, 3, 2, 1, 0], and Gather
    # takes the data by them. Positions are integers, which nobody differentiates.
    for axis, start, end, step in zip(_constant(node, 3) or range(count), *parts, strict=True):
        size = build.op("Gather", [build.op("Shape", [data]), build.constant(axis)])
        positions = build.op("Range", [build.constant(0), size, build.constant(1)])
        chosen = build.op("Slice", [positions, start, end, build.constant([0]), step])
        result = build.op("Gather", [result, chosen], axis=axis)
    assert result is not None
    replace_node(node, build, {node.outputs[0]: result})


def _constant(node: ir.Node, index: int) -> list[int] | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    tensor = None if value is None else value.const_value
    return None if tensor is None else [int(number) for number in tensor.numpy()]
