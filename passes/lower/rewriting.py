"""A model on its way to a lowered one: what all forms' lowerings share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from dtc.errors import ModelError
from dtc.graph import Quantizer, Reader, Role, Site, find_quantizers, site_of
from dtc.graph.builder import GraphBuilder, Keep, Shared
from dtc.graph.inference import KnownValues
from dtc.passes.lower.joint import Joint
from dtc.passes.lower.ledger import Ledger
from dtc.passes.lower.lowered import Compressed
from dtc.passes.lower.target import Target


@dataclass(frozen=True, eq=False)
class Rounded:
    """A value that was rounded to levels.

    Attributes:
        quantizer: What rounds it.
        rank: The number of its dimensions; None if it is not known.
    """

    quantizer: Quantizer
    rank: int | None


def _rounded(model: ir.Model) -> dict[ir.Value, Rounded]:
    """Return what is rounded in the main graph; asked before anything is replaced there, while shapes can be told."""
    known, found = KnownValues(model), dict[ir.Value, Rounded]()
    for each in find_quantizers(model.graph):
        shape = known.of(each.data).shape
        rounded = Rounded(each, None if shape is None else len(shape))
        found |= dict.fromkeys((node.outputs[0] for node in each.dequantize), rounded)
    return found


class Rewriting:
    """The model, the target, and what lowerings have to know of each other.

    Attributes:
        model: Changed in place.
        target: What the file is written for.
        shared: Constants and tables that sites have in common.
        ledger: Counts bytes.
        joint: What small sites store and decode together.
    """

    def __init__(self, model: ir.Model, target: Target, items: Sequence[Compressed], keep: Keep = ir.tensor) -> None:
        self.model, self.target = model, target
        self.shared = Shared(model, keep=keep)
        self.ledger = Ledger(model, [item.site for item in items])
        self.joint = Joint(self.shared, self.ledger, portable=target.portable)
        self._rounding = _rounded(model)
        self._heirs: dict[ir.Value, ir.Value] = {}
        self._moved: dict[ir.Node, tuple[ir.Node, Mapping[Role, int]]] = {}

    def front(self, site: Site) -> GraphBuilder:
        """Return a builder for what stands in front of every reader of a site, in the graph that owns the weight."""
        return self.ledger.watch(site, self.shared.builder(site.name, graph_of(site)))

    def builder(self, site: Site, reader: Reader) -> GraphBuilder:
        """Return a builder for the nodes that stand for a reader of a site."""
        return self.ledger.watch(site, self.shared.builder(reader.node_name, graph_of(site)))

    def rounded(self, value: ir.Value | None) -> Rounded | None:
        """Return to what a value was rounded; None: it was not."""
        return None if value is None else self._rounding.get(value)

    def moved(self, old: ir.Node, new: ir.Node, dense: Mapping[Role, int]) -> None:
        """Remember that `new` stands in the place of `old`; its weights of the roles `dense` still are, and where."""
        self._moved[old] = new, dense

    def replaced(self, old: ir.Value, new: ir.Value) -> None:
        """Remember that an initializer holds the weight of another one in the form that new readers want."""
        self._heirs[old] = new

    def current(self, site: Site) -> Site:
        """Return a site with its readers as they are now: another weight of an LSTM may have replaced the node.

        Raises:
            ModelError: The node is gone, and nothing reads the weight as the site's matrices any more.
        """
        # 1. The weight itself was replaced by another initializer: the readers of that one are looked for. 2. Its node
        # gave way to an operator: the readers are followed there. Either way it has to be the same matrices still.
        heir = self._heirs.get(site.value)
        found = site_of(heir) if heir is not None else replace(site, readers=tuple(map(self._current, site.readers)))
        if found is None or any(reader.node.graph is None for reader in found.readers) or _sizes(found) != _sizes(site):
            raise ModelError(
                f"site {site.name!r}: its node {site.readers[0].node_name!r} was lowered to another form by another of "
                "its weights; choose one method for both weights of that node, or leave it out (--exclude)"
            )
        return found

    def _current(self, reader: Reader) -> Reader:
        # `LSTM` -> `LSTM_sparse_dense` -> ...: a node is replaced once for each of its weights.
        while reader.node in self._moved:
            node, dense = self._moved[reader.node]
            reader = replace(reader, node=node, index=dense[reader.role])
        return reader


def _sizes(site: Site) -> tuple[int, int, int]:
    return site.view.count, site.view.rows, site.view.cols


def graph_of(site: Site) -> ir.Graph:
    """Return the graph that owns a site's initializer."""
    graph = site.value.graph
    assert isinstance(graph, ir.Graph), "a site's initializer is registered in a graph"
    return graph
