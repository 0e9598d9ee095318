"""Removing nodes and initializers that nothing reads, in subgraphs too."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


class RemoveUnusedPass(ir.passes.InPlacePass):
    """Remove unused nodes as onnx-ir's RemoveUnusedNodesPass does, and unused initializers of subgraphs too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Remove nodes and initializers that nothing reads."""
        modified = RemoveUnusedNodesPass()(model).modified
        for graph in model.graph.subgraphs():
            for name, value in list(graph.initializers.items()):
                if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                    del graph.initializers[name]
                    modified = True
        return ir.passes.PassResult(model, modified=modified)
