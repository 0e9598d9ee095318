"""Lowering: put the compressed form of each site into the graph, as nodes that run on a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass

from dtc.errors import ModelError
from dtc.graph import all_graphs
from dtc.graph.builder import Keep
from dtc.graph.ir_version import lowest_ir_version
from dtc.graph.opset import drop_unused_imports, opset_of
from dtc.passes.lower.coded import lower_older
from dtc.passes.lower.inlining import as_inlined, inline_operators
from dtc.passes.lower.kinds import kinds, unfit_opset
from dtc.passes.lower.ledger import Account, Ledger
from dtc.passes.lower.lowered import Compressed, Lowered
from dtc.passes.lower.rewriting import Rewriting
from dtc.passes.lower.rounding import rounded_like
from dtc.passes.lower.target import Target
from dtc.passes.prepare.remove_unused import RemoveUnusedPass


def lower(model: ir.Model, items: Sequence[Compressed], target: Target, keep: Keep = ir.tensor) -> list[Lowered]:
    """Lower every compressed site, form by form, in place; return how each stands in the file, in the given order.

    `keep` makes tensors of new arrays; without it they are held in memory.

    The model's own nodes stay as they are, and so does its operator set, which says what they mean.

    Raises:
        ModelError: A form needs a newer opset than the model's; the model's is newer than the target takes; a form
            needs an operator that the target does not have.
    """
    if not items:
        return []
    if target.max_opset is not None and opset_of(model) > target.max_opset:
        raise ModelError(
            f"target {target.name} takes opset {target.max_opset} at most, the model has {opset_of(model)}"
        )
    _require_opset(model, items)
    # Nodes of the model are the user's business; what is new has to be among the target's operators.
    before = {node for graph in all_graphs(model) for node in graph}
    described = {value.name for node in before for value in node.outputs if value.type or value.shape}
    rewriting = Rewriting(model, target, items, keep)
    lowered = lower_items(rewriting, items)
    # The tables that decoders look up stand in front of the decoders.
    rewriting.joint.insert()
    rewriting.shared.insert()
    # The operator of a recurrent node of which one weight was coded gives way to the one of both.
    RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    if target.inlined:
        inline_operators(model)
        lowered = as_inlined(lowered)
    RemoveUnusedPass()(model)  # constants of nodes that were replaced since
    drop_unused_imports(model)
    _leave_undescribed(model, before, described)
    model.ir_version = lowest_ir_version(model)
    _require_operators(model, target, before)
    return _counted(lowered, rewriting.ledger, items)


def lower_items(rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Lower sites whose forms can stand in the model, kind by kind, in place; for forms that are made of forms."""
    by_kind: dict[str, list[Compressed]] = {kind: [] for kind in kinds()}
    for item in items:
        by_kind[item.forms[0].kind].append(item)
    for kind, row in kinds().items():
        # The weights of one node may be of both kinds, and are lowered together.
        if row.merges_into is not None and by_kind[row.merges_into.kind]:
            by_kind[row.merges_into.kind] += by_kind.pop(kind)
    # What an old operator set has decoded in front of a node comes first: it keeps the node, and others would not.
    order = sorted(by_kind, key=lambda kind: not _is_older(rewriting, kind))
    lowered = [each for kind in order if by_kind[kind] for each in _lower_kind(rewriting, kind, by_kind[kind])]
    # Lowered kind by kind, told in the order that was given.
    told = {each.site.name: each for each in lowered}
    return [told[item.site.name] for item in items]


def _lower_kind(rewriting: Rewriting, kind: str, items: Sequence[Compressed]) -> list[Lowered]:
    """Lower sites of a kind of form; in a model of an older operator set than it asks for, all readers alike."""
    row = kinds()[kind]
    if row.older is not None and _is_older(rewriting, kind):
        return lower_older(rewriting, items, row, row.older)
    return row.lower(rewriting, items)


def _is_older(rewriting: Rewriting, kind: str) -> bool:
    """Return whether a kind of form is lowered in another way because the model's operator set is old."""
    row = kinds()[kind]
    return row.older is not None and opset_of(rewriting.model) < row.opset


def _require_opset(model: ir.Model, items: Sequence[Compressed]) -> None:
    for item in items:
        unfit = unfit_opset(item.forms[0], opset_of(model))
        if unfit is not None:
            raise ModelError(f"site {item.site.name!r}: a form like its {item.forms[0].kind} {unfit}")


def _leave_undescribed(model: ir.Model, before: set[ir.Node], described: set[str | None]) -> None:
    """Take types and shapes away that the file would list and the model did not: every runtime infers them."""
    for graph in all_graphs(model):
        for node in graph:
            for value in () if node in before or node.domain != "" else node.outputs:
                if value.name not in described and not value.is_graph_output():
                    value.type = value.shape = None


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


def _counted(lowered: Sequence[Lowered], ledger: Ledger, items: Sequence[Compressed]) -> list[Lowered]:
    """Return what was told of each site with its bytes, and its share of what sites need together."""
    accounts, common = ledger.accounts()
    # 10 bytes among 3 sites: 4, 3, 3, so that the sum is exact.
    share, rest = divmod(common, len(lowered))
    found = []
    for index, (each, item) in enumerate(zip(lowered, items, strict=True)):
        account, shared = accounts.get(each.site.name, Account()), share + (index < rest)
        # Where something else still reads the dense weight, it stands in its graph, and the site has not replaced it.
        kept = item.site.nbytes if item.site.value.graph is not None else 0
        nbytes = account.nbytes + shared + kept
        found.append(rounded_like(replace(each, nbytes=nbytes, shared_bytes=shared, stored=account.stored)))
    return found
