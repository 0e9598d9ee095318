"""The plan of a run: which method has which site, and one distortion of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.errors import ModelError, UsageError
from dtc.forms import Array, Form
from dtc.graph import Role, Site, find_sites, source_of
from dtc.passes.lower import Compressed, lowerings
from dtc.passes.method import Method, Moment, Outcome, Skip, Weights, make_method

_SHAPE_ONLY = frozenset({"Squeeze", "Unsqueeze", "Reshape", "Transpose", "Flatten"})


class RuleLike(Protocol):
    """A rule of a recipe: a method, its options, and the sites that it is for."""

    @property
    def method(self) -> str:
        """Name of a method."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """Its options."""
        ...

    @property
    def include(self) -> Sequence[str]:
        """Globs of sites that it is for."""
        ...

    @property
    def exclude(self) -> Sequence[str]:
        """Globs of sites that it leaves alone."""
        ...


@dataclass(frozen=True)
class Distorted:
    """All sites after one distortion.

    Attributes:
        dense: The distorted weights, float32, of the initializer's shape, by site.
        forms: The forms that they are exactly representable in, one for each matrix, by site.
        skipped: Why a site was left alone, by site.
    """

    dense: dict[str, Array] = field(default_factory=dict)
    forms: dict[str, tuple[Form, ...]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Which method has which sites."""

    sites: tuple[Site, ...]
    chosen: tuple[tuple[Method, tuple[Site, ...]], ...]
    skipped: Mapping[str, str]

    def distort(
        self, parameters: Mapping[str, npt.NDArray[np.generic]] | None = None, moment: Moment = Moment()
    ) -> Distorted:
        """Distort every chosen site once; sites that `parameters` does not name have the model's own weights.

        Raises:
            UsageError: A method refuses its options for these sites.
        """
        result = Distorted(skipped=dict(self.skipped))
        for method, sites in self.chosen:
            arrays = parameters or {}
            weights = [_weights(site, arrays.get(site.name), self.sites) for site in sites]
            outcomes = method.distort(weights, moment)
            for site in sites:
                _enter(result, site, outcomes[site.name])
        return result

    def compressed(self, forms: Mapping[str, tuple[Form, ...]]) -> list[Compressed]:
        """Pair the sites with their forms, for lowering."""
        return [Compressed(site, forms[site.name]) for site in self.sites if site.name in forms]


def make_plan(model: ir.Model, rules: Sequence[RuleLike]) -> Plan:
    """Give every site of a normalised model to the first rule that matches it.

    Raises:
        ModelError: The model has no site at all.
        UsageError: A rule names an unknown method or option, or matches no site.
    """
    sites = find_sites(model)
    if not sites and rules:
        raise ModelError("the model holds no float weight that dtc can compress (already quantized?); see dtc inspect")
    chosen: list[tuple[Method, list[Site]]] = []
    skipped = {site.name: "no rule of the recipe matches it" for site in sites}
    for rule in rules:
        method = make_method(rule.method, rule.options)
        wanted = [site for site in sites if site.matches(rule.include)]
        if not wanted:
            raise UsageError(f"--include {' '.join(rule.include)} matches no site; see dtc inspect for their names")
        taken = [site for site in wanted if site.name in skipped and not site.matches(rule.exclude)]
        for site in wanted:
            if site.name in skipped and site.matches(rule.exclude):
                skipped[site.name] = "excluded"
        for site in taken:
            del skipped[site.name]
        chosen.append((method, taken))
    return Plan(tuple(sites), tuple((method, tuple(taken)) for method, taken in chosen), skipped)


def _enter(result: Distorted, site: Site, outcome: Outcome) -> None:
    if isinstance(outcome, Skip):
        result.skipped[site.name] = outcome.reason
        return
    refused = lowerings()[outcome[0].kind].refuse(site)
    if refused is not None:
        result.skipped[site.name] = refused
        return
    result.forms[site.name] = outcome
    result.dense[site.name] = site.restore(np.stack([form.dense() for form in outcome]))


def _weights(site: Site, array: npt.NDArray[np.generic] | None, sites: Sequence[Site]) -> Weights:
    return Weights(
        site=site.name,
        role=str(site.role),
        matrices=site.matrices(array),
        node=site.readers[0].node_name,
        feeds=_fed_by(site, sites),
        kernel=site.shape[2:] if site.role is Role.CONV else (),
    )


def _fed_by(site: Site, sites: Sequence[Site]) -> tuple[str, ...]:
    """Names of the recurrent input weights that read nothing but the output sequence of this site's node."""
    if site.role not in (Role.LSTM_RECURRENT, Role.GRU_RECURRENT):
        return ()
    node = site.readers[0].node
    followers = [s for s in sites if s.role in (Role.LSTM_INPUT, Role.GRU_INPUT)]
    return tuple(s.name for s in followers if _producer(s.readers[0].node.inputs[0]) is node)


def _producer(value: ir.Value | None) -> ir.Node | None:
    """The node that computes a value, seen through nodes that only rearrange it."""
    value = source_of(value)
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in _SHAPE_ONLY:
            return node
        value = source_of(node.inputs[0])
    return None
