"""Bringing a model into the shape from which both the training and the evaluation graph are derived."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    NameFixPass,
    RemoveInitializersFromInputsPass,
    ShapeInferencePass,
)

from dtc.errors import EngineError, ModelError
from dtc.graph import all_nodes
from dtc.graph.opset import opset_of, require_opset
from dtc.training.engines.ort.dead_nodes import remove_dead_nodes

OLDEST_OPSET = 13
NEWEST_OPSET = 21
IR_VERSION = 10


def prepare(model: ir.Model) -> ir.Model:
    """Return a named copy of `model` that the training build reads (opset 13 to 21, IR 10); data is shared.

    Raises:
        EngineError: A node needs a newer opset, or the model holds float16 weights.
    """
    # 1. A clone without the old habit of initializers among the inputs, in an opset that the training build reads.
    _refuse_half(model)
    copy = model.clone()
    RemoveInitializersFromInputsPass()(copy)
    copy.ir_version = IR_VERSION
    _convert(copy)
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
    _infer_shapes(copy)
    # 3. A rank that was declared may tell shapes behind it, so shapes are inferred once more.
    if _declare_ranks(copy):
        _infer_shapes(copy)
    return copy


def _infer_shapes(model: ir.Model) -> None:
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)


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


def _refuse_half(model: ir.Model) -> None:
    for value in model.graph.initializers.values():
        if value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16) and value.uses():
            raise EngineError(
                f"initializer {value.name!r} is {value.dtype.name.lower()}: the ort engine trains float32 models; "
                "retrain the float32 model and convert the result"
            )


def _convert(model: ir.Model) -> None:
    """Bring the model to an opset that the training build reads, in place."""
    if opset_of(model) > NEWEST_OPSET:
        _relabel(model)
        return
    try:
        require_opset(model, OLDEST_OPSET, needed_by="the ort engine")
    except ModelError as error:
        raise EngineError(str(error)) from error


def _relabel(model: ir.Model) -> None:
    """Label the model as opset 21, in place: operators that did not change since then mean the same."""
    opset = opset_of(model)
    for node in all_nodes(model):
        if node.domain:
            continue
        # A MatMul in a model of opset 23 is that of opset 13 still: only the label changes. An operator that did change
        # is let through where `_as_before` finds that nothing it uses is new.
        schema = onnx.defs.get_schema(node.op_type, opset, "")
        if schema.since_version > NEWEST_OPSET:
            _as_before(node, schema.since_version)
    model.opset_imports[""] = NEWEST_OPSET


# Revisions after opset 21 that only added types or attributes with defaults; the attributes they added.
_ONLY_WIDENED = {
    "Cast": {"round_mode"},
    "CastLike": {"round_mode"},
    "QuantizeLinear": {"precision"},
    "DequantizeLinear": {"output_dtype"},
}


def _as_before(node: ir.Node, since: int) -> None:
    now = onnx.defs.get_schema(node.op_type, since, "")
    try:
        before = onnx.defs.get_schema(node.op_type, NEWEST_OPSET, "")
    except onnx.defs.SchemaError:
        before = None
    added = _ONLY_WIDENED.get(node.op_type, set())
    # Three ways to be new: the operator itself, an attribute that it uses, an input. What is left was only widened in
    # types.
    if before is None or set(node.attributes) - set(before.attributes) - added or len(now.inputs) != len(before.inputs):
        raise EngineError(
            f"node {node.name or node.op_type!r}: {node.op_type} of opset {since} cannot be trained "
            f"(the ort engine reads opset {NEWEST_OPSET}); export the model with opset {NEWEST_OPSET}"
        )
    for name in set(node.attributes) - set(before.attributes):
        del node.attributes[name]


def _declare_layer_norm_statistics(model: ir.Model) -> None:
    """Declare the optional outputs Mean and InvStdDev of LayerNormalization, which its gradient reads."""
    for node in model.graph:
        if node.op_type == "LayerNormalization" and node.domain == "" and len(node.outputs) < 3:
            node.resize_outputs(3)
            for output, suffix in zip(node.outputs[1:], ("mean", "inv_std_dev"), strict=True):
                output.name = output.name or f"{node.name}_{suffix}"
