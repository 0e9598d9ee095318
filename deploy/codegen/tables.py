"""Tables of which a model looks rows up: decoded as a whole, for a form of the kernels that gives single rows again."""

from __future__ import annotations

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, operators, require_operator
from dtc.graph import all_nodes
from dtc.graph.builder import Names

_LOOK_UP, _DECODE = "Gather", "Dequantize"


def decode_tables(model: ir.Model) -> None:
    """Put a Gather of the decoded table in the place of each look-up in a compressed one, in place.

    The functions of these operators look rows up while they are packed, so that no constant would be left.
    """
    names = Names(model)
    for node in list(all_nodes(model)):
        decoder = node.op_type.removesuffix(_LOOK_UP) + _DECODE
        if node.domain != DOMAIN or not node.op_type.endswith(_LOOK_UP) or decoder not in operators():
            continue
        require_operator(model, decoder)
        table = ir.node(
            decoder, node.inputs[1:], node.attributes, domain=DOMAIN, name=names.unique(f"{node.name}.table")
        )
        table.outputs[0].name = names.unique(f"{node.outputs[0].name}.table")
        rows = ir.node("Gather", [table.outputs[0], node.inputs[0]], {"axis": 0}, name=node.name)
        old, new = node.outputs[0], rows.outputs[0]
        assert node.graph is not None
        node.graph.insert_after(node, [table, rows])
        new.name, new.type, new.shape = old.name, old.type, old.shape
        old.name = None
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)
