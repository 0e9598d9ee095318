"""A pair run on one input after the other, and what the comparison could not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dtc.checking.branches import WATCHED, Branch, has_branches, watch_branches
from dtc.checking.differences import Comparison
from dtc.checking.pair import Pair
from dtc.checking.seeking import inputs_of_branches, inputs_with_numbers
from dtc.errors import DataError, ModelError
from dtc.sample_inputs import KINDS, InputSampler, compared_constants
from dtc.session import Outputs

_KEPT = 8
"""Inputs for other runtimes: the first ones, among which are those that were drawn, and then those that were sought."""

_NAMED = 8
"""Branches that only other sizes take are mostly those that an exporter wrote for ranks that the model never has."""


class Trial:
    """Compares both models of a pair, and knows which branches of the reference its inputs took.

    Attributes:
        comparison: What was found so far.
        words: Of inputs that were sought, what they hold.
        feeds: The first inputs that were compared, and those that were sought.
    """

    def __init__(self, pair: Pair) -> None:
        self.comparison = Comparison()
        self.words: list[str] = []
        self.feeds: list[Mapping[str, Any]] = []
        self._pair = pair
        most = None if pair.turns.at_once else WATCHED
        self._watch = watch_branches(pair.models[0], pair.paths[0], most=most, threads=1, native=False)
        self._unwatched = most is not None and self._watch is None and has_branches(pair.models[0])
        self._taken: set[Branch] = set()

    def compare(self, feeds: Sequence[Mapping[str, Any]]) -> None:
        """Run both models on inputs: the reference on all, then the candidate.

        Raises:
            ModelError: The reference cannot run it.
            CandidateError: The candidate cannot.
        """
        wanted = [self.run_reference(feed) for feed in feeds]
        for outputs, feed in zip(wanted, feeds, strict=True):
            self.comparison.update(outputs, self._pair.runs[1](feed))

    def run_reference(self, feed: Mapping[str, Any]) -> Outputs:
        """Run the reference alone, and note the branches that it takes."""
        if len(self.feeds) < _KEPT:
            self.feeds.append(feed)
        if self._watch is not None:
            try:
                self._taken |= self._watch.taken(feed)
            except (ModelError, DataError):
                self._watch = None  # counted in a way that this model's loops do not allow
        return self._pair.runs[0](feed)

    def seek(self, sampler: InputSampler) -> None:
        """Compare on more inputs where those so far made no numbers of an output, or left branches out.

        Raises:
            CandidateError: The candidate cannot run what the reference runs.
        """
        numbers = list(inputs_with_numbers(sampler, self._pair.attempt, self.comparison.vacuous()))
        self.compare([feed for feed, _ in numbers])
        self.words += [f"one of {word} numbers" for _, word in numbers]
        untaken = {branch for branch in self._untaken() if not branch.by_size}
        if self._watch is None or not untaken:
            return
        constants = compared_constants(self._pair.models[0])
        found = list(inputs_of_branches(sampler, self._pair.attempt, self._watch, constants, untaken))
        self.compare(found)
        if found:
            self.words.append(f"{len(found)} for branches")

    def failures(self) -> tuple[str, ...]:
        """Return what both models may not differ in, and the outputs of which nothing could be compared."""
        return (
            *self.comparison.problems,
            *(
                f"output {name!r}: nothing could be compared, as the reference gives no finite number for any input "
                f"tried ({', '.join(KINDS)} ones); give inputs of which it does (--data or --input)"
                for name in self.comparison.vacuous()
            ),
        )

    def caveats(self) -> tuple[str, ...]:
        """Return in words what was not compared, though nothing is wrong with it."""
        told = [f"output {name!r} was empty in all runs" for name in self.comparison.empty()]
        if self._unwatched:
            told.append("which branches the inputs took was not watched, which takes a second session of a large model")
        untaken = sorted(self._untaken())
        if by_number := [str(branch) for branch in untaken if not branch.by_size]:
            told.append(
                f"not compared, as no input took it: {', '.join(by_number)}; --data or --input gives inputs that do"
            )
        if by_size := [str(branch) for branch in untaken if branch.by_size]:
            more = f" and {len(by_size) - _NAMED} more" if len(by_size) > _NAMED else ""
            told.append(f"not compared, as no size of the inputs took it: {', '.join(by_size[:_NAMED])}{more}")
        if self._pair.random:
            told.append("the model draws random numbers: both models were compared with the same ones")
        return tuple(told)

    def _untaken(self) -> set[Branch]:
        return set() if self._watch is None else set(self._watch.branches) - self._taken
