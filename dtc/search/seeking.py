"""Where on the front the goal lies: mixes are built, measured, and the next ones chosen by what was found.

Predicted losses are wrong by a factor that nobody knows beforehand, and sizes by what the file holds beside its sites.
So budgets are bracketed by points that reach the goal and points that miss it, several at a time whatever the number of
workers, so that the same points are built by one of them and by many.
"""

from __future__ import annotations

import numpy as np

from dtc.search.candidate import Mix
from dtc.search.goal import Goal
from dtc.search.points import BuiltPoint, BuiltPoints
from dtc.search.sensitivity import SiteTable

_AT_ONCE = 2
_ROUNDS = 4
_CLOSE = 1.04
"""Budgets that differ less give the same file, or nearly."""

_STEP = 4.0
"""Between the ends of the first bracket, and by how much further the next one lies where the goal is in none."""

_NEARLY = 0.997
"""A file that has so much of the bytes, or the time, that it may have is as good as any."""


def seek(points: BuiltPoints, table: SiteTable, goal: Goal, limit: float, start: float, stage: str) -> None:
    """Build mixes of a table until they are as near to the goal as they get; `start` is a loss to begin at."""
    if goal.max_drop is None:
        _seek_cost(points, table, limit, stage)
    else:
        _seek_loss(points, table, start, stage)


def _seek_loss(points: BuiltPoints, table: SiteTable, start: float, stage: str) -> None:
    """Bracket the largest loss budget whose file reaches the goal."""
    allocation = table.allocation()
    most = allocation.loss(allocation.front(2)[0])
    low, high = start / _STEP**0.5, min(start * _STEP**0.5, most)
    for _ in range(_ROUNDS):
        if not 0 < low < high:
            return
        budgets = np.geomspace(low, high, _AT_ONCE + 2)[1:-1]
        reached = _reached(points, table, budgets.tolist(), stage)
        low, high = _narrowed(high, dict(zip(budgets.tolist(), reached, strict=True)))
        high = min(high, most)
        if high < low * _CLOSE:
            return


def _narrowed(high: float, reached: dict[float, bool]) -> tuple[float, float]:
    """Return the next bracket: between the largest budget that reaches the goal and the next that misses it."""
    within = [budget for budget, good in reached.items() if good]
    beyond = [budget for budget, good in reached.items() if not good and budget > max(within, default=0.0)]
    if not within:
        return min(beyond) / _STEP, min(beyond)
    return max(within), min(beyond) if beyond else high * _STEP


def _reached(points: BuiltPoints, table: SiteTable, budgets: list[float], stage: str) -> list[bool]:
    allocation = table.allocation()
    chosen = [allocation.smallest(budget) for budget in budgets]
    mixes = [None if each is None else table.mix(each) for each in chosen]
    wanted = [mix for mix in mixes if mix is not None]
    built: dict[Mix | None, BuiltPoint | None] = dict(zip(wanted, points.build(wanted, stage), strict=True))
    # A budget within which there is no mix at all reaches nothing; nor does a mix that cannot be built.
    return [(point := built.get(mix)) is not None and points.reaches(point) for mix in mixes]


def _seek_cost(points: BuiltPoints, table: SiteTable, limit: float, stage: str) -> None:
    """Build the best mixes within a size or a time, corrected by what built files have beside their sites."""
    allocation = table.allocation()
    known = [points.cost(point) - table.cost(mix) for mix, point in points.found.items() if table.has(mix)]
    beside = known[-1] if known else 0.0
    for _ in range(2 * _ROUNDS):
        chosen = allocation.best(limit - beside) or allocation.front(2)[0]
        mix = table.mix(chosen)
        if mix in points.found or (point := points.build([mix], stage)[0]) is None:
            return
        if _NEARLY * limit <= points.cost(point) <= limit:
            return
        beside = points.cost(point) - table.cost(mix)
