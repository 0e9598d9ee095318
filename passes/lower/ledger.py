"""Bytes of nodes and arrays in a file, counted while lowering puts them into the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx_ir as ir

from dtc.graph import all_graphs

_Contents: TypeAlias = dict[int, tuple[object, int]]

_TENSOR_FIELDS = 6
"""Bytes of a tensor's element type, and of the tags of its name and data."""


@dataclass
class Spent:
    """Growth of the file by a part of lowering: what was added, less what was removed.

    Attributes:
        nbytes: Bytes of nodes, arrays and names.
        initializers: The initializers that it added, by name.
    """

    nbytes: int = 0
    initializers: dict[str, ir.Value] = field(default_factory=dict)


class Ledger:
    """Counts the bytes that a model grows by.

    Args:
        model: What is lowered.
        left_out: Initializers that are not counted: the dense weights, which go.
    """

    def __init__(self, model: ir.Model, left_out: Iterable[ir.Value]) -> None:
        self._model = model
        self._left_out = set(left_out)
        self._seen = self._contents({})
        self.common = 0
        """Bytes that were added outside of every `spending`: tables and functions that several sites need."""

    def leave_out(self, *values: ir.Value) -> None:
        """Do not count initializers that stand in the graph for a while only: they will be lowered in turn."""
        self._left_out |= set(values)
        self._seen = {key: entry for key, entry in self._seen.items() if entry[0] not in self._left_out}

    @contextmanager
    def spending(self) -> Iterator[Spent]:
        """Count what the block adds."""
        self.settle()
        spent = Spent()
        yield spent
        added, spent.nbytes = self._step()
        spent.initializers = {str(item.name): item for item in added if isinstance(item, ir.Value)}

    def settle(self) -> None:
        """Count what was added since the last block as common."""
        self.common += self._step()[1]

    def _step(self) -> tuple[list[object], int]:
        """Return the items that are new since the last call, and by how many bytes the file grew."""
        before, self._seen = self._seen, self._contents(self._seen)
        added = [item for key, (item, _) in self._seen.items() if key not in before]
        grown = sum(size for key, (_, size) in self._seen.items() if key not in before)
        return added, grown - sum(size for key, (_, size) in before.items() if key not in self._seen)

    def _contents(self, known: _Contents) -> _Contents:
        """Return all nodes, initializers and functions with their bytes, taken as they were first seen.

        A node that is removed has lost its names: its bytes are those of when it was first seen. Items are held, so
        that no later one can have the identity of one that is gone.
        """
        items: list[object] = [*self._model.functions.values()]
        for graph in all_graphs(self._model):
            items += graph
            items += (value for value in graph.initializers.values() if value not in self._left_out)
        return {id(item): known.get(id(item)) or (item, _nbytes(item)) for item in items}


def _nbytes(item: object) -> int:
    if isinstance(item, ir.Value):
        return array_bytes(item)
    if isinstance(item, ir.Node):
        return _node_bytes(item)
    assert isinstance(item, ir.Function)
    return _framed(int(ir.serde.serialize_function(item).ByteSize()))


def array_bytes(value: ir.Value) -> int:
    """Return the bytes that an initializer takes in a file: its data, its name, its type and its shape."""
    tensor = value.const_value
    assert tensor is not None
    named = len(str(value.name).encode())
    return _framed(tensor.nbytes + named + 2 * len(tensor.shape) + _TENSOR_FIELDS)


def _node_bytes(node: ir.Node) -> int:
    """Return the bytes of a node, and of the types and shapes of its outputs, without the node's subgraphs.

    The nodes of those are counted one by one.
    """
    words = [word for word in (node.name, node.op_type, node.domain) if word]
    names = [(value.name or "") if value is not None else "" for value in (*node.inputs, *node.outputs)]
    nbytes = sum(len(name.encode()) + 2 for name in (*words, *names))
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
            nbytes += _frame_of_graph(attribute.name, attribute.as_graph())
        elif attribute.type not in graphs and not attribute.is_ref():
            nbytes += int(ir.serde.serialize_attribute(attribute).ByteSize()) + 2
    return _framed(nbytes) + sum(_described(value) for value in node.outputs if not value.is_graph_output())


def _frame_of_graph(name: str, graph: ir.Graph) -> int:
    """Return the bytes of a subgraph without its nodes: the attribute, the graph's name, its inputs and outputs."""
    words = sum(len(str(word).encode()) + 2 for word in (name, graph.name or ""))
    return words + 8 + sum(_described(value) for value in (*graph.inputs, *graph.outputs))


def _described(value: ir.Value) -> int:
    """Return the bytes of a value's type and shape in a file."""
    known = value.name and (value.type is not None or value.shape is not None)
    return _framed(int(ir.serde.serialize_value(value).ByteSize())) if known else 0


def _framed(nbytes: int) -> int:
    """Return the bytes of a message with its tag and its length, of which a byte holds seven bits."""
    return nbytes + 1 + max(1, -(-nbytes.bit_length() // 7))
