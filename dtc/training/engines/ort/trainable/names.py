"""Names of the nodes that replace a node."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph.builder import Names


class OwnerNames(Names):
    """Names that begin with the node that new ones stand for: `conv1::Gemm7`, its outputs `conv1::Gemm7:0` and so on.

    What the runtime says of a new node, or of its gradient, is so about a node of the user's (`capability`).
    """

    def give(self, node: ir.Node, prefix: str, label: str | None) -> None:
        """Name a node by its owner and its type."""
        node.name = self.numbered(f"{prefix}::{label or node.op_type}")
        for index, value in enumerate(node.outputs):
            value.name = f"{node.name}:{index}"
