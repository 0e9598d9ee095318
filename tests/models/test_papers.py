"""Published experiments at their smallest: retraining beats pruning alone, and the control stands beside both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from needed import unless

from dtc.errors import DataError
from dtc.models.reproduce.papers.experiment import Record, experiments, stored
from dtc.models.reproduce.papers.results import read_results, write_results
from dtc.models.reproduce.papers.running import run_trial
from dtc.training.engines.ort.install import unavailable

NEEDS_ENGINE = unless(unavailable())


@pytest.fixture(scope="module")
def lenet(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Record]:
    """Records of LeNet-300-100: dense, pruned after, and pruned while it is trained."""
    assert data_dir.exists()
    folder = tmp_path_factory.mktemp("trials")
    trials = experiments()["deeptwist-lenet"].trials("smallest", 1)
    ways = ("dense", "one-shot", "prune")
    chosen = [trial for trial in trials if trial.facts["model"] == "lenet-300-100" and trial.facts["what"] in ways]
    return [run_trial(trial, folder) for trial in chosen]


@NEEDS_ENGINE
def test_pruning_while_training_beats_pruning_after_it(lenet: Sequence[Record]) -> None:
    dense, once, distorted = lenet
    assert [each.facts["what"] for each in lenet] == ["dense", "one-shot", "prune"]
    assert distorted.site_bytes == pytest.approx(once.site_bytes, rel=0.02)
    assert distorted.zeros is not None
    assert distorted.zeros > 0.98
    assert once.after < distorted.after - 0.1
    assert distorted.after < dense.after


@NEEDS_ENGINE
def test_results_are_written_and_read_and_make_tables(lenet: Sequence[Record], tmp_path: Path) -> None:
    experiment = experiments()["deeptwist-lenet"]
    results = read_results(write_results(experiment, "smallest", lenet, tmp_path))
    assert results.records == tuple(lenet)
    lines = list(experiment.tables(results.records))
    assert sum("lenet-300-100" in line for line in lines) == 3
    assert [step for step, _ in lenet[-1].curve][-1] == 400


@NEEDS_ENGINE
def test_a_trial_that_is_done_is_not_done_again(lenet: Sequence[Record], data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / f"{lenet[0].trial}.json").write_text(lenet[0].model_dump_json())
    trial = experiments()["deeptwist-lenet"].trials("smallest", 1)[0]
    assert run_trial(replace(trial, name=lenet[0].trial), tmp_path) == lenet[0]
    assert data_dir.exists()


def test_without_the_data_folder_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DTC_DATA", raising=False)
    with pytest.raises(DataError, match=r"DTC_DATA must name the folder that holds trained/x\.onnx"):
        stored("trained", "x.onnx")(tmp_path)
