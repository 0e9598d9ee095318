"""Inputs that show what usual ones do not: numbers where those made NaN of an output, and the branches left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from dtc.checking.branches import Branch, BranchWatch, assignments
from dtc.checking.items import comparable, items
from dtc.errors import DataError, ModelError
from dtc.sample_inputs import KINDS, USUAL, Inputs, InputSampler

_MOST_TRIES = 64

Attempt = Callable[[Inputs], Mapping[str, Any]]
"""Runs the reference; raises ModelError or DataError where it cannot."""


def inputs_with_numbers(
    sampler: InputSampler, attempt: Attempt, outputs: Collection[str]
) -> Iterator[tuple[Inputs, str]]:
    """Yield the fewest inputs of which every one of `outputs` holds numbers, each with the word for what it holds."""
    missing = set(outputs)
    for kinds in _choices_of_kinds(sampler):
        if not missing:
            return
        feed = sampler.draw(kinds)
        shown = {name for name, value in _outputs(attempt, feed).items() if name in missing and _holds_numbers(value)}
        if shown:
            missing -= shown
            yield feed, " and ".join(dict.fromkeys(kinds.values()))


def inputs_of_branches(
    sampler: InputSampler,
    attempt: Attempt,
    watch: BranchWatch,
    constants: Mapping[str, list[object]],
    untaken: Collection[Branch],
) -> Iterator[Inputs]:
    """Yield inputs that take branches which no input took so far, and of which the outputs hold numbers if any do.

    Inputs are held at `constants`, which the model compares them with; then other kinds of numbers are drawn.
    """
    missing = set(untaken)
    free = {spec.name for spec in sampler.free}
    held = assignments({name: each for name, each in constants.items() if name in free}, _MOST_TRIES)
    tries: list[tuple[dict[str, str], dict[str, object]]] = [({}, each) for each in held]
    tries += [(kinds, {}) for kinds in _choices_of_kinds(sampler)[: len(KINDS)]]
    for kinds, values in tries:
        if not missing:
            return
        gained = _taken(watch, sampler.draw(kinds, values)) & missing
        if gained:
            missing -= gained
            yield _with_numbers(sampler, attempt, watch, kinds, values, gained)


def _with_numbers(
    sampler: InputSampler,
    attempt: Attempt,
    watch: BranchWatch,
    kinds: Mapping[str, str],
    held: Mapping[str, object],
    wanted: Collection[Branch],
) -> Inputs:
    first = sampler.draw(kinds, held)
    for choice in ({}, *_choices_of_kinds(sampler)[: len(KINDS)]):
        feed = sampler.draw({**kinds, **choice}, held)
        outputs = _outputs(attempt, feed)
        if outputs and all(map(_holds_numbers, outputs.values())) and set(wanted) <= _taken(watch, feed):
            return feed
    return first


def _choices_of_kinds(sampler: InputSampler) -> list[dict[str, str]]:
    """Return which kinds of numbers to try: first the same one for all inputs of floats, then one for one input."""
    floats = [spec.name for spec in sampler.free if "float" in spec.dtype]
    kinds = [kind for kind in KINDS if kind != USUAL]
    if not floats:
        return []
    alone = [{name: kind} for kind in kinds for name in floats] if len(floats) > 1 else []
    return [dict.fromkeys(floats, kind) for kind in kinds] + alone[:_MOST_TRIES]


def _outputs(attempt: Attempt, feed: Inputs) -> Mapping[str, Any]:
    try:
        return attempt(feed)
    except (ModelError, DataError):
        return {}


def _taken(watch: BranchWatch, feed: Inputs) -> frozenset[Branch]:
    try:
        return watch.taken(feed)
    except (ModelError, DataError):
        return frozenset()


def _holds_numbers(value: object) -> bool:
    arrays = [array for _, array in items(value) if array is not None and array.size]
    return not arrays or any(comparable(array).any() for array in arrays)
