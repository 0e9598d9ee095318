"""The occasional distortion: what happens at which step, to which weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fake_engine import HIDDEN, FakeEngine, FakePlan, distort, make_retraining, network, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.data import ArraySource
from dtc.errors import DataError, TrainingError, UsageError
from dtc.passes.method import DistortionStep
from dtc.passes.plan import Plan
from dtc.training.carry import Carry
from dtc.training.draws import step_seed
from dtc.training.evaluate import Score
from dtc.training.events import DistortedWeights, Evaluated, Stepped, from_line, to_line


def source(count=64, batch_size=8, seed=0, *, keep_short=False) -> ArraySource:
    return ArraySource("samples", samples(count, seed), batch_size, keep_short)


def retraining(**options):
    return make_retraining(source(), source(24, seed=1, keep_short=False), **options)


def is_low_rank(parameters, rank=2) -> bool:
    return all(np.linalg.matrix_rank(parameters[name], tol=1e-4) <= rank for name in ("W", "U"))


@given(steps=st.integers(1, 30), every=st.integers(1, 12), evaluate=st.one_of(st.none(), st.integers(1, 9)))
@settings(max_examples=30, deadline=None)
def test_distortions_and_evaluations_are_where_they_should_be(steps, every, evaluate):
    run = retraining(steps=steps, distort_every=every, evaluate_every=evaluate)
    assert run.run()
    record = run.journal
    assert [event.step for event in record.of(Stepped)] == list(range(1, steps + 1))
    wanted = {step for step in range(1, steps + 1) if step % every == 0} | {steps}
    assert [event.step for event in record.of(DistortedWeights)] == sorted(wanted)
    period = 8 if evaluate is None else evaluate  # 64 samples are 8 batches
    wanted = {step for step in range(1, steps + 1) if step % period == 0} | {steps}
    assert [event.step for event in record.of(Evaluated)] == sorted(wanted)
    assert is_low_rank(run.session.engine.parameters)
    assert is_low_rank(record.checkpoints[-1][1])


def test_between_distortions_it_is_ordinary_training_with_the_optimizers_state_untouched():
    """The same run by hand: steps, and weights overwritten, nothing else."""
    run = retraining(steps=17, distort_every=5, evaluate_every=3)
    run.run()
    by_hand = retraining(steps=17)
    state = {}
    batches = [b for epoch in range(3) for b in source().batches(epoch=epoch, seed=1, shuffle=False)]
    for t, batch in enumerate(batches[:17], 1):
        if (t - 1) % 8 == 0:
            state = {}
        result = by_hand.session.engine.step(by_hand.session.carry.join(batch, state), seed=step_seed(1, t))
        state = by_hand.session.carry.take(result.outputs)
        by_hand.session.optimizer.step(by_hand.session.engine.parameters, result.gradients, rate=0.01, t=t)
        if t % 5 == 0 or t == 17:
            for name, dense in distort(by_hand.session.engine.parameters, DistortionStep()).dense.items():
                by_hand.session.engine.parameters[name][...] = dense
    for name, array in by_hand.session.engine.parameters.items():
        assert np.array_equal(run.session.engine.parameters[name], array)


def test_only_distorted_weights_are_evaluated_and_training_goes_on_from_the_undistorted():
    run = retraining(steps=12, distort_every=12, evaluate_every=4)
    seen = []
    score = run.evaluation

    def evaluation(engine):
        seen.append({name: array.copy() for name, array in engine.parameters.items()})
        return score(engine)

    run.evaluation = evaluation
    run.run()
    assert len(seen) == 3
    assert all(is_low_rank(parameters) for parameters in seen)
    assert not is_low_rank(run.journal.checkpoints[0][1])  # step 6, between the distortions
    plain = retraining(steps=12, distort_every=12, evaluate_every=None)
    plain.run()
    assert all(
        np.array_equal(plain.session.engine.parameters[name], run.session.engine.parameters[name])
        for name in ("W", "U", "V")
    )


def test_the_best_of_the_evaluated_is_kept_with_its_forms():
    run = retraining(steps=40, distort_every=7, evaluate_every=3, optimizer={"learning_rate": 0.1})
    run.run()
    evaluated, bests = run.journal.of(Evaluated), run.journal.bests
    top = max(event.value for event in evaluated)
    assert bests[-1][0].score.value == top
    assert bests[-1][0].step == next(event.step for event in evaluated if event.value == top)
    assert [best.step for best, _, _ in bests] == [event.step for event in evaluated if event.best]
    for best, parameters, forms in bests:
        for name in ("W", "U"):
            assert np.array_equal(parameters[name], forms[name][0].dense().T)
        run.session.engine.parameters = parameters
        assert run.evaluation(run.session.engine) == best.score


def test_the_loss_just_before_and_after_is_that_of_the_batch_without_dropout():
    run = retraining(steps=5, distort_every=5, evaluate_every=5)
    before = {}
    plain = run.session.plan.function

    def spy(parameters, at):
        before.update({name: array.copy() for name, array in parameters.items()})
        assert (at.step, at.steps, at.seed) == (5, 5, 1)
        return plain(parameters, at)

    run.session.plan = FakePlan(spy)
    run.run()
    (event,) = run.journal.of(DistortedWeights)
    *_, fifth = list(run.data.batches(epoch=0, seed=1, shuffle=False))[:5]
    fed = {**fifth, "h0": carried_after(4)}
    engine = FakeEngine(network())
    for weights, logged in ((before, event.loss_before), (run.session.engine.parameters, event.loss_after)):
        engine.parameters = dict(weights)
        assert engine.loss(fed)[0] == pytest.approx(logged, rel=1e-6)


def carried_after(steps: int) -> np.ndarray:
    run = retraining(steps=20, distort_every=20, evaluate_every=20)
    run.run(lambda: run.session.progress.step == steps)
    return run.session.progress.carry["h0"]


def test_carried_state_is_zero_at_the_start_of_an_epoch_and_the_output_before_otherwise():
    run = retraining(steps=16, distort_every=16, evaluate_every=16)
    fed, outputs = [], []
    step = run.session.engine.step

    def spy(batch, *, seed):
        result = step(batch, seed=seed)
        fed.append(batch["h0"].copy())
        outputs.append(result.outputs["hn"].copy())
        return result

    run.session.engine.step = spy
    run.run()
    for index, start in enumerate(fed):
        wanted = np.zeros((8, HIDDEN)) if index % 8 == 0 else outputs[index - 1]
        assert np.array_equal(start, wanted)


def test_evaluation_carries_too_and_weighs_batches_by_their_labels():
    run = retraining()
    run.evaluation = type(run.evaluation)(**{**vars(run.evaluation), "source": source(12, 4), "make_metric": None})
    engine, state, losses = run.session.engine, np.zeros((4, HIDDEN), np.float32), []
    for batch in source(12, 4).batches(epoch=0, seed=0, shuffle=False):
        loss, outputs = engine.loss({**batch, "h0": state})
        state = outputs["hn"]
        losses.append(loss)
    assert run.evaluation(engine) == Score(pytest.approx(np.mean(losses)), samples="all 12 samples in samples")


def test_batches_of_another_size_cannot_be_carried_into():
    run = make_retraining(source(20, 8, keep_short=True), source(24))
    with pytest.raises(
        DataError, match=r"'h0' is carried over with shape \[8, 12\], but the next batch needs \[4, 12\]"
    ):
        run.run()


def test_a_carry_that_the_model_does_not_have():
    with pytest.raises(UsageError, match="--carry a=h0: the model has no such output"):
        Carry(network(), {"a": "h0"})


@pytest.mark.parametrize("at", [1, 7, 13])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(at):
    run = retraining(steps=20, checkpoint_every=6)
    step = run.session.engine.step

    def spy(batch, *, seed):
        result = step(batch, seed=seed)
        return type(result)(math.nan, result.gradients, result.outputs) if run.session.progress.step == at else result

    run.session.engine.step = spy
    with pytest.raises(TrainingError, match=f"step {at}: the loss is nan"):
        run.run()
    assert [done for done, _ in run.journal.checkpoints] == [done for done in (6, 12) if done < at]
    assert all(np.isfinite(array).all() for _, saved in run.journal.checkpoints for array in saved.values())


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_is_used():
    run = retraining(steps=20)
    step = run.session.engine.step

    def spy(batch, *, seed):
        result = step(batch, seed=seed)
        if run.session.progress.step == 3:
            result.gradients["W"][0, 0] = np.inf
        return result

    run.session.engine.step = spy
    with pytest.raises(TrainingError, match="step 3: the gradient is not finite"):
        run.run()
    assert all(np.isfinite(array).all() for array in run.session.engine.parameters.values())


def test_scores_that_are_no_numbers_are_never_the_best():
    assert not Score(math.nan).beats(None)
    assert not Score(math.nan).beats(Score(1.0))
    assert Score(1.0).beats(None)
    assert Score(0.5).beats(Score(1.0))
    assert not Score(1.0).beats(Score(1.0))
    assert Score(9.0, "accuracy", 0.8, higher_is_better=True).beats(Score(0.1, "accuracy", 0.7, higher_is_better=True))
    assert Score(9.0, "perplexity", 80.0).beats(Score(0.1, "perplexity", 90.0))


def test_a_site_that_is_no_parameter_is_left_to_the_engine():
    run = retraining()
    frozen = run.session.engine.parameters.pop("U")
    run.session.engine.parameters = Half(run.session.engine.parameters, frozen)
    run.session.plan = FakePlan(lambda parameters, at: distort({**parameters, "U": frozen}, at))
    run.run()
    assert is_low_rank({"W": run.session.engine.parameters["W"], "U": np.zeros((2, 2))})


class Half(dict):
    """Parameters without one that the engine still computes with."""

    def __init__(self, parameters, frozen):
        super().__init__(parameters)
        self._frozen = frozen

    def __missing__(self, name):
        return self._frozen


def test_without_rules_it_is_plain_training_and_the_best_is_kept():
    run = retraining(steps=40, distort_every=None, evaluate_every=5, optimizer={"learning_rate": 0.05})
    run.session.plan = Plan((), (), {}, 13)
    run.run()
    assert run.journal.of(DistortedWeights) == []
    assert not is_low_rank(run.session.engine.parameters)
    first, *_, last = run.journal.of(Evaluated)
    assert last.loss < first.loss
    assert run.journal.bests[-1][0].score.value == max(event.value for event in run.journal.of(Evaluated))


def test_training_learns_the_task_in_low_rank():
    run = make_retraining(
        source(256, 32), source(256, 32), steps=300, distort_every=10, optimizer={"learning_rate": 0.02}, carry={}
    )
    zeros = {"h0": np.zeros((256, HIDDEN), np.float32)}
    run.data = run.evaluation.source
    run.data.arrays.update(zeros)
    run.run()
    assert run.journal.of(Evaluated)[-1].value > 0.9
    health = [event.loss_after - event.loss_before for event in run.journal.of(DistortedWeights)]
    assert abs(np.mean(health[-5:])) < abs(np.mean(health[:5]))


def test_events_are_lines_and_back():
    events = [
        Stepped(3, 0, 0.1, 1e-3, 2.5),
        DistortedWeights(5, 1, 0.1, 0.2),
        Evaluated(5, None, None, None, best=False),
    ]
    assert [from_line(to_line(event)) for event in events] == events
    for line in ("", "[]", "{}", '{"event": "step"}', '{"event": "other"}', '{"event": "step", "stop": 1}'):
        with pytest.raises(TrainingError, match="not an event"):
            from_line(line)
