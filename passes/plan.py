"""The plan of a run: which method has which site, and one distortion of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.device_arrays import DeviceArray, has_doubles, on_host
from dtc.errors import ModelError, RuleError
from dtc.forms import Array, BinaryCode, Form, stacked
from dtc.graph import CONVOLUTIONS, Role, Site, find_sites, source_of
from dtc.graph.opset import opset_of
from dtc.passes.compose import Composition, make_methods
from dtc.passes.leftovers import why_no_sites
from dtc.passes.lower import Compressed, kind_of, unfit_opset
from dtc.passes.method import DistortionStep, Gram, Latents, Method, Need, Outcome, Skip, Weights, make_method
from dtc.recipe import Rule

_SHAPE_ONLY = frozenset({"Squeeze", "Unsqueeze", "Reshape", "Transpose", "Flatten"})

_LARGEST = 1e15
"""Magnitude of weights up to which sums of squares stay within float32."""


@dataclass(frozen=True)
class Distorted:
    """All sites after one distortion.

    Attributes:
        dense: The distorted weights, float32, of the initializer's shape, by site.
        forms: The forms that they are exactly representable in, one for each matrix, by site.
        skipped: Why a method left a site alone, by site; with forms all the same where it is rounded with the rest.
    """

    dense: dict[str, Array] = field(default_factory=dict)
    forms: dict[str, tuple[Form, ...]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Portion:
    """Sites that a method takes at once."""

    method: Method | Composition
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class Plan:
    """Which method has which sites."""

    sites: tuple[Site, ...]
    chosen: tuple[tuple[Method | Composition, tuple[Site, ...]], ...]
    skipped: Mapping[str, str]
    opset: int
    """The model's own, in which new nodes have to be written."""
    rest: Method | None = None
    """What takes the sites that their own method leaves alone; None: they stay as they are."""

    @property
    def needs(self) -> frozenset[Need]:
        """Facts and arrays that the methods of this plan want a run to provide."""
        return frozenset().union(*(method.needs for method, _ in self.chosen))

    @property
    def compensated(self) -> list[Site]:
        """The sites whose method was told to make up for errors, and cannot do without samples."""
        return [site for method, sites in self.chosen if method.told_to_compensate for site in sites]

    def sites_with(self, need: Need) -> list[Site]:
        """Return the sites whose method wants a fact or an array of that name."""
        return [site for method, sites in self.chosen if need in method.needs for site in sites]

    def distort(
        self,
        parameters: Mapping[str, DeviceArray] | None = None,
        at: DistortionStep = DistortionStep(),
        previous: Mapping[str, tuple[Form, ...]] | None = None,
        gradients: Mapping[str, DeviceArray] | None = None,
        grams: Callable[[Site], Gram | None] = lambda _: None,
    ) -> Distorted:
        """Distort every chosen site once; sites that `parameters` does not name have the model's own weights.

        Parameters may lie on a device, where a method that can does its arithmetic; the result is in host memory.

        `previous` are the forms of the distortion before, `gradients` the mean magnitudes of gradients, of the
        initializer's shape, `grams` gives what computes the second moments of a site's inputs.

        Raises:
            UsageError: A method refuses its options for these sites.
        """
        self.refuse_sizes()
        result = Distorted(skipped=dict(self.skipped))
        arrays, slopes = parameters or {}, gradients or {}
        for portion in self.portions(at):
            weights = [
                weights_of(
                    site,
                    self.sites,
                    _within_reach(portion.method, arrays.get(site.name)),
                    gradient=site.matrices(on_host(slopes[site.name])) if site.name in slopes else None,
                    gram=grams(site),
                    previous=None if self._is_rest(site.name, previous or {}) else (previous or {}).get(site.name),
                )
                for site in portion.sites
            ]
            outcomes = portion.method.distort(weights, at)
            for site, given in zip(portion.sites, weights, strict=True):
                self._enter(result, site, outcomes[site.name], given, at)
        return result

    def _enter(self, result: Distorted, site: Site, outcome: Outcome, given: Weights, at: DistortionStep) -> None:
        forms, reason = self.settled(site, outcome, lambda: given, at)
        if reason is not None:
            result.skipped[site.name] = reason
        if forms:
            result.forms[site.name], result.dense[site.name] = forms, dense_of(site, forms)

    def refuse_sizes(self) -> None:
        """Stop where a method's options suit none of its sites.

        Raises:
            UsageError: They do.
        """
        for method, sites in self.chosen:
            method.refuse_sizes([(site.view.rows, site.view.cols) for site in sites])

    def portions(self, at: DistortionStep) -> Iterator[Portion]:
        """Yield the sites as their methods take them: one at a time, but where a method looks at several together."""
        for method, sites in self.chosen:
            if method.by_site and (at.probe is None or "probe" not in method.needs):
                yield from (Portion(method, (site,)) for site in sites)
            elif sites:
                yield Portion(method, sites)

    def settled(
        self, site: Site, outcome: Outcome, given: Callable[[], Weights], at: DistortionStep
    ) -> tuple[tuple[Form, ...], str | None]:
        """Return the forms of a site, and why its own method leaves it alone.

        There are both where the method for the rest has rounded it; `given` returns what that one gets to see.
        """
        first = self._lowerable(site, outcome)
        if not isinstance(first, Skip):
            return first, None
        if self.rest is None:
            return (), first.reason
        second = self._lowerable(site, self.rest.distort([given()], at)[site.name])
        return () if isinstance(second, Skip) else second, first.reason

    def _lowerable(self, site: Site, outcome: Outcome) -> Outcome:
        """Return an outcome, or why it is no use: a form that a site cannot be lowered to is none, however small."""
        if isinstance(outcome, Skip):
            return outcome
        refused = kind_of(outcome[0]).refuse(site) or unfit_opset(outcome[0], self.opset)
        return outcome if refused is None else Skip(refused)

    def _is_rest(self, name: str, forms: Mapping[str, tuple[Form, ...]]) -> bool:
        """Return whether the forms of a site are none of its own method."""
        if self.rest is None or name not in forms:
            return False
        form = forms[name][0]
        # Levels with an offset: no other method than the one for the rest gives them and has something to keep of them.
        return isinstance(form, BinaryCode) and form.offset is not None and form.mask is None

    @property
    def taken(self) -> list[Site]:
        """The sites that have a method."""
        return [site for _, sites in self.chosen for site in sites]

    @property
    def in_integers(self) -> list[Site]:
        """The sites whose method wants the activations around them rounded, to be multiplied as integers."""
        return [site for method, sites in self.chosen if method.rounds_activations for site in sites]

    def at_full_strength(self, at: DistortionStep) -> bool:
        """True where every method of the plan has its full strength."""
        return all(method.at_full_strength(at) for method, _ in self.chosen)

    def masks(self, forms: Mapping[str, tuple[Form, ...]]) -> dict[str, npt.NDArray[np.bool_]]:
        """Return which weights training may change until the next distortion, by site, where a method keeps a mask."""
        return {
            site.name: dense_of(site, forms[site.name]) != 0
            for method, sites in self.chosen
            if method.keeps_mask
            for site in sites
            if site.name in forms and not self._is_rest(site.name, forms)
        }

    def latents(self, forms: Mapping[str, tuple[Form, ...]], trained: Container[str]) -> SiteLatents | None:
        """Return what training shall change from now on in place of some `trained` sites' weights, if a method says."""
        parts = []
        for method, sites in self.chosen:
            own = [site for site in sites if site.name in forms and not self._is_rest(site.name, forms)]
            coded = {site.name: forms[site.name] for site in own}
            latents = method.latents(coded, trained) if coded else None
            if latents is not None:
                parts.append((latents, {site.name: site for site in own}))
        return SiteLatents(parts) if parts else None

    def compressed(self, forms: Mapping[str, tuple[Form, ...]]) -> list[Compressed]:
        """Pair the sites with their forms, for lowering."""
        return [Compressed(site, forms[site.name]) for site in self.sites if site.name in forms]


