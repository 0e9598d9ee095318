"""What unseen samples told of one file is expected of others, the less the nearer their outputs are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtc.search.candidate import Candidate
from dtc.search.goal import Goal
from dtc.search.journal import EvaluationJournal
from dtc.search.points import BuiltPoint, BuiltPoints
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
