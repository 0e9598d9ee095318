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


def remove_with_bodies(node: ir.Node) -> None:
    """Remove a node that nothing reads from its graph: what its bodies read of outer graphs is read by them no more."""
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH and not attribute.is_ref():
            for inner in attribute.as_graph().all_nodes():
                for index in range(len(inner.inputs)):
                    inner.replace_input_with(index, None)
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def _clean(graph: ir.Graph) -> bool:
    modified = False
    # Backwards, and bodies before the nodes in front of them: what only an unused node reads is unused too.
    for node in reversed(list(graph)):
        if not any(map(_is_read, node.outputs)):
            remove_with_bodies(node)
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
