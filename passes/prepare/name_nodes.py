"""A unique name for every node and value."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass


class _Names:
    """A node without a name is called after what it writes, as that is what a person finds in a viewer."""

    def generate_node_name(self, node: ir.Node) -> str:
        written = node.outputs[0].name if node.outputs else None
        return node.name or f"{node.op_type}_{written or 'node'}"

    def generate_value_name(self, value: ir.Value) -> str:
        return value.name or "value"


class NameNodesPass(NameFixPass):
    """Give a name where one is missing or used twice; a name that is unique stays."""

    def __init__(self) -> None:
        super().__init__(name_generator=_Names())
