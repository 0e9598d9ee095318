"""Compositions: two methods in the order written, `prune+binary` for one.

Which two methods go together follows from what they declare, never from their names:

1. Survivors. The first gives `Sparse`, the second heeds a mask: what is left is coded alone, and zeros cost nothing
   (masked coding; algorithms of Lee et al., 2018 to 2020). `prune+binary`.
2. Factors. The first gives `LowRank`: the second treats both factors. `svd+binary`, `svd+prune`.
3. Remainder. The first gives `Sparse`, the second gives `LowRank`: the largest weights stay sparse and what remains
   becomes low rank, `W = S + L`. `prune+svd`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from dtc.errors import RuleError
from dtc.forms import Array, Form, LowRank
from dtc.forms.composite import Product, Sum
from dtc.forms.sparse import Sparse
from dtc.passes.method import (
    DistortionStep,
    Gram,
    Grams,
    Latents,
    Method,
    Need,
    Outcome,
    Skip,
    Weights,
    find_method,
    make_method,
    methods,
    options_of,
)
from dtc.passes.options import flag

Outcomes: TypeAlias = Mapping[str, Outcome]


class Combine(Protocol):
    """How a second method goes on from what the first one gave."""

    def __call__(self, second: Method, weights: Sequence[Weights], first: Outcomes, at: DistortionStep) -> Outcomes:
        """Return the outcome of both methods together, by site."""
        ...


class Composition:
    """Two methods as one, with the attributes that a plan needs of a method."""

    on_device = False

    def __init__(self, first: Method, second: Method, combine: Combine) -> None:
        self.first, self.second = first, second
        self.needs: frozenset[Need] = first.needs | second.needs
        self.told_to_compensate = first.told_to_compensate or second.told_to_compensate
        self.keeps_mask = first.keeps_mask or second.keeps_mask
        self.rounds_activations = second.rounds_activations and combine is _code_survivors
        self._combine = combine

    @property
    def by_site(self) -> bool:
        """True if what becomes of a site depends on no other one."""
        return self.first.by_site and self.second.by_site

    def refuse_sizes(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Stop where the options of a method suit none of the matrices `(out, in)`; what factors have is not known yet.

        Raises:
            UsageError: They do.
        """
        self.first.refuse_sizes(sizes)
        if self._combine is not _treat_factors:
            self.second.refuse_sizes(sizes)

    def probes(self, sites: int) -> int:
        """Return how often both methods ask the probe for so many sites, at the most; 0 where that is not known."""
        return self.first.probes(sites) + self.second.probes(sites)

    def at_full_strength(self, at: DistortionStep) -> bool:
        """True where both methods have their full strength."""
        return self.first.at_full_strength(at) and self.second.at_full_strength(at)

    def latents(self, forms: Mapping[str, tuple[Form, ...]], trained: Container[str]) -> Latents | None:
        """Return what the second method trains in place of the weights; its codes are the last word on them."""
        return self.second.latents(forms, trained)

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return the outcome of every site: of both methods, or the reason of the one that left it alone.

        Survivors are coded once gradual pruning has come to its end: until then training has to find out which ones
        they are, and codes, which are all alike, would hide it (D. Lee, B. Kim, 2018: prune, retrain, then quantize).
        """
        first = self.first.distort(weights, at)
        # Before the end of gradual pruning: sparse forms, no codes yet.
        if self._combine is _code_survivors and not self.first.at_full_strength(at):
            return first
        done = {name: outcome for name, outcome in first.items() if isinstance(outcome, Skip)}
        rest = [w for w in weights if w.site not in done]
        return {**done, **self._combine(self.second, rest, first, at)}


def make_methods(name: str, options: dict[str, Any]) -> Method | Composition:
    """Return a method by name, or two joined by a plus sign; each option goes to those that have it.

    Raises:
        UsageError: There is no such method or composition, or an option is wrong.
    """
    parts = name.split("+")
    if len(parts) == 1:
        return make_method(name, options)
    if len(parts) > 2:
        raise RuleError(f"method {name}: two methods can be composed, not {len(parts)}", ("method",))
    # Each option goes to the methods that have it; here those are refused that neither has.
    stranger = next((option for option in options if option not in options_of(name)), None)
    if stranger is not None:
        neither = f"is an option of neither method of {name}"
        raise RuleError(f"{flag(stranger)} {neither}", ("options", stranger), neither)
    kinds = find_method(parts[0]), find_method(parts[1])
    combine = _rule(*kinds)
    if combine is None:
        raise RuleError(f"method {name} makes no sense: {_missing(*kinds)}", ("method",))
    first, second = (make_method(part, {k: v for k, v in options.items() if k in options_of(part)}) for part in parts)
    if combine is _treat_factors and second.trains_latents:
        assert second.latent_option is not None
        why = "holds for codes of weights; factors are found anew at every distortion, and their codes with them"
        raise RuleError(f"{flag(second.latent_option)} {why}", ("options", second.latent_option), why)
    return Composition(first, second, combine)


def compositions() -> list[tuple[str, str]]:
    """Return all pairs of methods that can be composed, by name, in the order in which they work."""
    found = methods()
    return [(a, b) for a in sorted(found) for b in sorted(found) if _rule(found[a], found[b]) is not None]


def _rule(first: type[Method], second: type[Method]) -> Combine | None:
    """Return how the second method goes on from what the first one gives; None where it cannot."""
    # 3. Remainder: only behind a sparse form.
    if issubclass(second.gives, LowRank):
        return _factor_remainder if issubclass(first.gives, Sparse) else None
    # 2. Factors: a mask would be one of factors that the next distortion finds anew.
    if issubclass(first.gives, LowRank):
        return None if second.keeps_mask else _treat_factors
    # 1. Survivors.
    codes_survivors = issubclass(first.gives, Sparse) and not issubclass(second.gives, Sparse) and second.heeds_mask
    return _code_survivors if codes_survivors else None


def _missing(first: type[Method], second: type[Method]) -> str:
    """Return in words why two methods cannot be composed, and the other order where that works."""
    one, other = first.name, second.name
    if not issubclass(first.gives, LowRank | Sparse):
        turned = f"; write {other}+{one}" if _rule(second, first) else ""
        return f"{one} neither prunes nor factors, and weights are coded once{turned}"
    if issubclass(second.gives, LowRank):
        return f"{other} factors as {one} does, and the product of two factors needs no others"
    if issubclass(first.gives, LowRank):
        return f"{other} keeps its mask from one distortion to the next, and {one} finds other factors at each"
    if issubclass(second.gives, Sparse):
        return f"{other} neither codes nor factors what {one} leaves: both choose what becomes zero"
    return f"{other} heeds no mask: it would give other values to weights that {one} made zero"


def _code_survivors(second: Method, weights: Sequence[Weights], first: Outcomes, at: DistortionStep) -> Outcomes:
    masked = []
    for w in weights:
        matrices = _dense(first[w.site])
        masked.append(replace(w, matrices=matrices, mask=matrices != 0))
    return second.distort(masked, at)


def _treat_factors(second: Method, weights: Sequence[Weights], first: Outcomes, at: DistortionStep) -> Outcomes:
    factors = [factor for w in weights for factor in _factors(w, first[w.site])]
    treated = second.distort(factors, at)
    return {
        w.site: _product(treated[f"{w.site}.left"], treated[f"{w.site}.right"], first[w.site], turned=w.is_table)
        for w in weights
    }


def _factors(w: Weights, outcome: Outcome) -> list[Weights]:
    """Return both factors of a site as weights of their own.

    The right factor reads the site's inputs x, the left one what that makes of them: second moments G of x are
    `right G right^T` there. The right factor of a table is multiplied with rows that were looked up: it is read as its
    transpose.
    """
    forms = [form for form in _forms(outcome) if isinstance(form, LowRank)]
    # left [count, out, rank], right [count, rank, in]; of a table right becomes [count, in, rank].
    left, right = (np.stack([getattr(form, side) for form in forms]) for side in ("left", "right"))
    upright = np.ascontiguousarray(right.transpose(0, 2, 1)) if w.is_table else right
    inner = None if w.gram is None else _seen_through(right, w.gram)
    sides = {"left": (left, inner), "right": (upright, w.gram)}
    return [
        Weights(f"{w.site}.{side}", matrices, w.node, w.is_table, gram=gram, previous=_sides(w.previous, side))
        for side, (matrices, gram) in sides.items()
    ]


def _seen_through(right: Array, gram: Gram) -> Gram:
    """Return a function for the second moments of `right @ x`, by those of x; `right` is `[count, rank, in]`."""

    def moments() -> Grams | None:
        outer = gram()
        if outer is None:
            return None
        # [count, rank, in] [count, in, in] [count, in, rank] -> [count, rank, rank].
        wide = right.astype(np.float64)
        return np.asarray(wide @ outer @ wide.transpose(0, 2, 1))

    return moments


def _product(left: Outcome, right: Outcome, untreated: Outcome, *, turned: bool) -> Outcome:
    """Join both treated factors to products; where one of them was left alone, return the untreated factors."""
    if isinstance(left, Skip) or isinstance(right, Skip):
        return untreated
    return tuple(Product(a, b, turned) for a, b in zip(left, right, strict=True))


def _factor_remainder(second: Method, weights: Sequence[Weights], first: Outcomes, at: DistortionStep) -> Outcomes:
    remainders = [replace(w, matrices=w.matrices - _dense(first[w.site]), previous=None) for w in weights]
    low = second.distort(remainders, at)
    return {w.site: _sum(first[w.site], low[w.site]) for w in weights}


def _sum(sparse: Outcome, low: Outcome) -> Outcome:
    if isinstance(low, Skip):
        return low
    return tuple(Sum(a, b) for a, b in zip(_forms(sparse), low, strict=True))


def _forms(outcome: Outcome) -> tuple[Form, ...]:
    assert not isinstance(outcome, Skip), "sites left alone by the first method are set aside"
    return outcome


def _dense(outcome: Outcome) -> Array:
    return np.stack([form.dense() for form in _forms(outcome)])


def _sides(previous: tuple[Form, ...] | None, side: str) -> tuple[Form, ...] | None:
    """Return the forms of one factor at the last distortion."""
    if previous is None or not all(isinstance(form, Product) for form in previous):
        return None
    return tuple(getattr(form, side) for form in previous)
