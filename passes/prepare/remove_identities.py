"""Removing Dropout and Identity from a model that will only be run."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph import all_nodes
from dtc.graph.walk import PASS_THROUGH


class RemoveIdentitiesPass(ir.passes.InPlacePass):
    """Connect the readers of a Dropout or Identity to what it repeats.

    onnx-ir's IdentityEliminationPass is not used: it makes the output of an `If` branch a value of the outer graph
    where the branch only repeats one. A Dropout whose mask is read stays, as does a node between a graph's input,
    or a value of an outer graph, and a graph's output.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Remove every Dropout and Identity that can go."""
        removed = [node for node in list(all_nodes(model)) if _skip(node)]
        return ir.passes.PassResult(model, modified=bool(removed))


def _skip(node: ir.Node) -> bool:
    """Connect the readers of a node to what it repeats, and remove it; return whether that was possible."""
    if node.domain != "" or node.op_type not in PASS_THROUGH or not node.inputs or node.graph is None:
        return False
    source, repeated = node.inputs[0], node.outputs[0]
    # 1. A mask that is read says which elements a Dropout dropped: the node stays.
    if source is None or any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
        return False
    # 2. The node writes an output of its graph. The source takes over that output and its name, if it can.
    if repeated.is_graph_output():
        producer = source.producer()
        # It cannot as an input, an initializer, a value of an outer graph, or an output under another name.
        if producer is None or producer.graph is not node.graph or source.is_graph_output():
            return False
        name = repeated.name
        repeated.replace_all_uses_with(source, replace_graph_outputs=True)
        repeated.name = None
        source.name = name
    else:
        # 3. All else: readers read the source.
        repeated.replace_all_uses_with(source)
    # What the graph said of the type and shape of either value goes on to hold.
    if source.shape is None:
        source.shape = repeated.shape
    if source.type is None:
        source.type = repeated.type
    node.graph.remove(node, safe=True)
    return True
