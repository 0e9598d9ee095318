"""Lowering: put the compressed form of each site into the graph, as nodes that run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol, TypeAlias

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass

import dtc.passes.lower
from dtc.errors import ModelError
from dtc.forms import Form, LowRank
from dtc.forms.composite import Product, Sum
from dtc.graph import Role, Site, find_sites
from dtc.graph.opset import require_opset
from dtc.registry import collect


@dataclass(frozen=True, eq=False)
class Compressed:
    """A site and the form of each of its matrices."""

    site: Site
    forms: tuple[Form, ...]


Mode: TypeAlias = Literal["compute", "standard", "storage", "int2"]
"""How forms become nodes.

`compute`: `dtc` operators that compute on the compressed weight, each with its model-local function; `standard`:
standard operators alone; `storage`: weights compressed in the file and decoded when the session loads; `int2`: as
`standard`, but binary codes as INT2 planes (opset 25), which newer ONNX Runtimes compute with, in 8-bit activations.
"""


class FormLowering(Protocol):
    """What a module of this folder offers; one module a form, found by the name in `KIND`."""

    KIND: str

    OPSET: int
    """Oldest opset of the nodes that it writes; the model is raised to it. Left out: any."""

    def refuse(self, site: Site) -> str | None:
        """Return why this site cannot be lowered to the form, naming the node; None if it can."""
        ...

    def lower(self, model: ir.Model, items: Sequence[Compressed], mode: Mode) -> None:
        """Replace the sites in the graph, in place. The old initializers are gone when nothing reads them."""
        ...


@cache
def lowerings() -> dict[str, FormLowering]:
    """Return the lowering of each kind of form; a kind taken twice is loud."""
    return collect(dtc.passes.lower, lambda m: [(m.KIND, m)] if hasattr(m, "KIND") else [], "lowerings")


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode = "compute") -> None:
    """Lower every compressed site, form by form, in place.

    Raises:
        ModelError: A form needs a newer opset than the model's, and the model cannot be converted to it; or the weights
            of one node have different forms that cannot be lowered together.
    """
    kinds = {each for item in items for each in _kinds(item.forms[0])}
    require_opset(model, max((getattr(lowerings()[kind], "OPSET", 1) for kind in kinds), default=1))
    lower_items(model, items, mode)
    # The operator of a recurrent node of which one weight was coded gives way to the one of both.
    RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]


def lower_items(model: ir.Model, items: Sequence[Compressed], mode: Mode) -> None:
    """Lower sites of a model whose opset is new enough, form by form, in place; for forms that are made of forms."""
    by_kind: dict[str, list[Compressed]] = {kind: [] for kind in lowerings()}
    for item in items:
        by_kind[item.forms[0].kind].append(item)
    if by_kind[Product.kind]:  # the weights of one node may be of both kinds, and are lowered together
        by_kind[Product.kind] += by_kind.pop(LowRank.kind)
    for kind, chosen in by_kind.items():
        if chosen:
            lowerings()[kind].lower(model, found_again(model, chosen), mode)


def _kinds(form: Form) -> set[str]:
    """Return the kind of a form, and of those that it is made of."""
    if isinstance(form, Product):
        return {form.kind, *_kinds(form.left), *_kinds(form.right)}
    if isinstance(form, Sum):
        return {form.kind, *_kinds(form.first), *_kinds(form.second)}
    return {form.kind}


def found_again(model: ir.Model, items: Sequence[Compressed]) -> list[Compressed]:
    """Look for the sites anew, by name: a conversion or the lowering of another form may have replaced their nodes.

    Those that their readers need dense stay as they are: no reader of theirs is replaced.
    """
    sites = {site.name: site for site in find_sites(model)}
    found: list[Compressed] = []
    for item in items:
        site = item.site if item.site.role is Role.OTHER else sites.get(item.site.name)
        if site is None or _sizes(site) != _sizes(item.site):
            raise ModelError(
                f"site {item.site.name!r}: its node {item.site.readers[0].node_name!r} was lowered to another form by "
                "another of its weights, or lost by raising the model's opset; choose one method for both weights of "
                "that node, or leave it out (--exclude)"
            )
        found.append(Compressed(site, item.forms))
    return found


def _sizes(site: Site) -> tuple[int, int, int]:
    return site.view.count, site.view.rows, site.view.cols
