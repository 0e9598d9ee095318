"""What methods learn in a run: gradients between distortions, the forms before, masks that stay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from fake_engine import FakePlan, make_retraining, samples

from dtc.data import ArraySource
from dtc.errors import TrainingError
from dtc.passes.method import DistortionStep, Weights, make_method
from dtc.passes.plan import Plan, make_plan
from dtc.recipe import Rule
from dtc.training.best import Best
from dtc.training.evaluate import Score
from dtc.training.events import DistortedWeights, Evaluated, Iterated, Stepped
from dtc.training.progress import MeanMagnitudes, Progress
from dtc.training.snapshot import Snapshot


def source(batch_size: int = 16) -> ArraySource:
    return ArraySource("samples", samples(), batch_size, keep_short=False)


def test_gradients_are_averaged_since_the_last_distortion() -> None:
    gradients = MeanMagnitudes()
    assert gradients.means() == {}
    gradients.add({"w": np.array([1.0, -2.0], np.float32)})
    gradients.add({"w": np.array([-3.0, 0.0], np.float32)})
    np.testing.assert_array_equal(gradients.means()["w"], [2, 1])
    run = make_retraining(source(), source(), steps=7, distort_every=5, evaluate_every=5)
    run.session.plan.needs = frozenset({"gradient"})
    given = []
    distort = run.session.plan.distort
    run.session.plan.distort = lambda *all_four: given.append(all_four[3]) or distort(*all_four)
    run.run()
    assert [sorted(each) for each in given] == [["U", "V", "W"]] * 2
    assert run.session.progress.gradients.count == 0


def test_nothing_is_kept_that_no_method_needs() -> None:
    run = make_retraining(source(), source(), steps=7, distort_every=5)
    run.run()
    assert run.session.progress.to_snapshot().arrays.keys() == {"carry/h0"}


def test_a_snapshot_brings_everything_back() -> None:
    matrix = np.random.default_rng(0).normal(size=(1, 20, 30)).astype(np.float32)
    forms = make_method("svd", {"rank": 3}).distort([Weights("a/b", matrix, "n")])
    progress = Progress(steps=9, step=5, epoch=1, position=2, distortions=1, best=Best(4, Score(0.5, "accuracy", 0.9)))
    progress.forms = {"a/b": forms["a/b"]}
    progress.carry = {"h/0": np.ones((2, 3), np.float32)}
    progress.gradients.add({"a/b": np.full(3, -2, np.float32)})
    progress.seconds["step"] = 1.5
    again = Progress.from_snapshot(progress.to_snapshot(), Plan((), (), {}, 13), ())
    np.testing.assert_array_equal(again.forms["a/b"][0].dense(), forms["a/b"][0].dense())
    np.testing.assert_array_equal(again.gradients.means()["a/b"], [2, 2, 2])
    np.testing.assert_array_equal(again.carry["h/0"], np.ones((2, 3)))
    for name in ("steps", "step", "epoch", "position", "distortions", "best", "stale", "seconds"):
        assert getattr(again, name) == getattr(progress, name)
    assert (again.masks, again.latents) == ({}, None)


def test_masks_come_back_from_the_forms() -> None:
    numbers = ",".join(str(i % 9 + 1) for i in range(64))
    head = '<ir_version: 8, opset_import: ["" : 17]>\ng (float[n,8] x) => (float[n,8] y) <float[8,8] w = {'
    plan = make_plan(
        ir.from_onnx_text(head + numbers + "}> { y = MatMul(x, w) }"),
        [Rule(method="prune-masked", options={"sparsity": 0.5})],
    )
    progress = Progress(step=3)
    progress.forms = dict(plan.distort().forms)
    again = Progress.from_snapshot(progress.to_snapshot(), plan, {"w"})
    np.testing.assert_array_equal(again.masks["w"], plan.masks(progress.forms)["w"])
    assert again.masks["w"].sum() == 32


def test_a_session_is_restored_by_its_snapshot_and_by_no_other_models() -> None:
    run = make_retraining(source(), source(), steps=9, distort_every=4)
    run.run(lambda: run.session.progress.step == 6)
    taken = run.session.snapshot()
    fresh = make_retraining(source(), source(), steps=9, distort_every=4).session
    before = {name: array.copy() for name, array in fresh.engine.parameters.items()}
    fresh.restore(Snapshot())
    assert all(np.array_equal(fresh.engine.parameters[name], array) for name, array in before.items())
    fresh.restore(taken)
    assert fresh.progress.step == 6
    for name, array in run.session.engine.parameters.items():
        np.testing.assert_array_equal(fresh.engine.parameters[name], array)
    for name, array in run.session.optimizer.state.items():
        np.testing.assert_array_equal(fresh.optimizer.state[name], array)
    other = make_retraining(source(), source(), optimizer={"kind": "sgd"}).session
    with pytest.raises(TrainingError, match="another model or optimizer"):
        other.restore(taken)


def test_masked_weights_stay_zero_between_distortions() -> None:
    run = make_retraining(source(), source(), steps=9, distort_every=4)
    run.session.plan = FakePlan()
    shape = run.session.engine.parameters["W"].shape
    run.session.plan.masks = lambda forms: {"W": np.arange(shape[0])[:, None] > np.zeros(shape)}
    seen = []
    step = run.session.engine.step

    def watch(batch, *, seed):
        seen.append(bool(run.session.engine.parameters["W"][0].any()))
        return step(batch, seed=seed)

    run.session.engine.step = watch
    run.run()
    assert seen[:4] == [True] * 4
    assert seen[5:8] == [False] * 3  # from the step after the first distortion, each step is masked again


def test_iterations_restart_the_schedule_and_end_when_nothing_gets_better() -> None:
    run = make_retraining(
        source(),
        source(),
        steps=600,
        mode="iterative",
        iteration_epochs=2,
        patience=3,
        optimizer={"learning_rate": 0.05},
        schedule={"kind": "step", "factor": 0.5},
    )
    assert run.run()
    batches = source().length or 0
    rates = [event.learning_rate for event in run.journal.of(Stepped)]
    assert rates[0] == rates[2 * batches] == 0.05
    assert rates[batches] == rates[3 * batches] == 0.025
    distorted = [event.step for event in run.journal.of(DistortedWeights)]
    assert distorted[:3] == [2 * batches, 4 * batches, 6 * batches]
    evaluations = run.journal.of(Evaluated)
    assert [event.step for event in evaluations] == distorted
    assert run.session.progress.step < 600
    assert [event.best for event in evaluations[-3:]] == [False] * 3
    iterations = run.journal.of(Iterated)
    assert len(iterations) == len(distorted)
    assert all(event.error > 0 for event in iterations)


def test_a_plan_keeps_what_masked_pruning_pruned() -> None:
    numbers = ",".join(str(i % 9 + 1) for i in range(64))
    head = '<ir_version: 8, opset_import: ["" : 17]>\ng (float[n,8] x) => (float[n,8] y) <float[8,8] w = {'
    model = ir.from_onnx_text(head + numbers + "}> { y = MatMul(x, w) }")
    plan = make_plan(model, [Rule(method="prune-masked", options={"sparsity": 0.5})])
    assert "previous" in plan.needs
    first = plan.distort()
    mask = plan.masks(first.forms)["w"]
    assert mask.sum() == 32
    grown = {"w": np.where(mask, 1e-3, 50).astype(np.float32)}  # what was pruned is now the largest
    again = plan.distort(grown, DistortionStep(), first.forms)
    np.testing.assert_array_equal(again.dense["w"] != 0, mask)
    free = make_plan(model, [Rule(method="prune", options={"sparsity": 0.5})]).distort(
        grown, DistortionStep(), first.forms
    )
    np.testing.assert_array_equal(free.dense["w"] != 0, ~mask)
