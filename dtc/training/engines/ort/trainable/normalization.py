"""BatchNormalization by the moments of the batch, as in training, or by frozen statistics."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from dtc.graph.builder import Shared, replace_node

_MICROSOFT = "com.microsoft"


def expand_batch_norms(model: ir.Model, shared: Shared, by_batch: Collection[str]) -> None:
    """Rewrite every BatchNormalization: those called in `by_batch` normalise with the moments of their batch.

    The others are y = (x - mean) / sqrt(var + eps) * scale + bias with mean and variance as they are.
    """
    for node in list(model.graph):
        if node.op_type != "BatchNormalization" or node.domain != "":
            continue
        if node.name in by_batch:
            _normalise_by_batch(node)
            model.opset_imports[_MICROSOFT] = 1
        else:
            _expand(node, shared)


def _normalise_by_batch(node: ir.Node) -> None:
    """Turn a node into BatchNormInternal, which has a gradient in the training build; BatchNormalization has none.

    Its outputs of running statistics are not used.
    """
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    node.op_type, node.domain = "BatchNormInternal", _MICROSOFT
    node.attributes.clear()
    node.attributes["epsilon"] = ir.AttrFloat32("epsilon", 1e-5 if epsilon is None else epsilon)
    node.attributes["training_mode"] = ir.AttrInt64("training_mode", 1)
    # The gradient reads the last two outputs, moments of this batch; the ones before them have to be there.
    node.resize_outputs(5)
    scale = node.inputs[1]
    assert scale is not None
    for output, suffix in zip(
        node.outputs[1:], ("running_mean", "running_var", "batch_mean", "inv_std_dev"), strict=True
    ):
        output.name = f"{node.name}::{suffix}"
        output.type, output.shape = ir.TensorType(ir.DataType.FLOAT), scale.shape


def _expand(node: ir.Node, shared: Shared) -> None:
    data, scale, bias, mean, variance = node.inputs[:5]
    assert data is not None
    rank = 4 if data.shape is None else len(data.shape)
    build = shared.builder(str(node.name))
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    # y = x factor + shift with factor = scale / sqrt(var + eps) and shift = bias - mean factor, `[C]` each: two
    # operations on the data instead of four.
    bounded = build.op("Add", [variance, build.constant(1e-5 if epsilon is None else epsilon)])
    deviation = build.op("Sqrt", [bounded])
    factor = build.op("Div", [scale, deviation])
    shift = build.op("Sub", [bias, build.op("Mul", [mean, factor])])
    # For x [N, C, H, W] they are read as [C, 1, 1], for x [N, C] as [1, C].
    shape = build.constant([-1, *[1] * (rank - 2)] if rank > 2 else [1, -1])
    scaled = build.op("Mul", [data, build.op("Reshape", [factor, shape])])
    result = build.op("Add", [scaled, build.op("Reshape", [shift, shape])])
    replace_node(node, build, {node.outputs[0]: result})
