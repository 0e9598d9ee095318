"""What a plan would make of weights, told without distorting all of them.

A large site is told by its shape where a method can (`Method.foresee`), else by a few of its rows: what a method stores
of a matrix grows with the rows, beside what it stores once, such as a codebook. Two cuts of one site, the second with
twice the rows, tell both, and how long the rest would take. Sites of one shape under one rule are told by one of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dtc.graph import Site
from dtc.passes.compose import Composition
from dtc.passes.method import DistortionStep, Method, Outcome, Skip, Weights
from dtc.passes.plan import Plan, weights_of

CUT = 1 << 16
"""Weights of a cut; a site that is not larger than two of them is looked at whole."""


@dataclass(frozen=True)
class Foreseen:
    """What would become of a site.

    Attributes:
        nbytes: Of its forms; those of its weights where it is left alone.
        form: Kind of the form; None where it is left alone.
        detail: What is particular to the form, in words, where that is known.
        reason: Why it is left alone.
        exact: Whether the bytes follow from shapes, or from the whole weight.
        seconds: That its distortion takes, here and by one core.
    """

    nbytes: int
    form: str | None = None
    detail: str = ""
    reason: str | None = None
    exact: bool = True
    seconds: float = 0.0


def foresee(plan: Plan, *, seed: int = 0) -> dict[str, Foreseen]:
    """Return what would become of every site of a plan, by name.

    Raises:
        UsageError: A method refuses its options for these sites.
    """
    plan.refuse_sizes()
    found = {name: Foreseen(0, reason=reason) for name, reason in plan.skipped.items()}
    known: dict[object, Foreseen] = {}
    for number, (method, sites) in enumerate(plan.chosen):
        for site in sites:
            # A recurrent weight may be told something else by its partner; all others differ in their numbers alone.
            key = (number, site.role, site.shape, site.view.rows, site.view.cols)
            if key not in known:
                known[key] = _of_site(method, site, plan.sites, seed)
            found[site.name] = known[key]
    own = {site.name: site.nbytes for site in plan.sites}
    return {name: each if each.form else replace(each, nbytes=own[name]) for name, each in found.items()}


def _of_site(method: Method | Composition, site: Site, sites: Sequence[Site], seed: int) -> Foreseen:
    view = site.view
    told = method.foresee(view.rows, view.cols) if isinstance(method, Method) else None
    if isinstance(told, Skip):
        return Foreseen(0, reason=told.reason)
    if isinstance(method, Method) and told is not None:
        seconds = site.size / _WEIGHTS_PER_SECOND
        return Foreseen(view.count * told, method.gives.kind, f"{view.count}x{view.rows}x{view.cols}", seconds=seconds)
    whole = weights_of(site, sites)
    few = max(1, CUT // view.cols)
    if view.rows <= 2 * few:
        begin = time.process_time()
        outcome = method.distort([whole], DistortionStep(seed=seed))[site.name]
        return _scaled(outcome, outcome, whole, view.rows, view.rows, time.process_time() - begin)
    begin = time.process_time()
    cuts = [method.distort([_cut(whole, rows)], DistortionStep(seed=seed))[site.name] for rows in (few, 2 * few)]
    found = _scaled(cuts[0], cuts[1], whole, few, 2 * few, time.process_time() - begin)
    # The rank of a cut is not that of the whole, and what follows on a low rank is an estimate for it.
    return replace(found, exact=found.exact and isinstance(method, Method))


_WEIGHTS_PER_SECOND = 4e6
"""Of the methods that tell their bytes by shapes, which are those of singular values, by one core."""


def _cut(whole: Weights, rows: int) -> Weights:
    """Return some rows of the first matrix, from all over it."""
    step = whole.matrices.shape[1] // rows
    return replace(whole, matrices=whole.matrices[:1, ::step][:, :rows])


def _scaled(small: Outcome, large: Outcome, whole: Weights, few: int, more: int, seconds: float) -> Foreseen:
    """Return what a whole weight becomes if `few` and `more` rows of its first matrix become these."""
    if isinstance(large, Skip) or isinstance(small, Skip):
        return Foreseen(0, reason=large.reason if isinstance(large, Skip) else "a part of it is left alone")
    count, (rows, _) = len(whole.matrices), whole.out_in
    form = large[0]
    if few == more:
        return Foreseen(sum(each.nbytes for each in large), form.kind, form.detail, seconds=seconds)
    slope = (form.nbytes - small[0].nbytes) / (more - few)
    nbytes = round(count * (small[0].nbytes + slope * (rows - few)))
    # Where a form is nothing but rows that take as much each, all rows take as much as these.
    exact = form.nbytes * few == small[0].nbytes * more and form.nbytes % more == 0
    return Foreseen(nbytes, form.kind, form.detail, exact=exact, seconds=seconds * count * rows / (few + more))
