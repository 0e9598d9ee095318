"""Candidates: a method at a rate, made from the values that each option declares as worth trying."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from dtc.errors import RuleError, UsageError
from dtc.passes.compose import compositions, make_methods
from dtc.passes.method import Method, find_method, methods
from dtc.passes.options import (
    Options,
    is_crossed,
    tried,
    tried_alone,
    tried_between,
    tried_closer,
    tried_in_pairs,
)
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
    """Return the methods to try where none are named, and the pairs whose methods both declare values for that.

    Left out are those that run the whole model for each of their decisions, and those that differ from another one in
    retraining alone.
    """
    kinds = {name: kind for name, kind in methods().items() if "probe" not in kind.needs and not kind.keeps_mask}
    pairs = [
        f"{first}+{second}"
        for first, second in compositions()
        if first in kinds and tried_in_pairs(kinds[first].options_type, "first")
        if second in kinds and tried_in_pairs(kinds[second].options_type, "second")
    ]
    return (*sorted(kinds), *pairs)


def worth_trying(names: Iterable[str]) -> tuple[Candidate, ...]:
    """Return the candidates of methods, and of compositions of two.

    Raises:
        UsageError: There is no such method or composition, or it declares no values worth trying.
    """
    found: dict[Candidate, None] = {}
    for name in names:
        made = [
            Candidate.of(name, {key: value for options in chosen for key, value in options.items()})
            for chosen in itertools.product(*_parts(name))
        ]
        fitting = [candidate for candidate in made if _is_valid(candidate)]
        if not fitting:
            _require(name)
            raise UsageError(f"--methods {name}: declares no values worth trying, so there is nothing to search")
        found |= dict.fromkeys(fitting)
    return tuple(found)


def closer(candidate: Candidate) -> tuple[Candidate, ...]:
    """Return the candidates that compute what this one does, and may take less, as by Huffman codes."""
    given = dict(candidate.options)
    options: dict[str, tuple[Any, ...]] = {}
    for part in candidate.method.split("+"):
        kind = find_method(part).options_type
        if given.keys().isdisjoint(tried_alone(kind)):
            options |= tried_closer(kind)
    more = {name: values for name, values in options.items() if name not in given}
    made = [
        Candidate.of(candidate.method, {**given, **dict(zip(more, values, strict=True))})
        for values in itertools.product(*more.values())
    ]
    return tuple(each for each in made if each != candidate and _is_valid(each))


def between(candidate: Candidate) -> tuple[Candidate, ...]:
    """Return the candidates next to one at single sites: at rates between its own and those that were tried."""
    found: dict[Candidate, None] = {}
    for part in candidate.method.split("+"):
        for name, distance in tried_between(find_method(part).options_type).items():
            given = dict(candidate.options)
            if given.get(name) is None:
                continue
            made = (Candidate.of(candidate.method, given | {name: given[name] + way}) for way in (-distance, distance))
            found |= dict.fromkeys(each for each in made if _is_valid(each))
    return tuple(found)


def _parts(name: str) -> list[list[Mapping[str, Any]]]:
    """Return the options worth trying of each method of a composition, or of the one method."""
    kinds = [find_method(part).options_type for part in name.split("+")]
    if len(kinds) != 2:
        return [list(_rates(kind)) for kind in kinds]
    return [list(_rates_in_pair(kinds[0], "first")), list(_rates_in_pair(kinds[1], "second"))]


def _rates_in_pair(kind: type[Options], place: Literal["first", "second"]) -> Iterator[Mapping[str, Any]]:
    """Yield the options of each rate of a method that is one of two; all rates where it declares none for that."""
    values = tried_in_pairs(kind, place)
    if not any(name in values for name in kind.one_of or tuple(values)[:1]):
        yield from _rates(kind)
        return
    for chosen in itertools.product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def _rates(kind: type[Options]) -> Iterator[Mapping[str, Any]]:
    """Yield the options of each rate of a method: values of its first rate, or of each of which one has to be given.

    Before them come those that are rates by themselves.
    """
    alone = tried_alone(kind)
    for name, chosen in alone.items():
        yield from ({name: value} for value in chosen)
    values = {name: tried(field) for name, field in kind.model_fields.items() if tried(field) and name not in alone}
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
