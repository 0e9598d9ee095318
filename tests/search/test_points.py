"""Points next to the goal are built, and what unseen samples told of one is expected of others like it."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from dtc.search.candidate import Candidate
from dtc.search.goal import Goal
from dtc.search.journal import EvaluationJournal
from dtc.search.points import BuiltPoint, BuiltPoints
from dtc.search.tasks import BuildMix, Task
from dtc.search.workers import Evaluations


def point(bits: int, distance: float, drop: float) -> BuiltPoint:
    mix = (("w", Candidate.of("uniform", {"bits": bits})),)
    return BuiltPoint(mix, 100 * bits, distance, drop, 0.9, 0.002, 1000)


def test_a_refuted_file_makes_those_less_likely_that_are_like_it(tmp_path: Path) -> None:
    far, near, nearest = point(3, 0.4, 0.007), point(4, 0.1, 0.006), point(6, 0.01, 0.0)
    with EvaluationJournal(tmp_path) as journal:
        points = BuiltPoints(Evaluations(journal, None), Goal(max_drop=0.01), model_bytes=1000, levels=[1])  # type: ignore[arg-type]
        points.found = {each.mix: each for each in (far, near, nearest)}
        assert points.by_merit()[0] == far
        points.refute(far, 0.008)
        assert [points.expected(each) for each in (far, near, nearest)] == pytest.approx([0.015, 0.008, 0.0002])
        # An eighth of a point more would be too much for the one in the middle, if it were all of what the first lost.
        assert points.by_merit()[0] == near
        points.refute(near, 0.0)
        assert points.by_merit()[0] == nearest


def test_where_losses_grow_with_the_root_of_a_distance_so_do_margins(tmp_path: Path) -> None:
    far, near, nearest = point(3, 0.4, 0.007), point(4, 0.1, 0.006), point(6, 0.01, 0.0)
    with EvaluationJournal(tmp_path) as journal:
        told = Evaluations(journal, None)  # type: ignore[arg-type]
        points = BuiltPoints(told, Goal(max_drop=0.01), model_bytes=1000, levels=[1], power=0.5)
        points.found = {each.mix: each for each in (far, near, nearest)}
        points.refute(far, 0.008)
        assert [points.expected(each) for each in (near, nearest)] == pytest.approx([0.01, 0.008 / 40**0.5])
        assert points.by_merit()[0] == nearest


class Losing:
    """Builds files that lose a thousandth for each bit that they have less than 40."""

    def submit(self, task: Task, /) -> Future[dict[str, Any]]:
        assert isinstance(task, BuildMix)
        bits = dict(dict(task.mix)["w"].options)["bits"]
        drop = (40 - bits) / 1000
        future: Future[dict[str, Any]] = Future()
        told = {"bytes": 100 * bits, "distance": drop, "drop": drop, "after": 0.9 - drop, "count": 1000}
        future.set_result(told | {"before": 0.9, "drop_error": 1e-6, "share_error": 1e-6})
        return future


@pytest.mark.parametrize("limit", [0.0005, 0.0105, 0.0175, 1.0])
def test_of_many_files_those_next_to_the_goal_are_built(tmp_path: Path, limit: float) -> None:
    mixes = [(("w", Candidate.of("uniform", {"bits": bits})),) for bits in range(40, 0, -1)]
    with EvaluationJournal(tmp_path) as journal:
        points = BuiltPoints(Evaluations(journal, Losing()), Goal(max_drop=limit), model_bytes=9000, levels=[1])
        points.build_near_goal(mixes, "one candidate everywhere")
    within = sum(0.001 * place <= limit for place in range(40))
    # The smallest that keeps the limit, and the first that does not.
    assert {*mixes[max(within - 1, 0) : within + 1]} <= points.found.keys()
    assert len(points.found) <= 12
