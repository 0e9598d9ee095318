"""What each site takes in a file, counted from what lowering put into the graph for it and took away.

Every node and initializer has a maker: a builder that belongs to a site, or a lowering that says whose it is. The graph
is looked at twice, before and after; what is new by then and has no maker is common to all sites.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx_ir as ir

from dtc.graph import Site, all_graphs
from dtc.graph.builder import GraphBuilder
from dtc.graph.sparse import tensor_bytes
from dtc.passes.lower.decode import handed_on

_TENSOR_FIELDS = 6
"""Bytes of a tensor's element type, and of the tags of its name and data."""

Item: TypeAlias = "ir.Node | ir.Value | ir.Function"


@dataclass
class Account:
    """What a site takes.

    Attributes:
        nbytes: Bytes of nodes, arrays and names that lowering added for it, less those of its readers that are gone.
        stored: The initializers among them, by name, and those that it has a part of.
    """

    nbytes: int = 0
    stored: dict[str, ir.Value] = field(default_factory=dict)


class Ledger:
    """Counts what a model grows by, site by site.

    Args:
        model: What is lowered.
        sites: The sites that will be; their dense weights are not counted.
    """

    def __init__(self, model: ir.Model, sites: Iterable[Site]) -> None:
        sites = list(sites)
        self._model = model
        self._dense = {site.value for site in sites}
        self._before = set(self._contents())
        self._builders: list[tuple[str, GraphBuilder]] = []
        self._makers: dict[Item, str] = {}
        self._parts: dict[str, str] = {}
        self._divided: dict[ir.Value, list[tuple[str, int]]] = {}
        # Nodes that may be gone at the end. Their bytes are taken now: a removed node has no names any more.
        self._replaceable = {node: (site.name, _nbytes(node)) for site in sites for node in _nodes_of(site)}

    def watch(self, site: Site, builder: GraphBuilder) -> GraphBuilder:
        """Count what a builder makes for a site; return the builder."""
        self._builders.append((site.name, builder))
        return builder

    def made(self, site: Site, *items: Item) -> None:
        """Count nodes and initializers, which no builder has made, for a site."""
        self._makers |= dict.fromkeys(items, site.name)

    def belongs(self, part: Site, whole: Site) -> None:
        """Count what is made for a term or a factor for the site that it is a part of."""
        self._parts[part.name] = whole.name

    def divide(self, builder: GraphBuilder, shares: Sequence[tuple[Site, int]]) -> None:
        """Count the arrays that a builder has stored for several sites by their shares; its nodes are common to all.

        One site alone has the nodes too.
        """
        if len(shares) == 1:
            self.watch(shares[0][0], builder)
            return
        named = [(site.name, share) for site, share in shares]
        self._divided |= dict.fromkeys(builder.stored, named)

    def accounts(self) -> tuple[Mapping[str, Account], int]:
        """Return the account of each site, by name, and the bytes of what they need together: tables, functions."""
        makers = self._all_makers()
        found: dict[str, Account] = {}
        common, now = 0, set(self._contents())
        for item in now - self._before:
            maker = makers.get(item)
            if isinstance(item, ir.Value) and item in self._divided:
                common += self._divide(item, found)
                continue
            if maker is None:
                common += _nbytes(item)
                continue
            account = found.setdefault(maker, Account())
            account.nbytes += _nbytes(item)
            if isinstance(item, ir.Value):
                account.stored[str(item.name)] = item
        # 1. A reader that was replaced, or a Transpose in front of it, is the gain of its site.
        # 2. Any other initializer that is gone was replaced by one without a maker, such as its transpose.
        for item in self._before - now:
            if isinstance(item, ir.Node) and item in self._replaceable:
                name, nbytes = self._replaceable[item]
                found.setdefault(name, Account()).nbytes -= nbytes
            elif isinstance(item, ir.Value):
                common -= array_bytes(item)
        return found, common

    def _divide(self, value: ir.Value, found: dict[str, Account]) -> int:
        """Count an array for the sites that it is divided among; return the bytes that are nobody's, its name's."""
        tensor, shares = value.const_value, self._divided[value]
        assert tensor is not None
        total, rest = sum(share for _, share in shares), array_bytes(value)
        for name, share in shares:
            account, part = found.setdefault(self._whole(name), Account()), tensor.nbytes * share // total
            account.nbytes += part
            account.stored[str(value.name)] = value
            rest -= part
        return rest

    def _all_makers(self) -> dict[Item, str]:
        """Return whose each new node and initializer is: of parts, the whole's."""
        makers = dict(self._makers)
        for name, builder in self._builders:
            makers |= dict.fromkeys((*_with_bodies(builder.nodes), *builder.stored), name)
        return {item: self._whole(name) for item, name in makers.items()}

    def _whole(self, name: str) -> str:
        while name in self._parts:
            name = self._parts[name]
        return name

    def _contents(self) -> Iterator[Item]:
        """Yield all nodes, initializers but the dense weights, and functions."""
        yield from self._model.functions.values()
        for graph in all_graphs(self._model):
            yield from graph
            yield from (value for value in graph.initializers.values() if value not in self._dense)


