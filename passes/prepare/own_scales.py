"""The scale of every quantizer of activations in one initializer."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph import share_scales
from dtc.passes.lower.builder import Names, add_initializer


class OwnScalesPass(ir.passes.InPlacePass):
    """Make constant scales initializers, and equal ones of QuantizeLinear and its DequantizeLinear the same.

    Exporters write a constant for each reader, too small to be lifted with the weights; as two parameters they would
    drift apart in training.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Lift and share the scales of the main graph."""
        names, lifted = Names(model), False
        for node in list(model.graph):
            if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain == "":
                lifted |= _lift(model.graph, node, names)
        return ir.passes.PassResult(model, modified=share_scales(model.graph) or lifted)


def _lift(graph: ir.Graph, node: ir.Node, names: Names) -> bool:
    """Let a node that reads its scale from a Constant read an initializer."""
    scale = node.inputs[1]
    producer = None if scale is None else scale.producer()
    if scale is None or producer is None or producer.op_type != "Constant" or producer.domain != "":
        return False
    tensor = ir.convenience.get_const_tensor(scale)
    if tensor is None or tensor.dtype != ir.DataType.FLOAT:
        return False
    node.replace_input_with(1, add_initializer(graph, names.unique(f"{scale.name}.own"), tensor.numpy()))
    return True
