"""Where each compressed site can be run alone: the nodes around it in the dense model, and what stands for them.

A reader of a site begins where activations enter it and ends at its outputs, or behind these at the first values that
the lowered model has too: a BatchNormalization that was folded into a Conv is part of the region. Where the reader is
still there as it was, and only what gives it the dense weight is new, nothing has to be run but that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from dtc.checking.sites.cones import Cone, UnboundedError, cone
from dtc.checking.sites.scopes import Scopes, paired
from dtc.graph import Reader, Site

_FURTHEST = 64
"""Nodes behind a reader among which its counterpart has to end."""


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the dense model, and the part of the lowered model that computes the same.

    Attributes:
        sites: Names of the sites whose weights are in it.
        readers: What reads them there, and decides on the inputs; none where both parts are weights.
        dense: In the dense model.
        lowered: In the lowered one, with as many outputs, in the same order.
        inputs: The values that enter, each with its counterpart; one of the two parts may not read it.
    """

    sites: tuple[str, ...]
    readers: tuple[Reader, ...]
    dense: Cone
    lowered: Cone
    inputs: tuple[tuple[ir.Value, ir.Value], ...]

    @property
    def is_weight(self) -> bool:
        """True where weights themselves are compared: nothing enters."""
        return not self.inputs


@dataclass(frozen=True, eq=False)
class Regions:
    """Of all compressed sites.

    Attributes:
        found: The regions, in the order of the sites.
        missing: Why a site has none, by site.
    """

    found: tuple[Region, ...]
    missing: Mapping[str, str]


def find_regions(
    dense: ir.Model, lowered: ir.Model, sites: Sequence[Site], stands_for: Mapping[str, str] | None = None
) -> Regions:
    """Return where each of the sites of the dense model can be compared with what stands for it in the lowered one.

    `stands_for` are the values of the lowered model that are others of the dense one than their names say, or "".
    """
    finder = _Finder(dense, lowered, sites, stands_for or {})
    ends: dict[tuple[ir.Value, ...], list[tuple[Site, Reader]]] = {}
    missing: dict[str, str] = {}
    found: list[Region] = []
    for site in sites:
        for reader in site.readers:
            if weight := finder.as_weight(site, reader):
                found.append(weight)
            elif end := tuple(finder.ends_of(reader.node)):
                ends.setdefault(end, []).append((site, reader))
            else:
                missing[site.name] = f"what stands for {reader.node_name!r} has another end in the file"
    for end, members in ends.items():
        try:
            found.append(finder.region(end, members))
        except UnboundedError as error:
            told = f"{members[0][1].node_name!r} reads {error.value!r}, which the file does not have"
            missing |= {site.name: told for site, _ in members}
    return Regions(_each_once(found), missing)


def _each_once(regions: Sequence[Region]) -> tuple[Region, ...]:
    """Return the regions without those that compare the same two weights again, as every reader of a tied one does."""
    found: dict[object, Region] = {}
    for region in regions:
        found.setdefault((region.dense.outputs, region.lowered.outputs), region)
    return tuple(found.values())


class _Finder:
    def __init__(
        self, dense: ir.Model, lowered: ir.Model, sites: Sequence[Site], stands_for: Mapping[str, str]
    ) -> None:
        first, second = Scopes.of(dense), Scopes.of(lowered)
        self._pairs = paired(first, second, stands_for)
        self._met = {
            value: other for value, other in self._pairs.items() if value in first.active and other in second.active
        }
        self._back = {other: value for value, other in self._met.items()}
        self._weights = {(reader.node, reader.index) for site in sites for reader in site.readers}

    def as_weight(self, site: Site, reader: Reader) -> Region | None:
        """Return the weight that a reader gets on both sides, if the reader is the same node still."""
        node = reader.node
        twin = next((other.producer() for out in node.outputs if (other := self._pairs.get(out)) is not None), None)
        if twin is None or not self._is_kept(node, twin):
            return None
        wanted, given = node.inputs[reader.index], twin.inputs[reader.index]
        assert wanted is not None
        assert given is not None
        try:
            dense, lowered = cone([wanted], ()), cone([given], ())
        except UnboundedError:
            return None
        return Region((site.name,), (), dense, lowered, ())

    def _is_kept(self, node: ir.Node, twin: ir.Node) -> bool:
        """True if two nodes differ in nothing but weights that are compressed, each of which is compared by itself."""
        if node.op_identifier() != twin.op_identifier() or len(node.inputs) != len(twin.inputs):
            return False
        if len(node.outputs) != len(twin.outputs) or node.attributes != twin.attributes:
            return False
        pairs = enumerate(zip(node.inputs, twin.inputs, strict=True))
        return all((node, place) in self._weights or self._same(*pair) for place, pair in pairs)

    def _same(self, value: ir.Value | None, other: ir.Value | None) -> bool:
        if value is None or other is None:
            return value is other
        if self._pairs.get(value) is not other:
            return False
        # Constants of one name hold the same numbers, unless folding has put others there.
        return value in self._met or value.const_value is other.const_value

    def ends_of(self, node: ir.Node) -> Iterator[ir.Value]:
        """Yield the outputs of a node that the lowered model has too, or else the first such values behind them."""
        waiting = [value for value in node.outputs if value.uses() or value.is_graph_output()]
        for number, value in enumerate(waiting):
            if value in self._pairs:
                yield value
            elif number < _FURTHEST:
                waiting += [out for user, _ in value.uses() for out in user.outputs if out not in waiting]

    def region(self, ends: Sequence[ir.Value], members: Sequence[tuple[Site, Reader]]) -> Region:
        """Return the region that ends at some values of the dense model.

        Raises:
            UnboundedError: One side reads what the other does not have.
        """
        others = [self._pairs[value] for value in ends]
        dense = cone(ends, self._met.keys() - set(ends))
        lowered = cone(others, self._back.keys() - set(others))
        entering = {value: self._met[value] for value in dense.stops}
        entering |= {self._back[other]: other for other in lowered.stops}
        names = tuple(dict.fromkeys(site.name for site, _ in members))
        return Region(names, tuple(reader for _, reader in members), dense, lowered, tuple(entering.items()))
