"""Bringing a model to an operator set that the training build reads; `proof` says whether it computes the same then."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_ir as ir

from dtc.errors import EngineError
from dtc.graph import all_graphs, all_nodes
from dtc.graph.opset import opset_of

OLDEST_OPSET = 13
NEWEST_OPSET = 21

CONVERTIBLE_BYTES = 1_900_000_000
"""The converter takes one protobuf message, which cannot hold more than 2 GiB."""


def must_convert(model: ir.Model) -> bool:
    """Return whether the nodes of a model are rewritten by `convert`, and may mean something else then."""
    return opset_of(model) < OLDEST_OPSET


def convert(model: ir.Model) -> None:
    """Bring a model to an opset from 13 to 21, in place; one that lies there stays as it is.

    Initializers keep their names and tensors (external ones stay where they are).

    Raises:
        EngineError: A node needs a newer opset, or the converter cannot convert this model.
    """
    if opset_of(model) > NEWEST_OPSET:
        _relabel(model)
    elif must_convert(model):
        _raise(model)


def _raise(model: ir.Model) -> None:
    own = opset_of(model)
    tensors = {name: value.const_value for graph in all_graphs(model) for name, value in graph.initializers.items()}
    if sum(tensor.nbytes for tensor in tensors.values() if tensor is not None) > CONVERTIBLE_BYTES:
        raise EngineError(
            f"the model of opset {own} is too large to be converted; export it at opset {OLDEST_OPSET} or later"
        )
    try:
        converted = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), OLDEST_OPSET))
    except Exception as error:  # the converter raises whatever its C++ half throws
        reason = str(error).strip().split("\n")[0][:160]
        raise EngineError(
            f"the model of opset {own} cannot be converted to opset {OLDEST_OPSET}, which the ort engine needs "
            f"({reason}); export it at opset {OLDEST_OPSET} or later"
        ) from error
    # The converter returns copies of the tensors. The originals take their places again, external ones on disk
    # included; an initializer that the converter added keeps what it has.
    for graph in all_graphs(converted):
        for name, value in graph.initializers.items():
            value.const_value = tensors.get(name, value.const_value)
    model.graph = converted.graph
    model.opset_imports[""] = OLDEST_OPSET


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