class SiteLatents:
    """The latents of all methods of a plan, in terms of initializers.

    Attributes:
        arrays: float32, by name, live.
    """

    def __init__(self, parts: Sequence[tuple[Latents, Mapping[str, Site]]]) -> None:
        self._parts = parts
        self.arrays = {name: array for latents, _ in parts for name, array in latents.arrays.items()}
        self._made = frozenset(self.forms())

    def gradients(self, gradients: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, Array]:
        """Return the gradients of all that is trained, given those of the initializers.

        Those of `arrays` are in, those of initializers that are made of them are out.
        """
        found: dict[str, Array] = {n: np.asarray(g, np.float32) for n, g in gradients.items() if n not in self._made}
        for latents, sites in self._parts:
            found |= latents.gradients({n: s.matrices(gradients[n]) for n, s in sites.items() if n in self._made})
        return found

    def forms(self) -> dict[str, tuple[Form, ...]]:
        """Return the forms that the present numbers make, by site."""
        return {name: forms for latents, _ in self._parts for name, forms in latents.forms().items()}

    def dense(self) -> dict[str, Array]:
        """Return the weights that the latents make, float32 of the initializer's shape, by site."""
        by_name = {name: site for _, sites in self._parts for name, site in sites.items()}
        return {name: dense_of(by_name[name], forms) for name, forms in self.forms().items()}


def weights_of(site: Site, sites: Sequence[Site] = (), array: DeviceArray | None = None, **facts: Any) -> Weights:
    """Return what a method sees of a site, its weights being `array` or else the model's own.

    `sites` are all sites of the model, among which a recurrent weight finds its partners; `facts` are what a run adds:
    mask, gradient, gram, previous.
    """
    return Weights(matrices=site.matrices(array), **facts_of(site, sites), **facts)


