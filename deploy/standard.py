"""Models for targets that have no native kernels: standard operators in the place of those of dtc."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedOpsetsPass

from dtc.deploy.ops import DOMAIN, operators
from dtc.graph import all_nodes
from dtc.passes.lower.inlining import inline_operators


def put_functions_in_place(model: ir.Model) -> list[str]:
    """Put the nodes of each operator's function in its place, in the model; return what to say of it, in sentences."""
    own = sum(node.domain == DOMAIN and node.op_type in operators() for node in all_nodes(model))
    if not own:
        return []
    inline_operators(model)
    RemoveUnusedOpsetsPass()(model)
    told = f"Nodes stand in the place of {own} operators of dtc, whose native kernels the target does not take"
    return [f"{told}; try a file of dtc compress --lower standard, which is made for such targets, beside it."]
