"""Slices that run backwards: SliceGrad of the training build fails on negative steps over the last axis."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.training.engines.ort.trainable.builder import Builder


def expand_reversals(model: ir.Model, opset: int) -> None:
    """Rewrite a Slice with a negative step as a Gather for each axis: the positions are sliced, not the data."""
    for node in list(model.graph):
        if node.op_type == "Slice" and node.domain == "" and _runs_backwards(node):
            _expand(node, opset)


def _runs_backwards(node: ir.Node) -> bool:
    steps, axes = _constant(node, 4), _constant(node, 3)
    known = steps is not None and (axes is not None or node.inputs[3] is None)
    return known and any(step < 0 for step in steps or ())


def _expand(node: ir.Node, opset: int) -> None:
    data, starts, ends, _, steps = node.inputs
    build = Builder(node, opset)
    count = len(_constant(node, 4) or ())
    parts = [build.split(value, count, 0) for value in (starts, ends, steps) if value is not None]
    result = data
    for axis, start, end, step in zip(_constant(node, 3) or range(count), *parts, strict=True):
        size = build.op("Gather", build.op("Shape", data), build.constant(np.array(axis, np.int64)))
        zero, one = (build.constant(np.array(number, np.int64)) for number in (0, 1))
        positions = build.op("Range", zero, size, one)
        chosen = build.op("Slice", positions, start, end, build.integers(0), step)
        result = build.op("Gather", result, chosen, axis=axis)
    assert result is not None
    build.finish({node.outputs[0]: result})


def _constant(node: ir.Node, index: int) -> list[int] | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    tensor = None if value is None else value.const_value
    return None if tensor is None else [int(number) for number in tensor.numpy()]
