"""Removing nodes and initializers that nothing reads, in subgraphs too."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


class RemoveUnusedPass(ir.passes.InPlacePass):
    """onnx-ir's RemoveUnusedNodesPass, which leaves the initializers of subgraphs, and those as well."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Remove them."""
        modified = RemoveUnusedNodesPass()(model).modified
        for graph in model.graph.subgraphs():
            for name, value in list(graph.initializers.items()):
                if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                    del graph.initializers[name]
                    modified = True
        return ir.passes.PassResult(model, modified=modified)