def _nodes_of(site: Site) -> Iterator[ir.Node]:
    """Yield the readers of a site, and the nodes that hand the weight on to them."""
    yield from (reader.node for reader in site.readers)
    yield from handed_on(site.value)


def _with_bodies(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """Yield nodes, and those of the bodies that they hold: a Scan brings its cell."""
    for node in nodes:
        yield node
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.GRAPH:
                yield from _with_bodies(attribute.as_graph())


def _nbytes(item: Item) -> int:
    if isinstance(item, ir.Value):
        return array_bytes(item)
    if isinstance(item, ir.Node):
        return _node_bytes(item)
    return _framed(int(ir.serde.serialize_function(item).ByteSize()))


def array_bytes(value: ir.Value, held: int | None = None) -> int:
    """Return the bytes that an initializer takes in a file: its data, its name, its type and its shape.

    `held` are those of the data, where the initializer has been given other data since.
    """
    tensor = value.const_value
    assert tensor is not None
    named = len(str(value.name).encode())
    return _framed((tensor_bytes(tensor) if held is None else held) + named + 2 * len(tensor.shape) + _TENSOR_FIELDS)


def _node_bytes(node: ir.Node) -> int:
    """Return the bytes of a node and of what the file says of its outputs, without the nodes of graphs that it holds.

    Those are counted one by one.
    """
    described = sum(_described(value) for value in node.outputs if not value.is_graph_output())
    bodies = [each.as_graph() for each in node.attributes.values() if each.type is ir.AttributeType.GRAPH]
    if not bodies:
        return _framed(int(ir.serde.serialize_node(node).ByteSize())) + described
    # The graphs may be large: the rest is put together from its words.
    words = [word for word in (node.name, node.op_type, node.domain) if word]
    names = [(value.name or "") if value is not None else "" for value in (*node.inputs, *node.outputs)]
    plain = (each for each in node.attributes.values() if each.type is not ir.AttributeType.GRAPH)
    attributes = sum(int(ir.serde.serialize_attribute(each).ByteSize()) + 2 for each in plain)
    text = sum(len(name.encode()) + 2 for name in (*words, *names))
    return _framed(text + attributes + sum(map(_body_bytes, bodies))) + described


def _body_bytes(body: ir.Graph) -> int:
    """Return the bytes of a body without its nodes: its name, inputs and outputs."""
    ends = sum(_described(value) for value in (*body.inputs, *body.outputs))
    return len((body.name or "").encode()) + 2 + 8 + ends


def _described(value: ir.Value) -> int:
    """Return the bytes of a value's type and shape in a file."""
    known = value.name and (value.type is not None or value.shape is not None)
    return _framed(int(ir.serde.serialize_value(value).ByteSize())) if known else 0


def _framed(nbytes: int) -> int:
    """Return the bytes of a message with its tag and its length, of which a byte holds seven bits."""
    return nbytes + 1 + max(1, -(-nbytes.bit_length() // 7))
