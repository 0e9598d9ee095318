"""Statistics of every BatchNormalization in initializers that nothing else reads."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph import source_of
from dtc.graph.builder import Names, add_initializer

STATISTICS = (3, 4)
"""The inputs of BatchNormalization that are measured and not trained: mean and variance."""


class OwnStatisticsPass(ir.passes.InPlacePass):
    """Give a BatchNormalization of the main graph its own mean and variance where it shares them.

    Exporters that look for equal initializers make one of the zeros and ones that fresh models are full of; two nodes
    that were called from one module share theirs as well, and see different values all the same.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Copy what is shared."""
        names, modified = Names(model), False
        for node in model.graph:
            if node.op_type != "BatchNormalization" or node.domain != "":
                continue
            for index in STATISTICS:
                source = source_of(node.inputs[index])
                if source is None or not source.is_initializer() or source.graph is not model.graph:
                    continue
                # Its own already: read directly, by this input alone.
                if source is node.inputs[index] and len(source.uses()) == 1 and not source.is_graph_output():
                    continue
                node.replace_input_with(index, _copy(model.graph, source, names))
                modified = True
        return ir.passes.PassResult(model, modified=modified)


def _copy(graph: ir.Graph, source: ir.Value, names: Names) -> ir.Value:
    stored = source.const_value
    assert stored is not None
    return add_initializer(graph, names.unique(f"{source.name}.own"), ir.tensor(stored.numpy(), dtype=stored.dtype))
