"""The stages of a search: each leaves points, and the best of them is judged in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtc.errors import CheckFailedError
from dtc.recipe import Training
from dtc.report.search_document import SearchReport
from dtc.search.candidate import Candidate, Mix
from dtc.search.document import describe
from dtc.search.goal import Goal
from dtc.search.points import BuiltPoint, BuiltPoints
from dtc.search.polishing import worth_retraining
from dtc.search.prepare import Prepared
from dtc.search.seeking import seek
from dtc.search.sensitivity import SiteTable, around, measured, scan, worth_measuring
from dtc.search.tasks import TimeSites
from dtc.search.workers import Evaluations

_CERTAINTY = (1.0, 1.5, 2.0)
"""Standard errors by which the first point that is tried on unseen samples has to keep the goal there, the second one,
and the last: of many, one would pass by chance."""

_ROUNDS = 2
_REACH = 1
"""How many rates a site may move in a round."""

_WORTH = 0.995
"""A round that makes the best no smaller than this times the one before is the last."""


@dataclass(frozen=True)
class Verdict:
    """The file to write, and what there is to say of the search."""

    best: BuiltPoint
    document: SearchReport


class Campaign:
    """A search on its way."""

    def __init__(
        self, evaluations: Evaluations, prepared: Prepared, goal: Goal, candidates: Sequence[Candidate]
    ) -> None:
        self._evaluations, self._prepared, self._goal, self._candidates = evaluations, prepared, goal, candidates
        self._levels = prepared.halves.levels()
        self._points = BuiltPoints(
            evaluations, goal, model_bytes=prepared.model_bytes, levels=self._levels, power=prepared.power
        )
        self._uniform: dict[Candidate, Mix] = {}
        self._scanned = self._alone = SiteTable({}, {})
        self._near: SiteTable | None = None  # the last one that mixes were made of, once all stages are through

    def explore(self) -> None:
        """Build points, from the simple ones to the best mixes.

        Raises:
            TimeUpError: The time has passed; the points that there are by then stay.
        """
        # 1. What each candidate makes of each site, and of the model when it is at all of them.
        self._scanned, self._uniform = scan(
            self._evaluations, self._candidates, self._prepared.dense_bytes, self._levels, self._shares()
        )
        if self._goal.is_timed and not self._scanned.candidates():
            return
        # 2. One candidate everywhere: what one would choose by hand.
        self._points.build_near_goal(list(self._uniform.values()), "one candidate everywhere")
        # 3. What those cost alone that may be in a file at the goal.
        start = self._points.distance_at_goal()
        table = self._alone = self._measured(start)
        # 4. The best mixes by these losses, and then by losses in the company of the best mix so far.
        self._seek(table, start, "mixes")
        for _ in range(_ROUNDS):
            before = next((each for each in self._points.by_merit() if table.has(each.mix)), None)
            if before is None:
                return
            near = around(self._evaluations, table, before.mix, self._levels, _REACH)
            self._seek(near, near.loss(before.mix), "better mixes")
            self._near = near
            after = self._best()
            if after is None or not self._is_better(after, before):
                return

    def _measured(self, distance: float) -> SiteTable:
        """Return the choices that may be in a file so far from the original, with what they lose alone."""
        return measured(self._evaluations, worth_measuring(self._scanned, distance), self._levels)

    def _shares(self) -> dict[str, float] | None:
        """Return the time that each site takes as it is, where time is limited."""
        if not self._goal.is_timed:
            return None
        shares = self._evaluations.all("times of the sites", [TimeSites()])[0]
        return {site: max(shares.get(site, 0.0), 1e-9) for site in self._prepared.dense_bytes}

    def polish(self, training: Training) -> None:
        """Retrain the mixes that may come back within the goal.

        Raises:
            TimeUpError: The time has passed; a retraining that was begun goes on when the search does.
        """
        self._points.retrain(worth_retraining(self._points, self._goal), training)

    def refuse_without_files(self) -> None:
        """Refuse to end here if no file was built so far.

        Raises:
            CheckFailedError: None was; what was evaluated is kept.
        """
        if not self._points.by_merit():
            raise CheckFailedError(
                "the time was up before a first file was built; the same command goes on from there, or give it more "
                "--time"
            )

    def judged(self) -> Verdict:
        """Return the best point that keeps its promise on samples that the search has not seen, or the nearest.

        Raises:
            CheckFailedError: No file could be made at all.
        """
        ranked = self._points.by_merit()
        if not ranked:
            why = "is expected to be faster" if self._goal.is_timed else "could be built"
            raise CheckFailedError(f"no candidate {why}: see dtc inspect")
        count = len(self._prepared.halves.unseen)
        tried: list[tuple[BuiltPoint, BuiltPoint]] = []
        for certainty in _CERTAINTY:
            point = ranked[0]
            facts = self._evaluations.all("unseen samples", [point.on_unseen(count)])[0]
            seen = self._points.point(point.mix, facts)
            tried.append((point, seen))
            missed = self._missed(seen, certainty)
            if missed is None:
                break
            self._be_safer(point, seen, certainty)
            ranked = [each for each in self._points.by_merit() if self._points.reaches(each)]
            if not ranked:
                break
        if missed is not None and len(tried) > 1:
            # None does: the one that loses least of those that were tried, or is the smallest where size is the limit.
            by_drop = self._goal.max_drop is not None
            point, seen = min(
                tried, key=lambda each: each[1].drop + each[1].error if by_drop else self._points.cost(each[1])
            )
            missed = self._missed(seen, certainty)
        return self._verdict(point, seen, missed)

    def _be_safer(self, tried: BuiltPoint, seen: BuiltPoint, certainty: float) -> None:
        """Count with what a file lost more on unseen samples than was expected, and build others for what is left."""
        more = seen.drop + certainty * seen.error - (self._points.expected(tried) + tried.error)
        self._points.refute(tried, more if self._goal.max_drop is not None else 0.0)
        if self._goal.max_drop is None:
            return
        near = self._near if tried.training is None else None
        if near is not None:
            start = near.loss(tried.mix) if near.has(tried.mix) else self._points.distance_at_goal()
            self._seek(near, start, "safer mixes")
        best = self._points.by_merit()[0]
        found = self._points.reaches(best) and (near is None or near.has(best.mix))
        if self._alone.sites and not found:
            # All that are near the best mix are too far from the original: of choices again that may be nearer.
            start = self._points.distance_at_goal()
            safer = self._measured(start)
            self._alone = self._alone.joined(safer)
            self._seek(safer, start, "much safer mixes")

    def _verdict(self, point: BuiltPoint, unseen: BuiltPoint, missed: str | None) -> Verdict:
        document = describe(self._points, point, unseen, missed, self._uniform, self._prepared, self._goal, self._alone)
        return Verdict(point, document)

    def _missed(self, point: BuiltPoint, certainty: float) -> str | None:
        return self._points.missed(point, point.drop, certainty * point.error)

    def _seek(self, table: SiteTable, start: float, stage: str) -> None:
        limit = self._goal.limit_cost(self._prepared.model_bytes)
        seek(self._points, table, self._goal, limit, start, stage)

    def _best(self) -> BuiltPoint | None:
        ranked = self._points.by_merit()
        return ranked[0] if ranked else None

    def _is_better(self, after: BuiltPoint, before: BuiltPoint) -> bool:
        if self._points.reaches(after) > self._points.reaches(before):
            return True
        if self._goal.max_drop is not None:
            return after.nbytes < _WORTH * before.nbytes
        return after.distance < _WORTH * before.distance
