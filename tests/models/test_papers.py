"""Published experiments at their smallest: each claim by its direction, with the control beside it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from needed import unless

from dtc.errors import DataError
from dtc.models.reproduce.papers.__main__ import main
from dtc.models.reproduce.papers.experiment import Record, experiments, stored
from dtc.models.reproduce.papers.results import read_results, write_results
from dtc.models.reproduce.papers.running import run_trial
from dtc.training.engines.ort.install import unavailable

NEEDS_ENGINE = unless(unavailable())


def carried_out(name: str, folder: Path, *wanted: str) -> Mapping[str, Record]:
    """Records of the wanted trials of the smallest size, by the names of the trials without the seed."""
    trials = {trial.name.removesuffix("-0"): trial for trial in experiments()[name].trials("smallest", 1)}
    return {each: run_trial(trials[each], folder) for each in wanted}


@pytest.fixture(scope="module")
def lenet(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Record]:
    """Records of LeNet-300-100: dense, pruned after, and pruned while it is trained."""
    assert data_dir.exists()
    folder = tmp_path_factory.mktemp("trials")
    names = [f"lenet-300-100-{way}" for way in ("dense", "once", "prune-5")]
    return list(carried_out("deeptwist-lenet", folder, *names).values())


@pytest.fixture(scope="module")
def letters(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a language model of letters, trained and not compressed: the control of three experiments."""
    assert data_dir.exists()
    folder = tmp_path_factory.mktemp("letters")
    carried_out("multibit-retrained", folder, "dense")
    return folder


@pytest.fixture(scope="module")
def commands(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a command model, trained and not compressed: that of two experiments."""
    assert data_dir.exists()
    folder = tmp_path_factory.mktemp("commands")
    carried_out("bin-and-quant", folder, "spoken-digits-cnn-dense")
    return folder


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
    assert [step for step, _ in lenet[-1].curve][-1] == 250


@NEEDS_ENGINE
def test_a_trial_that_is_done_is_not_done_again(lenet: Sequence[Record], data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / f"{lenet[0].trial}.json").write_text(lenet[0].model_dump_json())
    trial = experiments()["deeptwist-lenet"].trials("smallest", 1)[0]
    assert run_trial(replace(trial, name=lenet[0].trial), tmp_path) == lenet[0]
    assert data_dir.exists()


@NEEDS_ENGINE
def test_one_bit_is_better_retrained(letters: Path) -> None:
    dense, once, trained = carried_out("multibit-retrained", letters, "dense", "binary-1-once", "binary-1").values()
    assert dense.after < dense.before / 2
    assert trained.after < once.after - 1
    assert trained.bytes[1] == pytest.approx(once.bytes[1], rel=0.02)
    lines = "\n".join(experiments()["multibit-retrained"].tables([dense, once, trained]))
    assert "control" in lines
    assert "1 bit, retrained" in lines


@NEEDS_ENGINE
def test_quantization_loses_less_with_each_iteration(letters: Path, tmp_path: Path) -> None:
    experiment = experiments()["iterative-quantization"]
    shutil.copy(letters / "dense-0.onnx", tmp_path)
    found = carried_out(experiment.name, tmp_path, "1-bit", "pruned-80-unmasked-once", "pruned-80-once")
    iterations = found["1-bit"].iterations
    assert len(iterations) == 3
    assert iterations[0].error > iterations[-1].error
    lost = [each.quantized - each.trained for each in iterations]
    assert lost[0] > lost[-1]
    # What is zero is coded for nothing, and leaves the code to the others.
    assert found["pruned-80-once"].after < found["pruned-80-unmasked-once"].after
    (picture,) = experiment.pictures(list(found.values()))
    assert picture.svg.count("<polyline") == 2


@NEEDS_ENGINE
def test_low_rank_is_better_retrained(letters: Path, tmp_path: Path) -> None:
    experiment = experiments()["deeptwist-ptb"]
    shutil.copy(letters / "dense-0.onnx", tmp_path)
    once, shared, trained = carried_out(
        experiment.name, tmp_path, "svd-16-off-once", "svd-16-layer-once", "svd-16-off"
    ).values()
    assert trained.after < once.after < shared.after
    assert shared.site_bytes[1] < once.site_bytes[1] == trained.site_bytes[1]
    (picture,) = experiment.pictures([trained])
    assert "rank 16" in picture.svg


@NEEDS_ENGINE
def test_more_bins_lose_less_and_take_more(commands: Path) -> None:
    experiment = experiments()["bin-and-quant"]
    names = [f"spoken-digits-cnn-{way}" for way in ("dense", "bins-4-once", "bins-8-once")]
    dense, few, many = carried_out(experiment.name, commands, *names).values()
    assert dense.after > 0.5
    assert few.after <= many.after
    assert few.bytes[1] < many.bytes[1] < dense.bytes[1] / 4
    (picture,) = experiment.pictures([dense, few, many])
    assert "convolutional" in picture.svg


@NEEDS_ENGINE
def test_weighting_by_gradients_beats_plain_means(commands: Path) -> None:
    names = [f"spoken-digits-cnn-{way}-once" for way in ("k-means", "weighted-by-gradients")]
    plain, weighted = carried_out("gwk", commands, *names).values()
    assert plain.bytes[1] == pytest.approx(weighted.bytes[1], rel=0.03)
    assert plain.after < weighted.after


def test_every_experiment_has_a_control_and_names_of_its_own() -> None:
    for name, experiment in experiments().items():
        trials = experiment.trials("small", 2)
        names = [trial.name for trial in trials]
        assert len(set(names)) == len(names), name
        trained = [trial for trial in trials if trial.recipe.training is not None]
        assert not trained or any(not trial.recipe.rules for trial in trained), name


@pytest.mark.parametrize("name", ["multibit-retrained", "iterative-quantization", "deeptwist-ptb"])
def test_the_control_learns_as_long_as_what_is_retrained_from_it(name: str) -> None:
    experiment = experiments()[name]
    trials = {trial.name: trial for trial in experiment.trials("smallest", 1)}
    control = trials["dense-again-0"]
    retrained = [trial for trial in trials.values() if trial.facts["what"] == "retrained"]
    assert not control.recipe.rules
    assert all(trial.recipe.training == control.recipe.training for trial in retrained)
    assert {trial.begin(Path()) for trial in retrained} == {control.begin(Path())} == {Path("dense-0.onnx")}
    # The row of the control tells of that one.
    dense, again, other = (
        Record.model_validate(
            {
                "trial": trial.name,
                "facts": trial.facts,
                "created": "",
                "versions": {},
                "recipe": trial.recipe.model_dump(mode="json"),
                "metric": "perplexity",
                "before": before,
                "after": after,
                "bytes": (8, 4),
                "site_bytes": (8, 4),
            }
        )
        for trial, before, after in ((trials["dense-0"], 50, 17), (control, 17, 11), (retrained[0], 17, 12))
    )
    (row,) = [line for line in experiment.tables([dense, again, other]) if "control)" in line][:1]
    assert "11.00" in row


def test_a_trial_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    asked = ["multibit-lstm", "--size", "smallest", "--trial", "nine-*", "--folder", str(tmp_path)]
    done = CliRunner().invoke(main, asked)
    names = [trial.name for trial in experiments()["multibit-lstm"].trials("smallest", 1)]
    assert done.exit_code == 2
    assert f"--trial nine-*: there are {', '.join(names)}" in done.output


def test_without_the_data_folder_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DTC_DATA", raising=False)
    with pytest.raises(DataError, match=r"DTC_DATA must name the folder that holds trained/x\.onnx"):
        stored("trained", "x.onnx")(tmp_path)
