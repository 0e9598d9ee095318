"""More samples are taken where the ones at hand cannot tell two candidates of a site apart, and nowhere else."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtc.search.candidate import Candidate
from dtc.search.journal import EvaluationJournal
from dtc.search.sensitivity import SiteChoice, SiteTable, Step, around, in_company, measured, worth_measuring
from dtc.search.tasks import ChangeOne, Task
from dtc.search.workers import Evaluations

FIRST, SECOND = (Candidate.of("uniform", {"bits": bits}) for bits in (4, 6))
TABLE = SiteTable(
    {
        "w": (
            SiteChoice(FIRST, 40, 40.0, 0.1, "binary"),
            SiteChoice(SECOND, 60, 60.0, 0.1, "binary"),
            SiteChoice(None, 320, 320.0, 0.0, ""),
        )
    },
    {},
)


class Told:
    """Answers tasks with losses whose parts are given, and remembers which single changes were asked for."""

    def __init__(self, parts: dict[Candidate, Any]) -> None:
        self.asked: list[ChangeOne] = []
        self._parts = parts

    def submit(self, task: Task, /) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        candidate = task.candidate if isinstance(task, ChangeOne) else None
        if isinstance(task, ChangeOne):
            self.asked.append(task)
        parts = list(map(float, self._parts.get(candidate, np.ones(16))))
        deviation = float(np.std(parts)) * 4
        future.set_result({"distance": sum(parts), "deviation": deviation, "rows": 256, "parts": parts})
        return future


SAMPLES = np.random.default_rng(0).exponential(size=16)  # few of them make up most of a loss


@pytest.mark.parametrize(
    ("second", "levels"),
    [
        (0.8 * SAMPLES, {1}),  # clearly less, sample by sample
        (1.01 * SAMPLES[::-1], {1, 2, 4}),  # one loses on some samples, the other on others
        (SAMPLES + 0.01 * np.cos(range(16)), {1}),  # nobody can tell, and it does not matter
    ],
)
def test_what_samples_cannot_tell_is_measured_on_more(tmp_path: Path, second: Any, levels: set[int]) -> None:
    told = Told({FIRST: SAMPLES, SECOND: second})
    with EvaluationJournal(tmp_path) as journal:
        measured(Evaluations(journal, told), TABLE, [1, 2, 4, 8])
    assert {task.batches for task in told.asked} == levels


def test_a_mix_as_it_is_is_run_once(tmp_path: Path) -> None:
    told, rows = Told({}), TABLE.sites["w"]
    table = SiteTable({"v": rows, "w": rows}, {})
    with EvaluationJournal(tmp_path) as journal:
        found = around(Evaluations(journal, told), table, (("v", FIRST), ("w", FIRST)), [1, 2], reach=1)
    # Each site as it is and with its neighbour: three runs for four choices.
    assert len(told.asked) == 3
    assert [len(row) for row in found.sites.values()] == [2, 2]


def test_rates_that_may_be_in_a_file_at_the_goal_are_measured() -> None:
    # Codes of 1 to 32 bits of 100 weights, each bit taking errors down to a quarter, and others that err more.
    codes = [(bits, 4.0**-bits) for bits in range(1, 33)]
    others = [(bits + 0.5, 3 * 4.0**-bits) for bits in range(1, 8)]
    row = [
        SiteChoice(Candidate.of("codes", {"bits": bits}), round(100 * bits), 100 * bits, error, "")
        for bits, error in sorted(codes + others)
    ]
    whole = SiteChoice(None, 6400, 6400.0, 0.0, "")
    table = SiteTable(dict.fromkeys("abcd", (*row, whole)), {})
    (kept, *alike) = worth_measuring(table, 0.05).sites.values()
    assert alike == [kept] * 3
    assert kept[-1] == whole
    bits = [each.cost / 100 for each in kept[:-1]]
    # From what takes half of the loss to what takes next to nothing of it; of these, no bit is missing.
    assert bits[-1] == 6
    assert {3, 4, 5, 6} <= set(bits)
    assert min(bits) >= 2
    assert len(bits) <= 10


@pytest.mark.parametrize("error", [0.02, 0.5, 10.0])
def test_losses_in_company_are_told_by_samples_and_by_losses_alone(error: float) -> None:
    # In company all cost three times as much as alone, or so; samples tell that to `error`.
    rng = np.random.default_rng(0)
    alone = rng.normal(size=200)
    true = 3 * alone * (1 + 0.3 * rng.normal(size=200))
    found = true + error * rng.normal(size=200)
    pairs = [(f"site {number}", FIRST) for number in range(200)]
    steps = [Step(*told) for told in zip(pairs, found.tolist(), [error] * 200, alone.tolist(), strict=True)]
    losses = in_company(steps)
    off = np.std([losses[pair] for pair in pairs] - true)
    # Nearer to what is true than samples are, or losses alone by the same scale.
    scale = float(found @ alone / (alone @ alone))
    assert off < 1.05 * min(np.std(found - true), np.std(scale * alone - true))
    assert losses[pairs[0]] == pytest.approx(found[0], abs=3 * error)
