"""Learning rates against their formulas, written out."""

from __future__ import annotations

import math

import pytest

from dtc.recipe import Schedule
from dtc.training.schedule import learning_rate


def rates(schedule: Schedule, *, steps: int = 8, per_epoch: int = 2) -> list[float]:
    return [learning_rate(schedule, 2.0, step=s, steps=steps, epoch=s // per_epoch) for s in range(steps)]


def test_constant():
    assert rates(Schedule()) == [2.0] * 8


def test_step_falls_every_so_many_epochs():
    assert rates(Schedule(kind="step", factor=0.1, every=2)) == pytest.approx([2.0] * 4 + [0.2] * 4)


def test_cosine_goes_from_the_full_rate_to_zero_over_the_run():
    found = rates(Schedule(kind="cosine"))
    assert found == pytest.approx([1 + math.cos(math.pi * s / 8) for s in range(8)])
    assert found[0] == 2.0
    assert learning_rate(Schedule(kind="cosine"), 2.0, step=8, steps=8, epoch=3) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("after", "epochs"),
    [(0, [2.0, 1.0, 0.5, 0.25]), (1, [2.0, 1.0, 0.5, 0.25]), (2, [2.0, 2.0, 1.0, 0.5]), (9, [2.0, 2.0, 2.0, 2.0])],
)
def test_decay_begins_after_the_first_epochs(after, epochs):
    assert rates(Schedule(kind="decay", factor=0.5, after=after))[::2] == pytest.approx(epochs)
