"""A compression without training in a run directory: kept whole, given again, done over."""

from __future__ import annotations

import filecmp
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from dtc import models
from dtc.graph import load_model, save_model
from dtc.job import Job
from dtc.passes.plan import Distorted, Plan
from dtc.pipeline import compress, resume
from dtc.pipeline.watch import VERIFY
from dtc.recipe import Data, Recipe, Rule

Dtc = Callable[..., tuple[int, str, str]]

SVD = ("--method", "svd", "--rank", "6", "--seconds", "0")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-mlp"), path)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    dice = np.random.default_rng(0)
    np.savez(tmp_path / "s.npz", image=dice.random((64, 1, 8, 8), dtype=np.float32), labels=dice.integers(0, 10, 64))
    return tmp_path / "s.npz"


@pytest.fixture
def run(dtc: Dtc, model: Path, samples: Path, tmp_path: Path) -> Path:
    """A finished run whose inputs are gone since."""
    run, output = tmp_path / "run", tmp_path / "out.onnx"
    status, out, err = dtc("compress", model, *SVD, "--data", samples, "--run", run, "-o", output)
    assert status == 0, err
    assert f"run directory: {run}" in out
    model.unlink()
    samples.unlink()
    return run


def test_a_run_holds_recipe_input_result_and_report(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "data", "job.json", "model", "recipe.yaml", "report.html", "report.json", "run.json"
    }  # fmt: skip
    assert Recipe.load(run / "recipe.yaml").data.train == "data/train/s.npz"
    report = json.loads((run / "report.json").read_text())
    facts = json.loads((run / "run.json").read_text())
    assert facts["files"]["model/digits.onnx"] == report["model"]["files"][0]["sha256"]
    assert report["check"]["metric"]["name"] == "accuracy"


def test_a_finished_run_gives_its_result_again_and_touches_nothing(dtc: Dtc, run: Path) -> None:
    output = run.parent / "out.onnx"
    before = output.stat().st_mtime_ns
    status, out, err = dtc("compress", "--resume", run, "--json")
    assert status == 0, err
    assert json.loads(out) == json.loads((run / "report.json").read_text())
    status, out, err = dtc("compress", "--resume", run)
    assert status == 0, err
    assert f"written: {output}" in out
    assert output.stat().st_mtime_ns == before


@pytest.mark.parametrize("lost", [("out.onnx",), ("run/report.json", "run/report.html", "out.onnx")])
def test_an_interrupted_run_starts_over(dtc: Dtc, run: Path, lost: tuple[str, ...]) -> None:
    output = run.parent / "out.onnx"
    written = hashlib.sha256(output.read_bytes()).hexdigest()
    for name in lost:
        (run.parent / name).unlink()
    status, _, err = dtc("compress", "--resume", run)
    assert status == 0, err
    assert hashlib.sha256(output.read_bytes()).hexdigest() == written
    assert (run / "report.json").is_file()


def test_an_output_that_is_another_is_not_written_over(dtc: Dtc, run: Path) -> None:
    output = run.parent / "out.onnx"
    output.write_bytes(b"precious")
    status, _, err = dtc("compress", "--resume", run)
    assert status == 2
    assert "out.onnx: exists already" in err
    assert output.read_bytes() == b"precious"
    assert dtc("compress", "--resume", run, "--force")[0] == 0
    assert output.read_bytes() != b"precious"


