"""The arithmetic that native kernels shall use, as an attribute of the nodes that leave a choice."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, operators
from dtc.graph.walk import all_graphs


def set_accuracy_level(model: ir.Model, level: int) -> None:
    """Write attribute `accuracy_level` of every `dtc` operator that has one; portable bodies are exact at any level."""
    for graph in all_graphs(model):
        for node in graph:
            known = operators().get(node.op_type) if node.domain == DOMAIN else None  # the model may have its own
            if known is not None and "accuracy_level" in known.attributes:
                node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", level)
