"""Removing nodes and initializers that nothing reads, in subgraphs too."""

from __future__ import annotations

import onnx_ir as ir


class RemoveUnusedPass(ir.passes.InPlacePass):
    """Remove nodes of which no output is read, and initializers that nothing reads.

    Nodes that stay keep all of their outputs: onnx-ir's own pass takes the name of an output away that nothing reads,
    and MNN does not take an LSTM without its first one.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Remove nodes and initializers that nothing reads."""
        modified = _clean(model.graph)
        for function in model.functions.values():
            modified |= _clean(function.graph)
        return ir.passes.PassResult(model, modified=modified)


def _clean(graph: ir.Graph) -> bool:
    modified = False
    # Backwards, and bodies before the nodes in front of them: what only an unused node reads is unused too.
    for node in reversed(list(graph)):
        if not any(map(_is_read, node.outputs)):
            graph.remove(node, safe=True)
            modified = True
            continue
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.GRAPH:
                modified |= _clean(attribute.as_graph())
    for name, value in list(graph.initializers.items()):
        if not (_is_read(value) or value.is_graph_input()):
            del graph.initializers[name]
            modified = True
    return modified


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
