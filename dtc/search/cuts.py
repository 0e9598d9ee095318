"""Where a model can be cut when one site changes: what does not depend on it is the same, and need not be run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import onnx_ir as ir

from dtc.checking.sites.scopes import outer_values
from dtc.graph import Site

Cuts: TypeAlias = Mapping[str, tuple[ir.Value, ...]]
"""By site, in the order of the model: the values that enter what depends on the site, and do not depend on it."""


def find_cuts(model: ir.Model, sites: Sequence[Site], output: ir.Value) -> Cuts:
    """Return where to cut for each site, so that `output` follows from what enters there.

    Sites within branches and loops are left out, and those that `output` does not depend on.

    In: x -> Conv(w1) -> a, Conv(a, w2) -> b, Add(a, b) -> output. Out: w1 at x, w2 at a.
    """
    reads = {
        node: [value for value in (*node.inputs, *outer_values(node)) if value is not None] for node in model.graph
    }
    needed = _upstream(reads, output)
    active = _downstream(reads, [value for value in model.graph.inputs if not value.is_initializer()])
    cuts: dict[str, tuple[ir.Value, ...]] = {}
    for site in sites:
        if site.value.graph is not model.graph:
            continue
        changed = _downstream(needed, [site.value])
        if output not in changed:
            continue
        read = (value for node in needed if changed.keys() & set(node.outputs) for value in needed[node])
        cuts[site.name] = tuple(dict.fromkeys(value for value in read if value in active and value not in changed))
    return cuts


def kept_values(cuts: Cuts) -> list[tuple[ir.Value, ...]]:
    """Return what to have at each cut, one after the other: what enters there, and what was had and enters later on."""
    found: list[tuple[ir.Value, ...]] = []
    last = {value: place for place, values in enumerate(cuts.values()) for value in values}
    before: tuple[ir.Value, ...] = ()
    for place, values in enumerate(cuts.values()):
        before = tuple(dict.fromkeys((*values, *(value for value in before if last[value] > place))))
        found.append(before)
    return found


_Reads: TypeAlias = dict[ir.Node, list[ir.Value]]


def _upstream(reads: _Reads, output: ir.Value) -> _Reads:
    """Return the nodes that a value depends on, in their order."""
    wanted, found = {output}, set[ir.Node]()
    for node in reversed(reads):
        if not wanted.isdisjoint(node.outputs):
            found.add(node)
            wanted.update(reads[node])
    return {node: read for node, read in reads.items() if node in found}


def _downstream(reads: _Reads, values: Sequence[ir.Value]) -> dict[ir.Value, None]:
    """Return all that depends on some values, these among them."""
    found = dict.fromkeys(values)
    for node, read in reads.items():
        if any(value in found for value in read):
            found |= dict.fromkeys(node.outputs)
    return found
