"""Taking the branch of an `If` that is always taken: its nodes come to stand in the place of the `If`."""

from __future__ import annotations

import onnx_ir as ir

from dtc.passes.prepare.remove_unused import remove_with_bodies


def take_branch(node: ir.Node) -> bool:
    """Put the nodes of the branch that an `If` always takes in its place; return whether there is one."""
    condition = node.inputs[0] if node.op_type == "If" and node.domain == "" else None
    if condition is None or condition.const_value is None or condition.is_graph_input() or node.graph is None:
        return False
    outer = node.graph
    taken = "then_branch" if condition.const_value.numpy().item() else "else_branch"
    branch = node.attributes[taken].as_graph()
    outputs = list(branch.outputs)
    branch.outputs.clear()
    for value in list(branch.initializers.values()):
        _move_initializer(value, branch, outer)
    inner = list(branch)
    branch.remove(inner)
    copies = [ir.node("Identity", [value]) for value in outputs]
    outer.insert_before(node, [*inner, *copies])
    for written, copy in zip(node.outputs, copies, strict=True):
        handed = copy.outputs[0]
        handed.name, handed.type, handed.shape = written.name, written.type, written.shape
        written.replace_all_uses_with(handed, replace_graph_outputs=True)
        written.name = None
    remove_with_bodies(node)
    return True


def _move_initializer(value: ir.Value, branch: ir.Graph, outer: ir.Graph) -> None:
    name = str(value.name)
    del branch.initializers[name]
    if name in outer.initializers:
        value.name = next(free for n in range(2, 10**6) if (free := f"{name}_{n}") not in outer.initializers)
    outer.register_initializer(value)