def test_a_run_goes_on_where_it_was_moved_to(dtc: Dtc, run: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(run, elsewhere / "run")
    status, _, err = dtc("compress", "--resume", elsewhere / "run")
    assert status == 0, err
    assert filecmp.cmp(elsewhere / "out.onnx", tmp_path / "out.onnx", shallow=False)


def test_a_run_whose_model_was_changed_is_not_resumed(dtc: Dtc, run: Path) -> None:
    save_model(models.build("digits-mlp", seed=1), run / "model" / "digits.onnx", force=True)
    status, _, err = dtc("compress", "--resume", run)
    assert status == 1
    assert "has changed since the run began" in err


def test_a_run_with_mistakes_is_not_begun(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    run = ("--run", tmp_path / "run", "-o", tmp_path / "out.onnx")
    assert dtc("compress", model, *SVD, "--include", "conv*", *run)[0] == 2
    assert dtc("compress", model, *SVD, "--data", "nowhere.npz", *run)[0] == 2
    assert sorted(tmp_path.iterdir()) == before


def test_a_drop_over_the_limit_fails_when_it_is_given_again(dtc: Dtc, model: Path, samples: Path) -> None:
    run = samples.parent / "run"
    images = np.load(samples)["image"]
    np.savez(samples, image=images)
    worse = ("--metric", "accuracy", "--max-drop", "0.01", "--data", samples, "--run", run)
    status, _, err = dtc("compress", model, "--method", "svd", "--rank", "1", "--seconds", "0", *worse)
    assert status == 1
    assert "accuracy went from 1 to" in err
    assert dtc("compress", "--resume", run) == (1, *dtc("compress", "--resume", run)[1:])


def test_report_tells_of_a_run_that_is_not_finished(dtc: Dtc, run: Path) -> None:
    for name in ("report.json", "report.html"):
        (run / name).unlink()
    status, _, err = dtc("report", run)
    assert status == 0, err
    report = json.loads((run / "report.json").read_text())
    assert (report["output"], report["check"], report["training"]) == (None, None, None)
    assert report["recipe"]["rules"][0]["method"] == "svd"
    (run.parent / "out.onnx").unlink()
    assert dtc("compress", "--resume", run)[0] == 0
    assert json.loads((run / "report.json").read_text())["output"] is not None


def test_an_interruption_names_the_run(dtc: Dtc, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("dtc.passes.lower.lower", interrupt)
        status, _, err = dtc("compress", model, *SVD, "--run", run, "-o", tmp_path / "out.onnx")
    assert status == 130
    assert f"dtc compress --resume {run}" in err
    assert not (tmp_path / "out.onnx").exists()
    assert dtc("compress", "--resume", run)[0] == 0
    assert (tmp_path / "out.onnx").is_file()


def test_functions_do_what_the_command_line_does(model: Path, samples: Path, tmp_path: Path) -> None:
    recipe = Recipe(rules=(Rule(method="svd", options={"rank": 6}),), data=Data(train=samples.name))
    job = Job(tmp_path / "out.onnx", seconds=0.0)
    first = compress(model, recipe, job, base=tmp_path, run=tmp_path / "run")
    assert first.run == tmp_path / "run"
    assert first.pages == (tmp_path / "run" / "report.html",)
    again = resume(tmp_path / "run")
    assert again.report.to_json() == first.report.to_json()
    assert (again.output, again.pages, again.run) == (first.output, first.pages, first.run)


def test_external_data_is_read_from_the_run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever exports the model again while a run goes on writes into the file that it was begun with."""
    source, recipe = tmp_path / "in", Recipe(rules=(Rule(method="svd", options={"rank": 6}, include=("fc2*",)),))
    source.mkdir()
    ir.save(load_model(model), source / "digits.onnx", external_data="weights.bin")
    compress(model, recipe, Job(tmp_path / "plain.onnx", seconds=0.0))
    taken = Plan.distort

    def overwrite(plan: Plan, **given: Any) -> Distorted:
        weights = source / "weights.bin"
        weights.write_bytes(bytes(weights.stat().st_size))
        return taken(plan, **given)

    monkeypatch.setattr(Plan, "distort", overwrite)
    monkeypatch.delenv(VERIFY)  # a look at the model maps its weights
    compress(source / "digits.onnx", recipe, Job(tmp_path / "out.onnx", seconds=0.0), run=tmp_path / "run")
    assert filecmp.cmp(tmp_path / "out.onnx", tmp_path / "plain.onnx", shallow=False)
