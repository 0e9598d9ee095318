"""BatchNormalization with frozen statistics, as the product and sum that it is at inference."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.training.ort.trainable.builder import Builder


def expand_batch_norms(model: ir.Model, opset: int) -> None:
    """Rewrite y = (x - mean) / sqrt(var + eps) * scale + bias; mean and variance stay constants.

    The training build has a gradient for training statistics only.
    """
    for node in list(model.graph):
        if node.op_type == "BatchNormalization" and node.domain == "":
            _expand(node, opset)


def _expand(node: ir.Node, opset: int) -> None:
    data, scale, bias, mean, variance = node.inputs[:5]
    assert data is not None
    rank = 4 if data.shape is None else len(data.shape)
    build = Builder(node, opset)
    epsilon = build.constant(np.array(node.attributes.get_float("epsilon", 1e-5), dtype=np.float32))
    deviation = build.op("Sqrt", build.op("Add", variance, epsilon))
    factor = build.op("Div", scale, deviation)
    shift = build.op("Sub", bias, build.op("Mul", mean, factor))
    shape = build.integers(-1, *[1] * (rank - 2)) if rank > 2 else build.integers(1, -1)
    scaled = build.op("Mul", data, build.op("Reshape", factor, shape))
    build.finish({node.outputs[0]: build.op("Add", scaled, build.op("Reshape", shift, shape))})
