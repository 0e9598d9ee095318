"""The default operator set of a model: its nodes mean what this version says, and so do the nodes that are added."""

from __future__ import annotations

import onnx_ir as ir


def opset_of(model: ir.Model) -> int:
    """Return the version of the default operator set; 1 where a model names none."""
    return model.opset_imports.get("", 1) or 1


def too_old(opset: int, needed: int) -> str | None:
    """Return in words that a model's operator set is older than what is needed, and the mend; None if it is not."""
    if opset >= needed:
        return None
    return f"needs opset {needed}, the model has {opset}; export it at opset {needed} or later"
