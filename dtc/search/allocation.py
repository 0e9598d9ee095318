"""Which candidate each site gets, exactly: a multiple-choice knapsack, solved by HiGHS.

Of every site exactly one choice is taken, "as it is" among them. Sizes add up, but for what the sites of one kind of
candidate need together: tables and functions, paid once if any site has that kind. So

    minimise    sum of bytes x + sum of common bytes y
    such that   sum of x over the choices of a site = 1;  x <= y of its kind;  sum of losses x <= budget

or the other way round: the least loss within so many bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

Doubles = npt.NDArray[np.float64]

_GAP = 1e-4
"""Relative gap at which a solution counts as the best: less than the file's size is known by."""

_SECONDS = 20.0


@dataclass(frozen=True)
class Alternative:
    """One way to store a site.

    Attributes:
        nbytes: What it takes in the file.
        loss: What it costs in the outputs.
        kind: What it shares tables and functions with; "": nothing.
    """

    nbytes: float
    loss: float
    kind: str = ""


class Allocation:
    """The choices of all sites, and what their kinds need once."""

    def __init__(self, sites: Sequence[Sequence[Alternative]], common: Mapping[str, float]) -> None:
        self._flat = [alternative for site in sites for alternative in site]
        self._sites = np.repeat(np.arange(len(sites)), [len(site) for site in sites])
        self._kinds = sorted({each.kind for each in self._flat if common.get(each.kind, 0.0) > 0})
        self._nbytes = np.array([*(each.nbytes for each in self._flat), *(common[kind] for kind in self._kinds)])
        self._loss = np.array([*(each.loss for each in self._flat), *(0.0 for _ in self._kinds)])
        self._starts = np.searchsorted(self._sites, np.arange(len(sites)))

    def smallest(self, budget: float) -> tuple[int, ...] | None:
        """Return the choice of each site for the fewest bytes within a loss; None if no choice is within it."""
        return self._solve(self._nbytes, self._loss, budget)

    def best(self, nbytes: float) -> tuple[int, ...] | None:
        """Return the choice of each site for the least loss within so many bytes; None if no choice is within them."""
        return self._solve(self._loss, self._nbytes, nbytes)

    def nbytes(self, chosen: Sequence[int]) -> float:
        """Return the bytes of a choice."""
        kinds = {self._flat[index].kind for index in self._indices(chosen)}
        common = sum(self._nbytes[len(self._flat) + i] for i, kind in enumerate(self._kinds) if kind in kinds)
        return float(self._nbytes[self._indices(chosen)].sum() + common)

    def loss(self, chosen: Sequence[int]) -> float:
        """Return the sum of the losses of a choice."""
        return float(self._loss[self._indices(chosen)].sum())

    def front(self, points: int) -> list[tuple[int, ...]]:
        """Return choices from the smallest file to the least loss, so many at most; each takes more and loses less."""
        least, most = self.loss(self._extreme(self._loss)), self.loss(self._extreme(self._nbytes))
        low = max(least, most * 1e-4, 1e-12)
        budgets = np.geomspace(max(most, low), low, points)
        found = [self._extreme(self._nbytes), *(self.smallest(float(each)) for each in budgets)]
        return self._undominated([chosen for chosen in (*found, self._extreme(self._loss)) if chosen is not None])

    def _undominated(self, found: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        kept: list[tuple[int, ...]] = []
        for chosen in sorted(set(found), key=lambda each: (self.nbytes(each), self.loss(each))):
            if not kept or self.loss(chosen) < self.loss(kept[-1]):
                kept.append(chosen)
        return kept

    def _extreme(self, costs: Doubles) -> tuple[int, ...]:
        """Return the choice of each site whose own cost is the least; of equal ones the one that costs least else."""
        other = self._nbytes if costs is self._loss else self._loss
        ends = [*self._starts[1:], len(self._flat)]
        return tuple(
            int(np.lexsort((other[start:end], costs[start:end]))[0])
            for start, end in zip(self._starts, ends, strict=True)
        )

    def _indices(self, chosen: Sequence[int]) -> npt.NDArray[np.intp]:
        return np.asarray(self._starts + np.asarray(chosen, dtype=np.intp))

    def _solve(self, costs: Doubles, limited: Doubles, limit: float) -> tuple[int, ...] | None:
        count = len(costs)
        # Costs between 0 and 1 or so: HiGHS has absolute tolerances.
        scale, unit = float(costs.max()) or 1.0, abs(limit) or 1.0
        constraints = [
            LinearConstraint(self._one_each(count), 1, 1),
            LinearConstraint(limited[None] / unit, -np.inf, limit / unit),
            *self._paid_once(count),
        ]
        options = {"mip_rel_gap": _GAP, "time_limit": _SECONDS}
        with _no_output():
            result = milp(
                costs / scale, constraints=constraints, integrality=np.ones(count), bounds=Bounds(0, 1), options=options
            )
        if result.x is None:
            return None
        taken = np.flatnonzero(result.x[: len(self._flat)] > 0.5)
        return tuple(int(index) for index in taken - self._starts)

    def _one_each(self, count: int) -> coo_array:
        columns = np.arange(len(self._flat))
        return coo_array((np.ones(len(columns)), (self._sites, columns)), shape=(len(self._starts), count))

    def _paid_once(self, count: int) -> list[LinearConstraint]:
        """Return `x <= y`: whoever takes an alternative pays for its kind."""
        pairs = [(i, self._kinds.index(each.kind)) for i, each in enumerate(self._flat) if each.kind in self._kinds]
        if not pairs:
            return []
        rows, places = np.arange(len(pairs)), np.array(pairs)
        data = np.concatenate([np.ones(len(pairs)), -np.ones(len(pairs))])
        columns = np.concatenate([places[:, 0], len(self._flat) + places[:, 1]])
        matrix = coo_array((data, (np.concatenate([rows, rows]), columns)), shape=(len(pairs), count))
        return [LinearConstraint(matrix, -np.inf, 0)]


@contextmanager
def _no_output() -> Iterator[None]:
    """Keep away from the standard output what HiGHS prints there now and then, whatever it was told."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
