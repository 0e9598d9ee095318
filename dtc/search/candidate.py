"""Candidates: a method at a rate, made from the values that each option declares as worth trying."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from dtc.errors import RuleError, UsageError
from dtc.passes.compose import make_methods
from dtc.passes.method import Method, find_method, methods
from dtc.passes.options import Options, is_crossed, tried
from dtc.recipe import Rule


@dataclass(frozen=True)
class Candidate:
    """A method at a rate.

    Attributes:
        method: Its name, or two joined by a plus sign.
        options: Those that are not left at their defaults.
    """

    method: str
    options: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def words(self) -> str:
        """The candidate in words, by which it is known: `codebook block=1 codewords=16`."""
        return " ".join([self.method, *(f"{name}={value}" for name, value in self.options)])

    def rule(self, sites: Iterable[str] | None = None) -> Rule:
        """Return the rule that gives sites, or all of them, to this candidate."""
        include = ("*",) if sites is None else tuple(map(glob.escape, sites))
        return Rule(method=self.method, options=dict(self.options), include=include)

    @classmethod
    def of(cls, method: str, options: Mapping[str, Any]) -> Candidate:
        """Return a candidate; the order of the options is without meaning."""
        return cls(method, tuple(sorted(options.items())))


Mix: TypeAlias = "tuple[tuple[str, Candidate], ...]"
"""What each site is compressed by, sorted by the sites' names; those that are not in it stay as they are."""


def mix_of(chosen: Mapping[str, Candidate]) -> Mix:
    """Return a mix of the candidate of each site."""
    return tuple(sorted(chosen.items(), key=lambda each: each[0]))


def rules_of(mix: Mix) -> tuple[Rule, ...]:
    """Return a rule for each candidate of a mix, with its sites, in the order of their names."""
    sites: dict[Candidate, list[str]] = {}
    for site, candidate in mix:
        sites.setdefault(candidate, []).append(site)
    return tuple(candidate.rule(sites[candidate]) for candidate in sorted(sites, key=lambda each: each.words))


def default_methods() -> tuple[str, ...]:
    """Return the methods to try where none are named.

    Left out are those that run the whole model for each of their decisions, and those that differ from another one in
    retraining alone.
    """
    return tuple(sorted(name for name, kind in methods().items() if "probe" not in kind.needs and not kind.keeps_mask))


def worth_trying(names: Iterable[str]) -> tuple[Candidate, ...]:
    """Return the candidates of methods, and of compositions of two.

    Raises:
        UsageError: There is no such method or composition, or it declares no values worth trying.
    """
    found: dict[Candidate, None] = {}
    for name in names:
        parts = [list(_rates(find_method(part).options_type)) for part in name.split("+")]
        made = [
            Candidate.of(name, {key: value for options in chosen for key, value in options.items()})
            for chosen in itertools.product(*parts)
        ]
        fitting = [candidate for candidate in made if _is_valid(candidate)]
        if not fitting:
            _require(name)
            raise UsageError(f"--methods {name}: declares no values worth trying, so there is nothing to search")
        found |= dict.fromkeys(fitting)
    return tuple(found)


def _rates(kind: type[Options]) -> Iterator[Mapping[str, Any]]:
    """Yield the options of each rate of a method: values of its first rate, or of each of which one has to be given."""
    values = {name: tried(field) for name, field in kind.model_fields.items() if tried(field)}
    crossed = [name for name in values if is_crossed(kind.model_fields[name])]
    rates = [name for name in kind.one_of if name in values] or [name for name in values if name not in crossed][:1]
    for rate in rates:
        names = [rate, *crossed]
        for chosen in itertools.product(*(values[name] for name in names)):
            yield dict(zip(names, chosen, strict=True))


def _require(name: str) -> None:
    """Raise what is wrong with the name of a method or composition."""
    made: Any = find_method(name) if "+" not in name else make_methods(name, {})
    assert made is not None


def _is_valid(candidate: Candidate) -> bool:
    try:
        made: Method | Any = make_methods(candidate.method, dict(candidate.options))
    except RuleError as error:
        if error.path[:1] == ("method",):
            raise
        return False
    return made is not None
