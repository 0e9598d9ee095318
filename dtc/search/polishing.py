"""Which mixes are retrained at the end: those that may come back within the goal."""

from __future__ import annotations

from collections.abc import Sequence

from dtc.search.candidate import Mix
from dtc.search.goal import Goal
from dtc.search.points import BuiltPoint, BuiltPoints

POLISHED = 3
"""Mixes that are retrained at the most."""

_SMALLEST = 0.5
"""Of the bytes of the best file without retraining: what is smaller has lost too much to come back."""


def worth_retraining(points: BuiltPoints, goal: Goal) -> list[Mix]:
    """Return the mixes that may come back within the goal: smaller ones than the best, or the best within a size."""
    ranked = points.by_merit()
    if not ranked:
        return []
    if goal.max_drop is None:
        return [point.mix for point in ranked[:POLISHED]]
    best = ranked[0]
    smaller = [each for each in points.front() if _SMALLEST * best.nbytes <= each.nbytes < best.nbytes]
    return [point.mix for point in (best, *_spread(smaller, POLISHED - 1))]


def _spread(points: Sequence[BuiltPoint], count: int) -> list[BuiltPoint]:
    """Return so many points, the smallest among them, in even steps."""
    step = max(1, len(points) // count)
    return list(points[::step][:count])