def facts_of(site: Site, sites: Sequence[Site] = ()) -> dict[str, Any]:
    """Return what a method sees of a site beside its weights: the fields of `Weights` that the graph tells."""
    return {
        "site": site.name,
        "node": site.readers[0].node_name,
        "is_table": site.role is Role.EMBEDDING,
        "partner": _partner(site, sites),
        "feeds": _fed_by(site, sites),
        "kernel": site.shape[2:] if site.role in CONVOLUTIONS else (),
    }


def make_plan(model: ir.Model, rules: Sequence[Rule], rest_bits: int | None = None) -> Plan:
    """Give every site of a normalised model to the first rule that matches it.

    Sites that the rule's method then leaves alone are rounded to `rest_bits`, where given; those that no rule takes,
    and those that are excluded, are the user's own.

    Raises:
        ModelError: The model has no site at all.
        UsageError: A rule names an unknown method or option, or matches no site.
    """
    sites = find_sites(model)
    if rules and (why := why_no_sites(model, sites)) is not None:
        raise ModelError(f"the model holds no float weight that dtc can compress; {why}; see dtc inspect")
    chosen: list[tuple[Method | Composition, list[Site]]] = []
    # `skipped` are the sites that no rule has yet: a site goes to the first rule that includes and does not exclude it.
    skipped = {site.name: "no rule of the recipe matches it" for site in sites}
    broken = {site.name: reason for site in sites if (reason := _not_finite(site)) is not None}
    for index, rule in enumerate(rules):
        try:
            method = make_methods(rule.method, rule.options)
        except RuleError as error:
            raise error.within("rules", index) from error
        wanted = [site for site in sites if site.matches(rule.include)]
        if not wanted:
            unmatched = f"{' '.join(rule.include)} matches no site; see dtc inspect for their names"
            raise RuleError(f"--include {unmatched}", ("rules", index, "include"), unmatched)
        skipped |= {site.name: broken[site.name] for site in wanted if site.name in broken}
        offered = [site for site in wanted if site.name in skipped and site.name not in broken]
        taken = [site for site in offered if not site.matches(rule.exclude)]
        for site in wanted:
            # Left for later rules, with a better reason if none takes it.
            if site.name in skipped and site.matches(rule.exclude):
                skipped[site.name] = "excluded"
        for site in taken:
            del skipped[site.name]
        chosen.append((method, taken))
    rest = None if rest_bits is None else make_method("uniform", {"bits": rest_bits})
    given = tuple((method, tuple(taken)) for method, taken in chosen)
    return Plan(tuple(sites), given, skipped, opset_of(model), rest)


def _within_reach(method: Method | Composition, array: DeviceArray | None) -> DeviceArray | None:
    """Return an array where a method can compute with it."""
    return array if array is None or (method.on_device and has_doubles(array)) else on_host(array)


def _not_finite(site: Site) -> str | None:
    """Return why no method has a site: there is no nearest form of a number that is none."""
    array = site.array()
    largest = max(float(array.max(initial=0)), -float(array.min(initial=0)))  # NaN if there is one
    if largest <= _LARGEST:
        return None
    if math.isfinite(largest):
        return f"holds numbers up to {largest:.1e}, whose squares float32 cannot add up"
    return "holds NaN" if math.isnan(largest) else "holds an infinite number"


def dense_of(site: Site, forms: Sequence[Form]) -> Array:
    """Return the weight that forms stand for, float32 of the initializer's shape."""
    return site.restore(stacked(forms))


_INPUT_OF = {
    Role.LSTM_RECURRENT: Role.LSTM_INPUT,
    Role.GRU_RECURRENT: Role.GRU_INPUT,
    Role.RNN_RECURRENT: Role.RNN_INPUT,
}
"""The role of the input weight that a layer has beside its recurrent one."""


def _partner(site: Site, sites: Sequence[Site]) -> str | None:
    """Return the name of the input weight of a recurrent weight's own layer; None where there is none."""
    node = site.readers[0].node
    return next((other.name for other in _inputs_beside(site, sites) if other.readers[0].node is node), None)


def _fed_by(site: Site, sites: Sequence[Site]) -> tuple[str, ...]:
    """Return the names of the input weights that read only the output sequence of a recurrent weight's layer."""
    node = site.readers[0].node
    inputs = _inputs_beside(site, sites)
    return tuple(s.name for s in inputs if _producer(s.readers[0].node.inputs[0]) is node)


def _inputs_beside(site: Site, sites: Sequence[Site]) -> list[Site]:
    return [other for other in sites if other.role is _INPUT_OF.get(site.role)]


def _producer(value: ir.Value | None) -> ir.Node | None:
    """Return the node that computes a value, seen through nodes that only rearrange its elements; None for an input."""
    value = source_of(value)
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in _SHAPE_ONLY:
            return node
        value = source_of(node.inputs[0])
    return None
