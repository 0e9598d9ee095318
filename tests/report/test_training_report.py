"""The retraining in the report: its curve, its jumps, finished or not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needed import lacking
from reports import Page, strict_json

from dtc import models
from dtc.errors import TrainingError
from dtc.graph import save_model
from dtc.job import Job
from dtc.pipeline import compress
from dtc.recipe import Recipe
from dtc.report import read_report
from dtc.report.charts import jump_chart, loss_chart
from dtc.report.curve import POINTS, describe_training, read_events
from dtc.report.document import TrainingOutcome
from dtc.training.engines.ort.install import unavailable
from dtc.training.events import (
    DistortedWeights,
    Evaluated,
    Event,
    Finished,
    Noted,
    Started,
    Stepped,
    from_line,
    to_line,
)

Dtc = Callable[..., tuple[int, str, str]]


def events(steps: int, every: int = 10) -> list[Event]:
    """A run whose loss is 1000 over its step, with a jump of 1 at each distortion."""
    found: list[Event] = [Started(steps, 1234, frozen={"<b>bias</b>": "frozen"})]
    for step in range(1, steps + 1):
        found.append(Stepped(step, 0, 1000.0 / step, 0.1, 1.0))
        if step % every == 0:
            found.append(DistortedWeights(step, step // every, 1000.0 / step, 1000.0 / step + 1))
            found.append(Evaluated(step, 900.0 / step, "accuracy", step / steps, best=True))
    return [*found, Noted(steps, "a <note>"), Finished(steps, steps)]


def described(found: list[Event]) -> TrainingOutcome:
    return describe_training(found, engine="engine", seconds={"step": 2.0, "distortion": 1.0})


def test_a_short_curve_has_every_step() -> None:
    training = described(events(100))
    assert (training.steps, training.planned, training.parameters, training.best_step) == (100, 100, 1234, 100)
    assert training.curve.every == 1
    assert training.curve.step == tuple(range(1, 101))
    np.testing.assert_allclose(training.curve.mean, 1000.0 / np.arange(1, 101), rtol=1e-6)
    assert [(jump.step, jump.after - jump.before) for jump in training.distortions if jump.after and jump.before] == [
        (step, pytest.approx(1.0)) for step in range(10, 101, 10)
    ]
    assert [each.step for each in training.evaluations] == list(range(10, 101, 10))


def test_a_long_curve_is_thinned_and_loses_nothing() -> None:
    steps = 5 * POINTS + 3
    training = described(events(steps, every=500))
    curve, losses = training.curve, 1000.0 / np.arange(1, steps + 1)
    assert len(curve.step) <= POINTS
    assert curve.step[-1] == steps
    blocks = [losses[start : start + curve.every] for start in range(0, steps, curve.every)]
    np.testing.assert_allclose(curve.mean, [block.mean() for block in blocks], rtol=1e-6)
    np.testing.assert_allclose(curve.least, [block.min() for block in blocks], rtol=1e-6)
    np.testing.assert_allclose(curve.greatest, [block.max() for block in blocks], rtol=1e-6)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 60])
def test_charts_of_any_part_of_a_run_are_whole(number: int) -> None:
    training = described(events(50)[:number])
    for chart in (loss_chart, jump_chart):
        text = chart(training, 380.0, 240.0, "narrow")
        assert Page(text).count("svg") == 1
        assert "nan" not in text
        assert "inf" not in text


def test_equal_and_negative_losses_can_be_drawn() -> None:
    flat: list[Event] = [Started(3, 1), *(Stepped(step, 0, -2.0, 0.1, 1.0) for step in (1, 2, 3))]
    text = loss_chart(described(flat), 380.0, 240.0, "narrow")
    assert "nan" not in text


def test_a_line_in_the_writing_is_left_out_and_a_damaged_one_is_loud(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = [Started(2, 1), Stepped(1, 0, 1.0, 0.1, 1.0)]
    path.write_text("".join(to_line(event) + "\n" for event in whole) + '{"event": "st')
    assert list(read_events(path)) == whole
    path.write_text("{}\n")
    with pytest.raises(TrainingError, match="not an event"):
        list(read_events(path))
    with pytest.raises(TrainingError, match="cannot be read"):
        list(read_events(tmp_path / "none"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a short retraining."""
    if reason := unavailable():
        lacking(reason)
    folder = tmp_path_factory.mktemp("retrained")
    save_model(models.build("digits-mlp"), folder / "digits.onnx")
    recipe: dict[str, Any] = {
        "rules": [{"method": "svd", "options": {"rank": 4}}],
        "data": {"train": "dtc.models.datasets:digits"},
        "training": {"steps": 12, "distort_every": 5, "evaluate_every": 5, "threads": 1},
    }
    compress(
        folder / "digits.onnx",
        Recipe.model_validate(recipe),
        Job(folder / "small.onnx", report=folder / "copy"),
        run=folder / "run",
    )
    return folder / "run"


def test_a_run_has_the_report_of_its_training(run: Path) -> None:
    report = strict_json(run / "report.json")
    training = report["training"]
    lines = [from_line(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [event.loss for event in lines if isinstance(event, Stepped)]
    np.testing.assert_allclose(training["curve"]["mean"], losses, rtol=1e-6)
    jumps = [(e.step, e.loss_before, e.loss_after) for e in lines if isinstance(e, DistortedWeights)]
    assert [(each["step"], each["before"], each["after"]) for each in training["distortions"]] == jumps
    assert [each[0] for each in jumps] == [5, 10, 12]
    assert training["best_step"] in (5, 10, 12)
    assert report["check"]["metric"]["name"] == "accuracy"
    assert report["versions"]["engine"] == training["engine"]
    for site in report["sites"]:
        assert site["error"] is None
        (spectrum,) = site["weights"]["spectra"]
        assert len(spectrum["after"]) == 4
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert "What each distortion added to the loss" in page.text()
    assert page.count("svg") == 2 * 3 + 2 * len(report["sites"])


def test_the_named_folder_has_the_same_report(run: Path) -> None:
    assert (run.parent / "copy" / "report.json").read_bytes() == (run / "report.json").read_bytes()


def test_the_spectrum_before_is_of_the_original_and_not_of_the_retrained_weights(run: Path) -> None:
    report = read_report(run / "report.json")
    original = {v.name: v.const_value.numpy() for v in models.build("digits-mlp").graph.initializers.values()}
    for site in report.sites:
        assert site.weights is not None
        expected = np.linalg.svd(original[site.name].astype(np.float64), compute_uv=False)
        np.testing.assert_allclose(site.weights.spectra[0].before, expected, rtol=1e-4, atol=1e-6)


def test_a_run_that_is_not_finished_is_reported_as_far_as_it_is(dtc: Dtc, run: Path, tmp_path: Path) -> None:
    unfinished = tmp_path / "run"
    shutil.copytree(run, unfinished)
    for name in ("report.json", "report.html", "result.json"):
        (unfinished / name).unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (unfinished / "metrics.jsonl").write_text("".join(lines[:6]) + lines[6][:9])
    for _ in range(2):  # made anew each time, because the run goes on
        status, _, err = dtc("report", unfinished)
        assert status == 0, err
        report = strict_json(unfinished / "report.json")
        assert (report["output"], report["ratios"], report["check"], report["sites"]) == (None, None, None, [])
        assert report["training"]["planned"] == 12
        assert report["training"]["steps"] == 5
    assert "not finished: step 5 of 12" in Page((unfinished / "report.html").read_text(encoding="utf-8")).text()
