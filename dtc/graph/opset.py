"""The default operator set of a model: its version, and raising it where new nodes are younger than the model."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_ir as ir

from dtc.errors import ModelError
from dtc.graph.walk import all_graphs

CONVERTIBLE_BYTES = 1_900_000_000
"""The converter takes one protobuf message, which cannot hold more than 2 GiB."""


def opset_of(model: ir.Model) -> int:
    """Return the version of the default operator set; 1 where a model names none."""
    return model.opset_imports.get("", 1) or 1


def require_opset(model: ir.Model, version: int, needed_by: str = "its compressed form") -> bool:
    """Raise the default domain of `model` to opset `version`, in place; return whether it was older.

    Then `model.graph` is another object: sites that were found before have to be found again. Initializers keep
    their names and tensors (external ones stay where they are).

    Args:
        model: Of any opset.
        version: The oldest opset that will do.
        needed_by: What cannot do with less, for the message.

    Raises:
        ModelError: The converter cannot convert this model.
    """
    own = opset_of(model)
    if own >= version:
        return False
    tensors = {name: value.const_value for graph in all_graphs(model) for name, value in graph.initializers.items()}
    if sum(tensor.nbytes for tensor in tensors.values() if tensor is not None) > CONVERTIBLE_BYTES:
        raise ModelError(
            f"the model of opset {own} is too large to be converted; export it at opset {version} or later"
        )
    try:
        converted = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), version))
    except Exception as error:  # the converter raises whatever its C++ half throws
        reason = str(error).strip().split("\n")[0][:160]
        raise ModelError(
            f"the model of opset {own} cannot be converted to opset {version}, which {needed_by} needs "
            f"({reason}); export it at opset {version} or later"
        ) from error
    # The converter returns copies of the tensors. The originals take their places again, external ones on disk
    # included; an initializer that the converter added keeps what it has.
    for graph in all_graphs(converted):
        for name, value in graph.initializers.items():
            value.const_value = tensors.get(name, value.const_value)
    model.graph = converted.graph
    model.opset_imports[""] = version
    return True
