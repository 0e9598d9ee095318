"""Where unseen samples refuse the best files by far, safer ones are found, and the refused are told."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dtc.recipe import Training
from dtc.search.campaign import Campaign, Verdict
from dtc.search.candidate import Candidate, Mix
from dtc.search.goal import Goal
from dtc.search.journal import EvaluationJournal
from dtc.search.retrained import RetrainMix
from dtc.search.tasks import BuildMix, ChangeAll, ChangeOne, ScanSites, Task
from dtc.search.workers import Evaluations, SearchEvent, TaskDone

WEIGHTS = {f"w{number}": 1000 * (number + 1) for number in range(8)}
"""Weights of each site; every second one is of more consequence."""

BITS = range(2, 13)
BEFORE = 0.9


class Told:
    """Evaluates mixes of a model of which losses are known: on unseen samples they are so many times as large."""

    def __init__(self, worse: float) -> None:
        self._worse = worse

    def submit(self, task: Task, /) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        future.set_result(self._found(task))
        return future

    def _found(self, task: Task) -> dict[str, Any]:
        match task:
            case ScanSites():
                mix = tuple((site, task.candidate) for site in WEIGHTS)
                sites = {
                    site: {"bytes": count * bits(task.candidate) // 8, "error": lost(((site, task.candidate),))}
                    | {"kind": "uniform", "speed": 1.0}
                    for site, count in WEIGHTS.items()
                }
                return {"sites": sites, "common": 0, "distance": lost(mix)}
            case ChangeOne():
                return distance({**dict(task.base), task.site: task.candidate})
            case ChangeAll():
                return distance(dict(task.mix))
            case RetrainMix():
                # Nothing is lost where the search sees it.
                drop = lost(task.mix) * self._worse if task.unseen else 0.0
                return self._built(task.mix, drop)
            case BuildMix():
                drop = lost(task.mix) * (self._worse if task.unseen else 1.0)
                return self._built(task.mix, drop)
        raise AssertionError(task)

    @staticmethod
    def _built(mix: Mix, drop: float) -> dict[str, Any]:
        told = {"bytes": taken(mix), "distance": lost(mix), "drop": drop, "after": BEFORE - drop}
        return told | {"before": BEFORE, "count": 1000, "drop_error": 1e-6, "share_error": 1e-6}


def bits(candidate: Candidate) -> int:
    return int(dict(candidate.options)["bits"])


def taken(mix: Mix) -> int:
    """Return the bytes of a file: sites that a mix does not have stay floats."""
    chosen = dict(mix)
    return sum(count * (bits(chosen[site]) if site in chosen else 32) // 8 for site, count in WEIGHTS.items())


def lost(mix: Mix) -> float:
    return sum((1 + 9 * (int(site[1:]) % 2)) * 4.0 ** -bits(candidate) for site, candidate in mix) / 8


def distance(chosen: dict[str, Candidate | None]) -> dict[str, Any]:
    mean = lost(tuple((site, each) for site, each in chosen.items() if each is not None))
    return {"distance": mean, "deviation": 1e-9, "rows": 1000, "parts": [mean / 16] * 16}


CANDIDATES = [Candidate.of("uniform", {"bits": each}) for each in BITS]


def searched(folder: Path, worse: float, training: Training | None = None) -> tuple[Verdict, set[str]]:
    """Return what a search finds within a hundredth, and the stages that it went through."""
    halves = SimpleNamespace(levels=lambda: [1], unseen=[None], words="the other samples")
    prepared: Any = SimpleNamespace(
        halves=halves,
        dense_bytes={site: 4 * count for site, count in WEIGHTS.items()},
        model_bytes=taken(()),
        power=1.0,
        words="accuracy",
        notes=(),
    )
    heard: list[SearchEvent] = []
    with EvaluationJournal(folder) as journal:
        told = Evaluations(journal, Told(worse), tell=heard.append)
        campaign = Campaign(told, prepared, Goal(max_drop=0.01), CANDIDATES)
        campaign.explore()
        if training is not None:
            campaign.polish(training)
        return campaign.judged(), {each.stage for each in heard if isinstance(each, TaskDone)}


@pytest.mark.parametrize("worse", [1.0, 3.0, 300.0])
def test_what_unseen_samples_refuse_gives_way_to_what_they_do_not(tmp_path: Path, worse: float) -> None:
    verdict, stages = searched(tmp_path, worse)
    report = verdict.document
    assert report.missed is None
    assert report.unseen_drop <= 0.01
    assert not report.chosen.refused
    # Of files with one rate everywhere, the smallest that keeps the goal on all samples is larger.
    single = next(each for each in (tuple((s, c) for s in WEIGHTS) for c in CANDIDATES) if worse * lost(each) <= 0.01)
    assert report.chosen.bytes < taken(single)
    assert ("safer mixes" in stages) == (worse > 1)
    assert ("much safer mixes" in stages) == (worse > 5)
    # A smaller one that was refused is told from those that lose too much where the search could see it.
    refused = [each for each in report.front if each.refused]
    assert bool(refused) == (worse > 1)
    assert all(each.drop <= 0.01 and report.fate(each) == "refused" for each in refused)
    assert report.fate(report.chosen) == "written"
    # What each site has in the file was measured alone, whenever that was.
    assert all(None not in (each.after, each.distance) for each in report.sites)


def test_where_retrained_files_are_refused_others_are_looked_for(tmp_path: Path) -> None:
    verdict, stages = searched(tmp_path, 3000.0, Training())
    assert "much safer mixes" in stages
    assert verdict.best.training is None
    assert verdict.document.missed is None
