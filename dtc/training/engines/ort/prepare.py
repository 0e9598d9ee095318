"""Bringing a model into the shape from which both the training and the evaluation graph are derived."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    NameFixPass,
    RemoveInitializersFromInputsPass,
)

from dtc.graph.inference import infer_shapes
from dtc.training.engines.ort.conversion import convert
from dtc.training.engines.ort.dead_nodes import remove_dead_nodes
from dtc.training.selection import refuse_half

IR_VERSION = 10


def prepare(model: ir.Model) -> ir.Model:
    """Return a named copy of `model` that the training build reads (opset 13 to 21, IR 10); data is shared.

    Raises:
        EngineError: A node needs a newer opset, or the model holds float16 weights.
    """
    # 1. A clone without the old habit of initializers among the inputs, in an opset that the training build reads.
    refuse_half(model, "ort")
    copy = model.clone()
    RemoveInitializersFromInputsPass()(copy)
    copy.ir_version = IR_VERSION
    convert(copy)
    # The converter raises it, and the training build reads no newer one.
    copy.ir_version = IR_VERSION
    # 2. What later steps look for: constants as initializers, a name for every node and value, all outputs that
    #    gradients read.
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(copy)
    NameFixPass()(copy)
    _declare_layer_norm_statistics(copy)
    # Shapes of initializers are what shape inference starts from.
    for value in copy.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None:
            value.dtype, value.shape = tensor.dtype, ir.Shape(tensor.shape.numpy())
    remove_dead_nodes(copy.graph)
    infer_shapes(copy)
    # 3. A rank that was declared may tell shapes behind it, so shapes are inferred once more.
    if _declare_ranks(copy):
        infer_shapes(copy)
    return copy


def _declare_ranks(model: ir.Model) -> bool:
    """Declare that the input of a convolution has the rank of its weight; return True if a rank was unknown.

    Behind an If whose branches differ in rank nothing is inferred, and gradients of broadcasts come out wrong.
    """
    unknown = [
        node
        for node in model.graph
        if node.op_type in ("Conv", "ConvTranspose")
        and node.domain == ""
        and node.inputs[0] is not None
        and node.inputs[0].shape is None
        and node.inputs[1] is not None
        and node.inputs[1].shape is not None
    ]
    for node in unknown:
        data, weight = node.inputs[:2]
        assert data is not None
        assert weight is not None
        assert weight.shape is not None
        data.shape = ir.Shape([None] * len(weight.shape))
    return bool(unknown)


def _declare_layer_norm_statistics(model: ir.Model) -> None:
    """Declare the optional outputs Mean and InvStdDev of LayerNormalization, which its gradient reads."""
    for node in model.graph:
        if node.op_type == "LayerNormalization" and node.domain == "" and len(node.outputs) < 3:
            node.resize_outputs(3)
            for output, suffix in zip(node.outputs[1:], ("mean", "inv_std_dev"), strict=True):
                output.name = output.name or f"{node.name}_{suffix}"
