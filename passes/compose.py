"""Compositions: two methods in the order written, `prune+binary` for one.

prune, then a coder: the survivors alone are coded (masked coding; algorithms of Lee et al., 2018 to 2020).
svd, then a coder or prune: both factors are treated.
prune, then svd: the largest weights stay sparse and what remains becomes low rank, `W = S + L`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from dtc.errors import RuleError
from dtc.forms import Array, Form, LowRank
from dtc.forms.composite import Product, Sum
from dtc.passes.method import DistortionStep, Latents, Method, Need, Outcome, Skip, Weights, make_method, options_of

Outcomes = Mapping[str, Outcome]

CODERS = frozenset({"binary", "uniform", "codebook", "bins"})
"""Methods that write every kept weight as a code."""


class Combine(Protocol):
    """How a second method goes on from what the first one gave."""

    def __call__(self, second: Method, weights: Sequence[Weights], first: Outcomes, at: DistortionStep) -> Outcomes:
        """Return the outcomes of both together."""
        ...


class Composition:
    """Two methods as one; it has the attributes that a plan needs of a method."""

    def __init__(self, first: Method, second: Method) -> None:
        self.first, self.second = first, second
        self.needs: frozenset[Need] = first.needs | second.needs
        self.keeps_mask = first.keeps_mask or second.keeps_mask
        self._combine = _rule(first.name, second.name)
        self._codes_survivors = self._combine is _code_survivors

    def at_full_strength(self, at: DistortionStep) -> bool:
        """True where both have their full strength."""
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
        if self._codes_survivors and not self.first.at_full_strength(at):
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
    stranger = next((option for option in options if option not in options_of(name)), None)
    if stranger is not None:
        flag = f"--{stranger.replace('_', '-')}"
        neither = f"is an option of neither method of {name}"
        raise RuleError(f"{flag} {neither}", ("options", stranger), neither)
    if parts[0] == "svd" and options.get("keep_assignments"):
        why = "holds for codes of weights; factors are found anew at every distortion, and their codes with them"
        raise RuleError(f"--keep-assignments {why}", ("options", "keep_assignments"), why)
    made = [make_method(part, {k: v for k, v in options.items() if k in options_of(part)}) for part in parts]
    return Composition(made[0], made[1])


def _rule(first: str, second: str) -> Combine:
    if first.startswith("prune") and second in CODERS:
        return _code_survivors
    if first == "svd" and (second in CODERS or second == "prune"):
        return _treat_factors
    if first.startswith("prune") and second == "svd":
        return _factor_remainder
    raise RuleError(f"method {first}+{second} makes no sense: {_reason(first, second)}", ("method",))


def _reason(first: str, second: str) -> str:
    if first in CODERS and second.startswith("prune"):
        return f"{first} codes cannot represent the zeros that are cut into them afterwards; write {second}+{first}"
    if first in CODERS and second == "svd":
        return f"the product of factors is no {first} code any more; write svd+{first}"
    if first in CODERS and second in CODERS:
        return "weights are coded once"
    return "there is no form that holds both"


def _code_survivors(second: Method, weights: Sequence[Weights], first: Outcomes, at: DistortionStep) -> Outcomes:
    masked = []
    for w in weights:
        matrices = _dense(first[w.site])
        masked.append(replace(w, matrices=matrices, mask=matrices != 0))
    return second.distort(masked, at)


def _treat_factors(second: Method, weights: Sequence[Weights], first: Outcomes, at: DistortionStep) -> Outcomes:
    factors: list[Weights] = []
    for w in weights:
        forms = [form for form in _forms(first[w.site]) if isinstance(form, LowRank)]
        for side in ("left", "right"):
            stack = np.stack([getattr(form, side) for form in forms])
            if side == "right" and _turns(w):
                stack = np.ascontiguousarray(stack.transpose(0, 2, 1))
            previous = _sides(w.previous, side)
            factors.append(Weights(f"{w.site}.{side}", w.role, stack, w.node, previous=previous))
    treated = second.distort(factors, at)
    return {
        w.site: _product(treated[f"{w.site}.left"], treated[f"{w.site}.right"], first[w.site], turned=_turns(w))
        for w in weights
    }


def _turns(w: Weights) -> bool:
    """The right factor of an embedding is multiplied with rows that were looked up: it is read as its transpose."""
    return w.role == "Gather"


def _product(left: Outcome, right: Outcome, untreated: Outcome, *, turned: bool) -> Outcome:
    """Join the factors; one that is left alone stays dense where the other is treated."""
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
