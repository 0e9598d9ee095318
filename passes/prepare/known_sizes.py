"""Sizes that are known before a model runs: constants in the place of the nodes that tell them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx_ir as ir


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Return the sizes of a value where all are known."""
    if value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return value.shape.numpy()


def known_sizes(node: ir.Node) -> npt.NDArray[np.int64] | None:
    """Return what a Shape or Size always gives; None where it depends on a run, and of other nodes."""
    if node.op_type not in ("Shape", "Size") or node.domain not in ("", "ai.onnx"):
        return None
    value = node.inputs[0]
    shape = None if value is None else static_shape(value)
    if shape is None:
        return None
    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    return np.array(shape[node.attributes.get_int("start", 0) : node.attributes.get_int("end", len(shape))], np.int64)
