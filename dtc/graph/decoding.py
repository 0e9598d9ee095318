"""Nodes that decode a weight from integers before any input is read: what a compressed or quantized file holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from dtc.graph.walk import all_graphs, all_nodes

_PLAIN = frozenset(
    {"DequantizeLinear", "Cast", "Sub", "Mul", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze"}
)
"""Operators of plain dequantization, `(q - zero) * scale`; decoders of dtc have others, such as Gather, as well."""


@dataclass(frozen=True, eq=False)
class Decoder:
    """Nodes that hang together and make weights of constants alone.

    Attributes:
        nodes: In the order in which they run.
        readers: The nodes that read what is made, and whose other inputs are not constant.
    """

    nodes: tuple[ir.Node, ...]
    readers: tuple[ir.Node, ...]

    @property
    def is_plain(self) -> bool:
        """True for a dequantization as other tools write it."""
        return all(node.domain == "" and node.op_type in _PLAIN for node in self.nodes)

    @property
    def constants(self) -> tuple[ir.Value, ...]:
        """The constants that are read, each once."""
        read = (value for node in self.nodes for value in node.inputs if value is not None)
        return tuple(dict.fromkeys(value for value in read if value.is_initializer()))


def find_decoders(model: ir.Model) -> list[Decoder]:
    """Return the decoders of a model: each reads integers of at most 16 bits, as indices of a Gather are not."""
    constant = _constant_nodes(model)
    return [
        Decoder(tuple(nodes), tuple(dict.fromkeys(_readers(nodes, constant))))
        for nodes in _connected(constant)
        if any(value is not None and is_coded(value) for node in nodes for value in node.inputs)
    ]


def decoding_nodes(model: ir.Model) -> set[ir.Node]:
    """Return the nodes that decode weights: those of decoders, and look-ups of coefficients beside those of codes."""
    lookups = [each for each in all_nodes(model) if each.op_type == "Gather" and each.domain == "" and each.inputs[1:]]
    rows = {node.inputs[1] for node in lookups if decodes_rows(node.inputs[0])}
    found = {node for decoder in find_decoders(model) for node in decoder.nodes}
    return found | {node for node in lookups if node.inputs[1] in rows}


def decodes_rows(table: ir.Value | None) -> bool:
    """True for a table of codes whose rows are decoded as they are looked up, in another way than DequantizeLinear."""
    if table is None or not is_coded(table):
        return False
    readers = {node for node, _ in table.uses()}
    behind = {node.op_type for reader in readers for node, _ in reader.outputs[0].uses()}
    return {node.op_type for node in readers} == {"Gather"} and "DequantizeLinear" not in behind


def _constant_nodes(model: ir.Model) -> dict[ir.Node, None]:
    """Return the nodes whose inputs are constants, or made of constants, in order."""
    known = {
        value for graph in all_graphs(model) for value in graph.initializers.values() if not value.is_graph_input()
    }
    found: dict[ir.Node, None] = {}
    for node in all_nodes(model):
        given = [value for value in node.inputs if value is not None]
        if given and all(value in known for value in given) and not _has_body(node):
            found[node] = None
            known.update(node.outputs)
    return found


def _connected(nodes: Iterable[ir.Node]) -> list[list[ir.Node]]:
    """Group nodes of which one reads what another one writes; constants in common connect none."""
    group_of: dict[ir.Node, list[ir.Node]] = {}
    for node in nodes:
        group = group_of[node] = [node]
        for value in node.inputs:
            other = None if value is None else group_of.get(value.producer())  # type: ignore[arg-type]
            if other is None or other is group:
                continue
            # The smaller group joins the larger one, so that a long chain is not moved at each of its nodes.
            group, smaller = (group, other) if len(group) > len(other) else (other, group)
            group.extend(smaller)
            group_of |= dict.fromkeys(smaller, group)
    return list({id(group): group for group in group_of.values()}.values())


def _readers(nodes: Iterable[ir.Node], constant: dict[ir.Node, None]) -> Iterable[ir.Node]:
    for node in nodes:
        for value in node.outputs:
            yield from (reader for reader, _ in value.uses() if reader not in constant)


def is_coded(value: ir.Value) -> bool:
    """True for an initializer of integers of at most 16 bits."""
    bits = value.dtype.bitwidth if value.dtype is not None and value.dtype.is_integer() else None
    return value.is_initializer() and bits is not None and bits <= 16


def _has_body(node: ir.Node) -> bool:
    return any(each.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for each in node.attributes.values())
