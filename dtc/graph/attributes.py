"""Attributes of nodes, checked when a model is read: whoever asks for one later gets what the operator declares."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx
import onnx_ir as ir

from dtc.errors import ModelError
from dtc.graph.opset import opset_of
from dtc.graph.walk import all_nodes


def check_attributes(model: ir.Model, path: Path) -> None:
    """Stop at an attribute of another type than its operator declares, or that is of a function around its node.

    ONNX Runtime refuses such a model, too. Operators of other domains are not known here.

    Raises:
        ModelError: There is one; names file, node and attribute.
    """
    version = opset_of(model)
    for node in all_nodes(model):
        for attribute in node.attributes.values():
            what = f"{path}: node {node.name or node.op_type!r}: attribute {attribute.name!r}"
            if attribute.is_ref():
                raise ModelError(f"{what} refers to one of a function, and the node is in none; the file is damaged")
            wanted = _declared(node.op_type, version).get(attribute.name) if node.domain in ("", "ai.onnx") else None
            if wanted is not None and wanted is not attribute.type:
                kinds = f"is {attribute.type.name}, {node.op_type} needs {wanted.name}"
                raise ModelError(f"{what} {kinds}; the file is damaged")


@cache
def _declared(op_type: str, version: int) -> dict[str, ir.AttributeType]:
    """Return the types of an operator's attributes by name; none of an operator that there is not."""
    try:
        schema = onnx.defs.get_schema(op_type, version, "")
    except (onnx.defs.SchemaError, TypeError):  # a version beyond an int has none either
        return {}
    # Both packages name the types as the format does: AttrType.INTS, AttributeType.INTS.
    kinds = {name: str(attribute.type).rpartition(".")[2] for name, attribute in schema.attributes.items()}
    return {name: ir.AttributeType[kind] for name, kind in kinds.items()}
