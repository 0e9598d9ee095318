"""The knapsack of a search gives the best choices, as trying all of them does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dtc.search.allocation import Allocation, Alternative

COMMON = {"a": 70.0, "b": 30.0}


def sites(seed: int) -> list[list[Alternative]]:
    """Return four sites of three alternatives and one that is as it was."""
    dice = np.random.default_rng(seed)
    rows = []
    for _ in range(4):
        nbytes, loss = np.sort(dice.integers(10, 300, 3)), np.sort(dice.random(3))[::-1]
        row = [
            Alternative(float(b), float(c), "ab"[index % 2])
            for index, (b, c) in enumerate(zip(nbytes, loss, strict=True))
        ]
        rows.append([*row, Alternative(400.0, 0.0)])
    return rows


def all_choices(rows: list[list[Alternative]]) -> list[tuple[float, float]]:
    """Return bytes and loss of every choice there is."""
    found = []
    for chosen in itertools.product(*rows):
        common = sum(COMMON[kind] for kind in {each.kind for each in chosen} if kind)
        found.append((sum(each.nbytes for each in chosen) + common, sum(each.loss for each in chosen)))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_both_problems_are_solved_exactly(seed: int) -> None:
    rows = sites(seed)
    allocation, known = Allocation(rows, COMMON), all_choices(rows)
    for budget in (0.1, 0.7, 1.5, 3.0):
        chosen = allocation.smallest(budget)
        assert chosen is not None
        assert allocation.loss(chosen) <= budget + 1e-9
        assert allocation.nbytes(chosen) == pytest.approx(min(b for b, loss in known if loss <= budget), rel=1e-3)
    for limit in (400.0, 800.0, 1600.0):
        chosen = allocation.best(limit)
        wanted = min((loss for b, loss in known if b <= limit), default=None)
        assert (chosen is None) == (wanted is None)
        if chosen is not None:
            assert allocation.nbytes(chosen) <= limit
            assert allocation.loss(chosen) == pytest.approx(wanted, abs=1e-3)


def test_the_front_takes_more_and_loses_less_from_end_to_end() -> None:
    rows = sites(9)
    allocation = Allocation(rows, COMMON)
    front = [(allocation.nbytes(each), allocation.loss(each)) for each in allocation.front(12)]
    assert front == sorted(front)
    assert [loss for _, loss in front] == sorted((loss for _, loss in front), reverse=True)
    assert len({loss for _, loss in front}) == len(front) > 3
    assert front[-1] == (1600.0, 0.0)


def test_nothing_fits_into_less_than_the_least() -> None:
    assert Allocation(sites(0), COMMON).best(1.0) is None
    assert Allocation([[Alternative(5.0, 2.0, "a")]], COMMON).smallest(1.0) is None
