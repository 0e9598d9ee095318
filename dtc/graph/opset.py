"""The default operator set of a model: its nodes mean what this version says, and so do the nodes that are added."""

from __future__ import annotations

import onnx_ir as ir


def opset_of(model: ir.Model) -> int:
    """Return the version of the default operator set; 1 where a model names none."""
    return model.opset_imports.get("", 1) or 1


def drop_unused_imports(model: ir.Model) -> None:
    """Import no operator set but the default one and those of which there is a node, in a function perhaps."""
    nodes = (*model.graph.all_nodes(), *(node for each in model.functions.values() for node in each.all_nodes()))
    used = {"", *(node.domain for node in nodes)}
    for domain in model.opset_imports.keys() - used:
        del model.opset_imports[domain]


def too_old(opset: int, needed: int) -> str | None:
    """Return in words that a model's operator set is older than what is needed, and the mend; None if it is not."""
    if opset >= needed:
        return None
    return f"needs opset {needed}, the model has {opset}; export it at opset {needed} or later"
