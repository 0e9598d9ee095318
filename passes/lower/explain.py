"""How the readers of each compressed weight get it, read off the lowered graph, in words for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN
from dtc.graph import Role
from dtc.graph.walk import all_graphs, all_nodes
from dtc.passes.lower import Compressed, Mode, costs
from dtc.passes.lower.recurrent.operator import RECURRENT_ROLES

_DECODING = ("Gather", "Dequantize", "Unmask")
"""What the names of operators end in that compute no product."""


def explain(model: ir.Model, items: Sequence[Compressed], mode: Mode) -> dict[str, str]:
    """Return how each site came into the lowered `model`, and why, by the sites' names."""
    operators, joined = _operators(model, [item.site.name for item in items]), _joined(model, items)
    return {
        item.site.name: _explained(item, mode, operators[item.site.name], joined=item.site.name in joined)
        for item in items
    }


def _explained(item: Compressed, mode: Mode, operators: set[str], *, joined: bool) -> str:
    if mode != "compute":
        return {"standard": "standard operators decode it", "storage": "decoded by an operator"}.get(mode, mode)
    if joined:
        return "joined of its parts when a session loads: no node like its reader computes on them"
    form, told = item.forms[0], []
    if any(operator.endswith("Gather") for operator in operators):
        told.append("rows decoded as they are looked up")
    if any(not operator.endswith(_DECODING) for operator in operators) or costs.speed_of(form) is None:
        told.append(costs.choose(form, item.site.rows).reason)
    elif {reader.role for reader in item.site.readers} != {Role.EMBEDDING}:
        choice = costs.choose(form, item.site.rows)
        told.append("decoded when a session loads: no operator fits its reader" if choice.on_codes else choice.reason)
    return "; ".join(told) or "decoded when a session loads"


def _operators(model: ir.Model, sites: Sequence[str]) -> Mapping[str, set[str]]:
    """Return the `dtc` operators that read arrays of each site, as they are stored or behind constant nodes."""
    found: dict[str, set[str]] = {name: set() for name in sites}
    stored: dict[ir.Value, frozenset[str] | None] = {}
    for graph in all_graphs(model):
        for node in graph:
            if node.domain != DOMAIN:
                continue
            for value in node.inputs:
                for name in _initializers_of(value, stored) or ():
                    owner = _owner(name, sites)
                    if owner is not None:
                        found[owner].add(node.op_type)
    return found


def _joined(model: ir.Model, items: Sequence[Compressed]) -> set[str | None]:
    """Return the sites whose form is made of parts, but whose LSTM or GRU reads the weight computed of them."""
    made_of_parts = [
        item.site.name
        for item in items
        if item.forms[0].kind == "sum"
        or (item.forms[0].kind in ("low-rank", "product") and item.site.role in RECURRENT_ROLES)
    ]
    found: set[str | None] = set()
    stored: dict[ir.Value, frozenset[str] | None] = {}
    for node in all_nodes(model):
        if not node.op_type.startswith(("LSTM", "GRU")) or node.op_type.endswith("_lowrank"):
            continue
        for value in node.inputs:
            if value is not None and value.producer() is not None:
                found |= {_owner(name, made_of_parts) for name in _initializers_of(value, stored) or ()}
    return found


def _owner(name: str, sites: Sequence[str]) -> str | None:
    """Return the site that a stored array is of."""
    owners = [site for site in sites if name.startswith((f"{site}.", f"{site}/"))]
    return max(owners, key=len, default=None)


def _initializers_of(value: ir.Value | None, known: dict[ir.Value, frozenset[str] | None]) -> frozenset[str] | None:
    """Return the names of the initializers that a value is made of; None if it depends on an input of the model."""
    if value is None:
        return frozenset()
    if value not in known:
        node = value.producer()
        if node is not None:
            parts = [_initializers_of(each, known) for each in node.inputs]
            known[value] = None if None in parts else frozenset().union(*(part for part in parts if part))
        else:
            known[value] = frozenset([str(value.name)]) if value.is_initializer() else None
    return known[value]
