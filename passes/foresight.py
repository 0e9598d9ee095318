"""What a plan would make of weights, told without distorting all of them.

A large site is told by its shape where a method can (`Method.foresee`), else by a few of its rows: what a method stores
of a matrix grows with the rows, beside what it stores once, such as a codebook. Two cuts of one site, the second with
twice the rows, tell both, and how long the rest would take. A rank that the numbers decide is told by a smaller matrix
of the same proportions, and what is made of two factors by the shapes that these have. Sites of one shape under one
rule are told by one of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dtc.forms import LowRank
from dtc.forms.composite import Product, Sum
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
    return _of_weights(method, weights_of(site, sites), seed)


def _of_weights(method: Method | Composition, whole: Weights, seed: int) -> Foreseen:
    if isinstance(method, Composition):
        first = _of_weights(method.first, whole, seed)
        if first.form is None:
            return first
        if issubclass(method.first.gives, LowRank):
            return _of_factors(method.second, whole, first, seed)
        if issubclass(method.second.gives, LowRank):
            return _of_remainder(first, _of_weights(method.second, whole, seed))
        return _of_rows(method, whole, seed)
    rows, cols = whole.out_in
    told = method.foresee(rows, cols)
    if told is None and issubclass(method.gives, LowRank) and rows * cols > 2 * CUT:
        return _of_low_rank(method, whole, seed)
    if told is None:
        return _of_rows(method, whole, seed)
    if isinstance(told, Skip):
        return Foreseen(0, reason=told.reason)
    count = len(whole.matrices)
    seconds = whole.matrices.size / _WEIGHTS_PER_SECOND
    return Foreseen(count * told, method.gives.kind, f"{count}x{rows}x{cols}", seconds=seconds)


def _of_rows(method: Method | Composition, whole: Weights, seed: int) -> Foreseen:
    """Look at some rows, at twice as many, and think the rest on."""
    rows, cols = whole.out_in
    few = max(1, CUT // cols)
    if rows <= 2 * few:
        begin = time.process_time()
        outcome = method.distort([whole], DistortionStep(seed=seed))[whole.site]
        return _scaled(outcome, outcome, whole, rows, rows, time.process_time() - begin)
    begin = time.process_time()
    cuts = [method.distort([_cut(whole, part)], DistortionStep(seed=seed))[whole.site] for part in (few, 2 * few)]
    found = _scaled(cuts[0], cuts[1], whole, few, 2 * few, time.process_time() - begin)
    # What is coded after another method changed the weights is an estimate for the whole.
    return replace(found, exact=found.exact and isinstance(method, Method))


def _of_low_rank(method: Method, whole: Weights, seed: int) -> Foreseen:
    """Look at a part of some rows and columns, of the matrix's own proportions; the rank is the same share of them."""
    rows, cols = whole.out_in
    share = (2 * CUT / (rows * cols)) ** 0.5
    part = max(1, round(share * rows)), max(1, round(share * cols))
    across = _cut(whole, part[0]).matrices[:, :, :: cols // part[1]][:, :, : part[1]]
    outcome = method.distort([replace(whole, matrices=np.ascontiguousarray(across))], DistortionStep(seed=seed))
    forms = outcome[whole.site]
    if isinstance(forms, Skip):
        return Foreseen(0, reason=f"a part of it is left alone: {forms.reason}")
    rank = _rank(forms[0].nbytes, *part) / share
    nbytes, count = round(4 * rank * (rows + cols)), len(whole.matrices)
    if nbytes >= 4 * rows * cols:
        return Foreseen(0, reason=f"rank {rank:.0f} of {rows}x{cols} saves nothing")
    seconds = whole.matrices.size / _WEIGHTS_PER_SECOND
    return Foreseen(count * nbytes, method.gives.kind, f"about rank {rank:.0f}", exact=False, seconds=seconds)


def _of_factors(method: Method, whole: Weights, factored: Foreseen, seed: int) -> Foreseen:
    """Return what becomes of two factors that take the bytes of `factored`, by their shapes: noise stands for them."""
    rows, cols = whole.out_in
    count = len(whole.matrices)
    rank = max(1, round(_rank(factored.nbytes / count, rows, cols)))
    rng = np.random.default_rng(seed)
    shapes = {"left": (rows, rank), "right": (cols, rank) if whole.is_table else (rank, cols)}
    found = []
    for side, shape in shapes.items():
        noise = np.broadcast_to(rng.standard_normal(shape, np.float32), (count, *shape))
        factor = Weights(f"{whole.site}.{side}", noise, whole.node, whole.is_table)
        found.append(_of_weights(method, factor, seed))
    if any(each.form is None for each in found):  # both factors stay as they are
        return factored
    seconds = factored.seconds + sum(each.seconds for each in found)
    detail = f"rank {rank}, factors {found[0].form} ({found[0].detail})"
    return Foreseen(sum(each.nbytes for each in found), Product.kind, detail, exact=False, seconds=seconds)


def _of_remainder(sparse: Foreseen, low: Foreseen) -> Foreseen:
    if low.form is None:
        return low
    detail, seconds = f"{sparse.form} ({sparse.detail}) + {low.form}", sparse.seconds + low.seconds
    return Foreseen(sparse.nbytes + low.nbytes, Sum.kind, detail, exact=False, seconds=seconds)


def _rank(nbytes: float, rows: int, cols: int) -> float:
    """Return the rank of two float32 factors that take so many bytes."""
    return nbytes / (4 * (rows + cols))


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
