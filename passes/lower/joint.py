"""Small sites decode together: what they store lies in one array of a kind, decoded once, and is split among them.

Below some kilobytes the nodes, names and headers of a site weigh as much as its codes: of a residual network in 6-bit
indices a tenth was a decoder written out again for each of 19 convolutions. Together a site needs a Split's output and
the nodes that are its own. Sites of different graphs stay apart: what a branch needs is decoded in the branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph import Site
from dtc.graph.builder import GraphBuilder, Shared, insert_first
from dtc.passes.lower.ledger import Ledger

LARGEST = 1 << 16
"""Weights of a site that decodes together with others: above, its nodes weigh nothing, and folding takes memory."""

Decode: TypeAlias = Callable[[GraphBuilder, npt.NDArray[Any]], ir.Value]
"""Stores an array by a builder, and returns what it decodes to: as many rows, in the same order."""

Row: TypeAlias = tuple[int, ...]
"""Shape of what a row decodes to."""


@dataclass(eq=False)
class _Group:
    """Arrays that lie one behind the other, in the order of their sites."""

    graph: ir.Graph
    decode: Decode
    row: Row | None
    members: list[_Member] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Member:
    """A site's part of an array, what reads it, where it lies, and what it weighs."""

    site: Site
    array: npt.NDArray[Any]
    value: ir.Value
    place: float
    weight: int


class Joint:
    """What the sites of a model store together.

    Args:
        shared: Makes the builders.
        ledger: Is told which part of an array is whose.
        portable: Whether other runtimes than ONNX Runtime shall decode it, too.
    """

    def __init__(self, shared: Shared, ledger: Ledger, *, portable: bool) -> None:
        self._shared, self._ledger, self.portable = shared, ledger, portable
        self._groups: dict[object, _Group] = {}

    def share(
        self,
        site: Site,
        key: object,
        array: npt.NDArray[Any],
        decode: Decode,
        row: Row | None = None,
        *,
        place: float = 0.0,
        weight: int | None = None,
    ) -> ir.Value:
        """Return what the rows of `array` decode to, by a node that is made when all sites are known.

        Arrays of one key, in one graph, are joined along their first axis, stored, decoded once and split. An array
        that lies alone, as that of a large site does, is stored under the site's name. With `row`, the shape of a row,
        `decode` may give its result in any shape, and so may this function: what folds is not shaped twice. Arrays of
        a lower `place` lie before the others. `weight` is what the site's part takes of what is stored, next to those
        of others; its rows, unless told.
        """
        graph, large = site.value.graph, site.size > LARGEST
        assert isinstance(graph, ir.Graph), "a site's initializer is registered in a graph"
        whole = (graph, key, site.name if large else None)
        group = self._groups.setdefault(whole, _Group(graph, decode, row))
        placeholder = ir.Value(name=None)
        group.members.append(_Member(site, array, placeholder, place, len(array) if weight is None else weight))
        return placeholder

    def insert(self) -> None:
        """Put the decoders in front of what reads them; when all sites are done."""
        for group in self._groups.values():
            # A node that was to read a part may have been replaced since.
            group.members = sorted((each for each in group.members if each.value.uses()), key=lambda each: each.place)
            if group.members:
                self._insert(group)

    def _insert(self, group: _Group) -> None:
        arrays = [each.array for each in group.members]
        alone = len(arrays) == 1
        builder = self._shared.builder(group.members[0].site.name if alone else "joint", group.graph)
        found = group.decode(builder, arrays[0] if alone else np.concatenate(arrays))
        parts = [found] if alone else _split(builder, found, group.row, [len(array) for array in arrays])
        for each, part in zip(group.members, parts, strict=True):
            each.value.replace_all_uses_with(part)
        self._ledger.divide(builder, [(each.site, each.weight) for each in group.members])
        insert_first(builder)


def _split(builder: GraphBuilder, found: ir.Value, row: Row | None, sizes: Sequence[int]) -> list[ir.Value]:
    rows = found if row is None else builder.op("Reshape", [found, builder.constant([-1, *row])])
    return builder.split_evenly(rows, len(sizes), 0) if len(set(sizes)) == 1 else builder.split(rows, sizes, 0)
