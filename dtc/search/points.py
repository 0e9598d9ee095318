"""Points of a search: mixes that were built and measured, and the best of them for a goal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.optimize import isotonic_regression

from dtc.recipe import Training
from dtc.search.candidate import Mix
from dtc.search.goal import Goal
from dtc.search.retrained import RetrainMix
from dtc.search.tasks import BuildMix, Task
from dtc.search.workers import BestSoFar, Evaluations


@dataclass(frozen=True)
class BuiltPoint:
    """A mix whose file was made and run.

    Attributes:
        mix: What each site is compressed by.
        nbytes: Bytes of the file.
        distance: Mean distance of its outputs, on the samples that the search decides by.
        drop: What the metric loses there, in the unit of the goal's limit.
        after: The metric.
        error: Standard error of the drop.
        samples: How many samples, or blocks of a stream, the drop and its error were told by.
        latency: Time of a run as a share of the original's; None: it was not measured.
        training: How it was retrained; None: it was not.
    """

    mix: Mix
    nbytes: int
    distance: float
    drop: float
    after: float
    error: float
    samples: int
    latency: float | None = None
    training: Training | None = None

    @property
    def words(self) -> str:
        """What it is made of: each candidate with its number of sites."""
        counts: dict[str, int] = {}
        for _, candidate in self.mix:
            counts[candidate.words] = counts.get(candidate.words, 0) + 1
        ranked = sorted(counts.items(), key=lambda each: -each[1])
        words = ", ".join(f"{count} x {words}" for words, count in ranked)
        return words if self.training is None else f"{words}; retrained"

    def on_unseen(self, batches: int) -> Task:
        """Return the evaluation of the same file on the first batches of samples that the search has not seen."""
        timed = self.latency is not None
        if self.training is None:
            return BuildMix(self.mix, batches, unseen=True, timed=timed)
        return RetrainMix(self.mix, self.training, batches, unseen=True, timed=timed)


_CLEARLY = 3.0
"""Standard errors between a drop and the limit, from where on more samples would tell nothing new."""


_AT_ONCE = 4
"""Mixes of one candidate that are built before the next ones are thought of: the same for any number of workers."""


class BuiltPoints:
    """The points of a search, in the order in which they were built.

    Args:
        evaluations: Make them.
        goal: What they are to reach.
        model_bytes: Bytes of the model.
        levels: How many batches to judge by, from few to all.
        power: Of the distance of outputs, with which losses grow.
    """

    def __init__(
        self, evaluations: Evaluations, goal: Goal, *, model_bytes: int, levels: Sequence[int], power: float = 1.0
    ) -> None:
        self.found: dict[Mix, BuiltPoint] = {}
        self.retrained: list[BuiltPoint] = []
        self.refuted: list[BuiltPoint] = []  # by what unseen samples told of them
        self._margins: list[tuple[float, float]] = []  # what files lost more on unseen samples, and their distances
        self._evaluations, self._goal = evaluations, goal
        self._model_bytes, self._levels, self._power = model_bytes, levels, power

    def build(self, mixes: Sequence[Mix], stage: str) -> list[BuiltPoint | None]:
        """Return the points of mixes; None of one that cannot be built.

        With a limit on the loss they begin with some samples, and get all where these do not tell on which side of the
        limit they are.
        """
        first = self._levels[min(1, len(self._levels) - 1)] if self._goal.max_drop is not None else self._levels[-1]
        pending = list(mixes)
        for level in dict.fromkeys((first, self._levels[-1])):
            tasks = [BuildMix(mix, level, timed=self._goal.is_timed) for mix in pending]
            for mix, facts in zip(pending, self._evaluations.all(stage, tasks), strict=True):
                if "refused" not in facts:
                    self.found[mix] = self.point(mix, facts)
            pending = [mix for mix in pending if mix in self.found and self._is_unclear(self.found[mix])]
        self._tell_best()
        return [self.found.get(mix) for mix in mixes]

    def build_near_goal(self, mixes: Sequence[Mix], stage: str) -> None:
        """Build those of some mixes that are next to the goal; all of them where the loss has no limit.

        Mixes are in the order of what they lose, the least first. Some of them bracket the goal, and those in between
        are built then.
        """
        if self._goal.max_drop is None:
            self.build(mixes, stage)
            return
        low, high = 0, len(mixes)
        while low < high:
            count = min(_AT_ONCE, high - low)
            places = [low + (high - low) * (number + 1) // (count + 1) for number in range(count)]
            found = dict(zip(places, self.build([mixes[place] for place in places], stage), strict=True))
            good = [place for place, point in found.items() if point is not None and self.reaches(point)]
            low = max(good, default=low - 1) + 1
            high = min((place for place in places if place >= low), default=high)

    def retrain(self, mixes: Sequence[Mix], training: Training) -> None:
        """Add the points of mixes after retraining, but for those that cannot be retrained."""
        tasks = [RetrainMix(mix, training, self._levels[-1], timed=self._goal.is_timed) for mix in mixes]
        for mix, facts in zip(mixes, self._evaluations.all("retraining", tasks), strict=True):
            if "refused" not in facts:
                self.retrained.append(self.point(mix, facts, training))
        self._tell_best()

    def point(self, mix: Mix, facts: Mapping[str, Any], training: Training | None = None) -> BuiltPoint:
        """Return the point of a mix, by what its evaluation found."""
        drop, error = self._goal.counted(facts)
        told = (facts["distance"], drop, facts["after"], error, facts["count"], facts.get("latency"))
        return BuiltPoint(mix, facts["bytes"], *told, training)

    def cost(self, point: BuiltPoint) -> float:
        """Return what a point has of what is limited, or to be least: bytes, or time."""
        return self._goal.cost(point.nbytes, point.latency)

    def reaches(self, point: BuiltPoint) -> bool:
        """True if a point reaches the goal on the samples that the search decides by, its uncertainty counted."""
        return point not in self.refuted and self.missed(point, self.expected(point), point.error) is None

    def missed(self, point: BuiltPoint, drop: float, error: float) -> str | None:
        """Return by what a point misses the goal, in words, if it loses so much; None if it reaches it."""
        return self._goal.misses(point.nbytes, drop, error, point.latency, self._model_bytes)

    def expected(self, point: BuiltPoint) -> float:
        """Return what a point is expected to lose on other samples.

        The best of many is one that was lucky with its samples. Files whose outputs are as far from the original's lose
        about the same, so that what they lose on average, rising with the distance, is taken where that is more.
        """
        if point.training is not None or self._goal.max_drop is None:
            return point.drop + self._margin(point)
        return max(point.drop, self._usual().get(point.mix, point.drop)) + self._margin(point)

    def refute(self, point: BuiltPoint, more: float) -> None:
        """Count a point as one that misses the goal: on unseen samples it has lost so much more than was expected.

        So will others there, which are like it, and those the less whose outputs are nearer to the original's.
        """
        self.refuted.append(point)
        if more > 0:
            self._margins.append((more, point.distance))

    def _margin(self, point: BuiltPoint) -> float:
        """Return what a point is expected to lose more, as unseen samples have told of others."""
        # Retrained outputs may be far from the original's and right all the same, or near and wrong.
        return sum(
            more * (min(point.distance / distance, 1.0) ** self._power if distance > 0 and not point.training else 1.0)
            for more, distance in self._margins
        )

    def _usual(self) -> dict[Mix, float]:
        """Return what files lose by the distance of their outputs: the nearest drops that rise with it."""
        known = [each for each in self.found.values() if math.isfinite(each.drop) and math.isfinite(each.error)]
        ranked = sorted(known, key=lambda each: each.distance)
        if not ranked:
            return {}
        least = max(max(each.error for each in ranked) * 1e-3, 1e-12)
        weights = [max(each.error, least) ** -2 for each in ranked]
        fitted = isotonic_regression([each.drop for each in ranked], weights=weights).x
        return {each.mix: float(drop) for each, drop in zip(ranked, fitted, strict=True)}

    def _is_unclear(self, point: BuiltPoint) -> bool:
        return abs(point.drop - self._goal.limit_drop) <= _CLEARLY * point.error

    def by_merit(self) -> list[BuiltPoint]:
        """Return all points, those that reach the goal first and the best of them first.

        With a limit on the loss the smallest is the best; within a size, the one whose outputs are nearest. Of points
        that miss the goal, the one that misses it least.
        """
        return sorted(self._all(), key=self._rank)

    def _tell_best(self) -> None:
        if self._all():
            best = self.by_merit()[0]
            words = f"{self._model_bytes / best.nbytes:.2f}x, losing {self._goal.loss_words(best.drop)}"
            words += "" if best.latency is None else f", in {best.latency:.2f} of the time"
            self._evaluations.tell(BestSoFar(words, reaches=self.reaches(best)))

    def _rank(self, point: BuiltPoint) -> tuple[bool, float, float]:
        by_size, reached = self._goal.max_drop is not None, self.reaches(point)
        # Retrained outputs may be far from the original's and right all the same.
        cost = point.drop if self.retrained else point.distance
        # Reached: bytes or cost, whichever was not limited. Missed: the other way round.
        size_first = by_size == reached
        return (not reached, *((self.cost(point), cost) if size_first else (cost, self.cost(point))))

    def _all(self) -> list[BuiltPoint]:
        return [*self.found.values(), *self.retrained]

    def front(self) -> list[BuiltPoint]:
        """Return the points that none beats in bytes (or time) and distance at once, from the smallest on."""
        kept: list[BuiltPoint] = []
        for point in sorted(self._all(), key=lambda each: (self.cost(each), each.distance)):
            if not kept or point.distance < kept[-1].distance:
                kept.append(point)
        return kept

    def distance_at_goal(self) -> float:
        """Return how far the outputs of a file at the goal are from the original's, as the measured points tell."""
        if self._goal.max_drop is not None:
            return self.distance_within(self._goal.limit_drop)
        limit, points = self._goal.limit_cost(self._model_bytes), list(self.found.values())
        within = [each.distance for each in points if self.cost(each) <= limit]
        return min(within, default=max((each.distance for each in points), default=0.0))

    def distance_within(self, drop: float) -> float:
        """Return the distance of outputs at which the metric loses `drop`, as the measured points tell.

        Of points sorted by distance: halfway, in logarithms, between the last that is within and the first that is not.
        """
        known = [(each.distance, self.expected(each) + each.error) for each in self.found.values()]
        known = [each for each in known if math.isfinite(each[0])]
        within = max((distance for distance, lost in known if lost <= drop), default=0.0)
        beyond = min((distance for distance, lost in known if lost > drop and distance > within), default=0.0)
        if within <= 0 or beyond <= 0:
            return max(within, beyond)
        return math.sqrt(within * beyond)
