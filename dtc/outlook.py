"""What each method would make of a whole model, told by shapes and by some rows of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from dtc.document import DocumentPart
from dtc.graph import Site
from dtc.passes.foresight import Foreseen, foresee
from dtc.passes.lower import find_target
from dtc.passes.lower.kinds import kinds
from dtc.passes.lower.ledger import array_bytes
from dtc.passes.method import methods
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

NODES = 400
"""Bytes of what stands around the arrays of a large site: nodes, names, shapes."""

COMMON = 3_000
"""Bytes of the tables and functions that all sites need together, about: none to 6,000."""


class MethodOutlook(DocumentPart):
    """What a method would make of a model, without samples.

    Attributes:
        method: Its name.
        options: The options by which that is told; others give other sizes.
        file_bytes: Of the whole file, about.
        ratio: The model's bytes over these.
        sites: How many sites it would make smaller.
    """

    method: str
    options: Mapping[str, Any]
    file_bytes: int
    ratio: float
    sites: int


def outlooks(model: ir.Model, file_bytes: int) -> tuple[MethodOutlook, ...]:
    """Return what each method would make of a model whose files have so many bytes, the smallest file first."""
    found = []
    for name, method in methods().items():
        plan = make_plan(model, [Rule(method=name, options=dict(method.example))])
        foreseen = foresee(plan)
        saved = saved_bytes(plan.sites, foreseen, functions=find_target("compute").functions)
        size = file_bytes - sum(saved.values())
        outlook = MethodOutlook(
            method=name, options=dict(method.example), file_bytes=size, ratio=file_bytes / size, sites=len(saved)
        )
        found.append(outlook)
    return tuple(sorted(found, key=lambda each: each.file_bytes))


def around_each(found: Mapping[str, Foreseen], *, functions: bool) -> int:
    """Return the bytes of what stands around a site's arrays, with its share of what all need together."""
    forms = [each.form for each in found.values() if each.form is not None]
    # Operators bring their functions along, and the tables of these; what is lowered to standard nodes needs neither.
    operators = functions and any(kinds()[form].operators for form in forms)
    return NODES + (COMMON // len(forms) if operators else 0)


def saved_bytes(sites: Sequence[Site], found: Mapping[str, Foreseen], *, functions: bool) -> dict[str, int]:
    """Return what each site would save in the file, of those that become smaller."""
    around, saved = around_each(found, functions=functions), {}
    for site in sites:
        each, dense = found[site.name], array_bytes(site.value, site.nbytes)
        if each.form is not None and each.nbytes + NODES < dense:
            saved[site.name] = dense - each.nbytes - around
    return saved
