"""The interval between distortions that trials find, and the mean of the last distorted weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_engine import Accuracy, FakeEngine, FakePlan, make_retraining, make_run_inputs, samples

from dtc.data import ArraySource
from dtc.errors import TrainingError
from dtc.training.evaluate import Score
from dtc.training.events import DistortedWeights, Evaluated, Noted
from dtc.training.intervals import FILE, best_interval, candidates, trial_steps
from dtc.training.run import create_run, open_run
from dtc.training.work import Tools, work


def source() -> ArraySource:
    return ArraySource("samples", samples(), 16, keep_short=False)


def fake_tools() -> Tools:
    return Tools(lambda model, *_: FakeEngine(model), lambda *_: FakePlan(), lambda _: Accuracy())


def test_candidates_are_shares_of_a_trial() -> None:
    assert [trial_steps(steps) for steps in (60, 700, 20_000)] == [60, 100, 2000]
    assert candidates(20_000) == [1000, 400, 133, 40]
    assert candidates(3) == [1]


def test_the_best_interval_has_the_best_score_and_of_equal_ones_is_the_longest() -> None:
    perplexities = {50: 90.0, 20: 80.0, 6: 80.0, 2: float("nan")}
    scores = {interval: Score(1.0, "perplexity", value) for interval, value in perplexities.items()}
    assert best_interval(scores) == 20
    with pytest.raises(TrainingError, match="lower the learning rate"):
        best_interval({2: scores[2]})


def test_a_run_finds_its_interval_and_finds_the_same_one_after_an_interruption(tmp_path: Path) -> None:
    recipe, model = make_run_inputs(tmp_path, steps=30, distort_every="auto", optimizer={"learning_rate": 0.05})
    whole, stopped = (create_run(tmp_path / name, recipe, model, base=tmp_path).folder for name in ("a", "b"))
    assert work(whole, fake_tools(), should_stop=lambda: False)
    chosen = open_run(whole).training.distort_every
    tried = json.loads((whole / FILE).read_text())
    assert [int(interval) for interval in tried] == candidates(30) == [15, 6, 2, 1]
    assert tried[str(chosen)]["value"] == max(score["value"] for score in tried.values())
    lines = (whole / "metrics.jsonl").read_text()
    distorted = [json.loads(line)["step"] for line in lines.splitlines() if '"event": "distortion"' in line]
    assert distorted == sorted({*range(chosen, 31, chosen), 30})
    assert f"the best interval was that of {chosen} steps" in lines
    # Told to stop in the second trial, then in the run itself: the second session knows the first trial.
    steps = iter(range(1000))
    assert not work(stopped, fake_tools(), should_stop=lambda: next(steps) == 40)
    assert [int(interval) for interval in json.loads((stopped / FILE).read_text())] == [15]
    assert open_run(stopped).training.distort_every == "auto"
    steps = iter(range(1000))
    assert not work(stopped, fake_tools(), should_stop=lambda: next(steps) == 100)
    assert work(stopped, fake_tools(), should_stop=lambda: False)
    assert (stopped / "metrics.jsonl").read_text() == lines


def test_the_mean_of_the_last_distorted_weights_is_a_result_where_it_is_better() -> None:
    run = make_retraining(source(), source(), steps=30, distort_every=4, average=3, optimizer={"learning_rate": 0.3})
    kept = []
    distort = run.session.plan.distort

    def watch(parameters, at, *others):
        kept.append({name: array.copy() for name, array in parameters.items()})
        return distort(parameters, at, *others)

    run.session.plan.distort = watch
    run.run()
    last = [event.step for event in run.journal.of(DistortedWeights)][-3:]
    assert last == [24, 28, 30]
    assert run.session.progress.distorted.count == 3
    (note,) = run.journal.of(Noted)
    assert "mean of the last 3" in note.text
    # What is distorted last is the mean of what the last three distortions left.
    for name, mean in run.session.progress.distorted.means().items():
        np.testing.assert_allclose(kept[-1][name], mean, rtol=1e-6)
    end, averaged = run.journal.of(Evaluated)[-2:]
    assert (end.step, averaged.step) == (30, 30)
    assert averaged.best == (averaged.value > max(each.value for each in run.journal.of(Evaluated)[:-1]))


def test_sums_of_distorted_weights_come_back_from_a_checkpoint() -> None:
    def make():
        return make_retraining(source(), source(), steps=20, distort_every=4, average=4)

    whole, interrupted, resumed = make(), make(), make()
    whole.run()
    interrupted.run(lambda: interrupted.session.progress.step == 13)
    resumed.session.restore(interrupted.session.snapshot())
    resumed.run()
    means = [run.session.progress.distorted.means() for run in (whole, resumed)]
    assert means[0].keys() == means[1].keys() == {"W", "U", "V"}
    assert all(np.array_equal(means[0][name], means[1][name]) for name in means[0])
