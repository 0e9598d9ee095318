"""Removing nodes that nothing reads."""

from __future__ import annotations

import onnx_ir as ir


def remove_dead_nodes(graph: ir.Graph) -> None:
    """Remove nodes whose outputs are all unused, and unused initializers.

    Optional outputs of live nodes stay: the gradients of LayerNormalization and of the cross-entropy read them.
    """
    # Backwards, so that a node goes after those that read it: a chain of dead nodes is gone after one pass.
    for node in reversed(list(graph)):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
