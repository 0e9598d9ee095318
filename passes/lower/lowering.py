"""Lowering: put the compressed form of each site into the graph, as nodes that run on a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass

from dtc.errors import ModelError
from dtc.graph import all_graphs, find_sites
from dtc.graph.opset import opset_of, require_opset
from dtc.passes.lower.kinds import kinds, opset_of_form
from dtc.passes.lower.lowered import Compressed, Lowered
from dtc.passes.lower.rewriting import Rewriting
from dtc.passes.lower.rounding import rounded_like
from dtc.passes.lower.target import Target


def lower(model: ir.Model, items: Sequence[Compressed], target: Target) -> list[Lowered]:
    """Lower every compressed site, form by form, in place; return how each stands in the file, in the given order.

    Raises:
        ModelError: A form needs a newer opset than the model's, and the model cannot be converted to it; the model's is
            newer than the target takes; a form needs an operator that the target does not have.
    """
    if not items:
        return []
    if target.max_opset is not None and opset_of(model) > target.max_opset:
        raise ModelError(
            f"target {target.name} takes opset {target.max_opset} at most, the model has {opset_of(model)}"
        )
    items = _at_opset(model, items, max([target.opset, *(opset_of_form(item.forms[0]) for item in items)]))
    before = {node for graph in all_graphs(model) for node in graph}
    rewriting = Rewriting(model, target, items)
    lowered = lower_items(rewriting, items)
    rewriting.shared.insert()
    # The operator of a recurrent node of which one weight was coded gives way to the one of both.
    RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    model.ir_version = max(model.ir_version, target.ir_version)
    _require_operators(model, target, before)
    rewriting.ledger.settle()
    return _divided(lowered, rewriting.ledger.common, items)


def lower_items(rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Lower sites of a model whose opset is new enough, form by form, in place; for forms that are made of forms."""
    by_kind: dict[str, list[Compressed]] = {kind: [] for kind in kinds()}
    for item in items:
        by_kind[item.forms[0].kind].append(item)
    for kind, row in kinds().items():
        # The weights of one node may be of both kinds, and are lowered together.
        if row.merges_into is not None and by_kind[row.merges_into.kind]:
            by_kind[row.merges_into.kind] += by_kind.pop(kind)
    lowered = [each for kind, chosen in by_kind.items() if chosen for each in kinds()[kind].lower(rewriting, chosen)]
    told = {each.site.name: each for each in lowered}
    return [told[item.site.name] for item in items]


def _at_opset(model: ir.Model, items: Sequence[Compressed], version: int) -> list[Compressed]:
    """Raise the model to an operator set if it is older; return the items with the sites of the converted graph."""
    if not require_opset(model, version):
        return list(items)
    sites = {site.name: site for site in find_sites(model)}
    lost = next((item.site for item in items if item.site.name not in sites), None)
    if lost is not None:
        raise ModelError(
            f"site {lost.name!r}: its node {lost.readers[0].node_name!r} was lost by raising the model's opset; export "
            f"the model at opset {version} or later, or leave the site out (--exclude)"
        )
    return [Compressed(sites[item.site.name], item.forms) for item in items]


def _require_operators(model: ir.Model, target: Target, before: set[ir.Node]) -> None:
    """Refuse a file that holds an operator which its target does not have."""
    if target.operators is None:
        return
    for graph in all_graphs(model):
        for node in graph:
            if node in before or (node.domain == "" and node.op_type in target.operators):
                continue
            if node.domain == "" and node.op_type in {each.op_type for each in before}:
                continue  # a node of the model itself, in another place
            raise ModelError(f"target {target.name} has no operator {node.op_type}, which {node.name!r} needs")


def _divided(lowered: Sequence[Lowered], common: int, items: Sequence[Compressed]) -> list[Lowered]:
    """Divide what sites need together among them; a dense weight that stays in the file counts as well."""
    share, rest = divmod(common, len(lowered))
    found = []
    for index, (each, item) in enumerate(zip(lowered, items, strict=True)):
        kept = item.site.nbytes if item.site.value.graph is not None else 0
        found.append(rounded_like(replace(each, nbytes=each.nbytes + share + (index < rest) + kept)))
    return found
