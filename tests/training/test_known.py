"""What methods learn in a run: gradients between distortions, the forms before, masks that stay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from fake_engine import FakeMethods, make_retraining, samples

from dtc.data import ArraySource
from dtc.passes.method import Moment, Weights, make_method
from dtc.passes.plan import make_plan
from dtc.recipe import Rule, Schedule
from dtc.training.events import DistortedWeights, Evaluated, Iterated, Stepped
from dtc.training.known import Known


def source(batch_size: int = 16) -> ArraySource:
    return ArraySource("samples", samples(), batch_size, keep_short=False)


def test_gradients_are_averaged_since_the_last_distortion() -> None:
    known = Known(frozenset({"gradient"}))
    known.see({"w": np.array([1.0, -2.0], np.float32)})
    known.see({"w": np.array([-3.0, 0.0], np.float32)})
    np.testing.assert_array_equal(known.gradients()["w"], [2, 1])
    known.distorted({}, {})
    assert known.gradients() == {}


def test_nothing_is_kept_that_no_method_needs() -> None:
    known = Known()
    known.see({"w": np.ones(2, np.float32)})
    known.distorted({"w": ()}, {})
    assert known.arrays() == {}


def test_a_checkpoint_brings_everything_back() -> None:
    known = Known(frozenset({"gradient", "previous"}))
    matrix = np.random.default_rng(0).normal(size=(1, 20, 30)).astype(np.float32)
    forms = make_method("svd", {"rank": 3}).distort([Weights("a/b", matrix, "n")])
    known.distorted({"a/b": forms["a/b"]}, {})
    known.see({"a/b": np.full(3, 2, np.float32)})
    again = Known(known.wants)
    again.restore(known.arrays())
    np.testing.assert_array_equal(again.forms["a/b"][0].dense(), forms["a/b"][0].dense())
    np.testing.assert_array_equal(again.gradients()["a/b"], [2, 2, 2])


def test_masked_weights_stay_zero_between_distortions() -> None:
    run = make_retraining(source(), source(), steps=9, distort_every=4)
    run.methods = FakeMethods()
    shape = run.engine.parameters["W"].shape
    run.methods.masks = lambda forms: {"W": np.arange(shape[0])[:, None] > np.zeros(shape)}
    seen = []
    step = run.engine.step

    def watch(batch, *, seed):
        seen.append(bool(run.engine.parameters["W"][0].any()))
        return step(batch, seed=seed)

    run.engine.step = watch
    run.run()
    assert seen[:4] == [True] * 4
    assert seen[5:8] == [False] * 3  # from the step after the first distortion, each step is masked again


def test_iterations_restart_the_schedule_and_end_when_nothing_gets_better() -> None:
    run = make_retraining(
        source(), source(), steps=600, distort_every=100, iteration=2, patience=3, optimizer={"learning_rate": 0.05}
    )
    object.__setattr__(run.plan, "schedule", Schedule(kind="step", factor=0.5))
    assert run.run()
    batches = source().length or 0
    rates = [event.learning_rate for event in run.record.of(Stepped)]
    assert rates[0] == rates[2 * batches] == 0.05
    assert rates[batches] == rates[3 * batches] == 0.025
    distorted = [event.step for event in run.record.of(DistortedWeights)]
    assert distorted[:3] == [2 * batches, 4 * batches, 6 * batches]
    evaluations = run.record.of(Evaluated)
    assert [event.step for event in evaluations] == distorted
    assert run.state.step < 600
    assert [event.best for event in evaluations[-3:]] == [False] * 3
    iterations = run.record.of(Iterated)
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
    again = plan.distort(grown, Moment(), first.forms)
    np.testing.assert_array_equal(again.dense["w"] != 0, mask)
    free = make_plan(model, [Rule(method="prune", options={"sparsity": 0.5})]).distort(grown, Moment(), first.forms)
    np.testing.assert_array_equal(free.dense["w"] != 0, ~mask)
