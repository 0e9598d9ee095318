"""When a run measures statistics of BatchNormalization, of which weights, and where they go; moments by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from fake_engine import HIDDEN, FakeEngine, make_retraining, network, samples

from dtc.data import ArraySource
from dtc.passes.prepare.batch_moments import BATCHES, Moments
from dtc.training.events import DistortedWeights


class NormEngine(FakeEngine):
    """The fake engine, its hidden layer before the tanh shifted and scaled as by a BatchNormalization."""

    def __init__(self) -> None:
        super().__init__(network(), dropout=0.0)
        self.statistics = {"mean": np.zeros(HIDDEN, "f"), "variance": np.ones(HIDDEN, "f")}
        self.measured = 0

    def _before(self, batch):
        return batch["x"] @ self.parameters["W"] + batch["h0"] @ self.parameters["U"]

    def _forward(self, batch):
        mean, variance = self.statistics["mean"], self.statistics["variance"]
        hidden = np.tanh((self._before(batch) - mean) / np.sqrt(variance + np.float32(1e-5)))
        return hidden, hidden @ self.parameters["V"]

    def moments(self, batch):
        self.measured += 1
        before = self._before(batch)
        mean, variance = before.mean(0), before.var(0)
        hidden = np.tanh((before - mean) / np.sqrt(variance + np.float32(1e-5)))
        return [Moments(("mean", "variance"), mean, variance, len(before))], {"hn": hidden}


def source(count: int = 200) -> ArraySource:
    return ArraySource("samples", samples(count), 8, keep_short=True)


def retraining(**options):
    return make_retraining(source(), source(24), engine=NormEngine(), **options)


def by_hand(parameters) -> dict[str, np.ndarray]:
    """Statistics over the first batches, the state carried between them, in double precision."""
    state, rows = np.zeros((8, HIDDEN)), []
    for number, batch in enumerate(source().batches(epoch=0, seed=1, shuffle=False)):
        if number == BATCHES:
            break
        before = batch["x"] @ parameters["W"].astype("d") + state @ parameters["U"]
        state = np.tanh((before - before.mean(0)) / np.sqrt(before.var(0) + 1e-5))
        rows.append(before)
    whole = np.concatenate(rows)
    return {"mean": whole.mean(0), "variance": whole.var(0)}


def test_weights_are_evaluated_and_kept_with_statistics_of_their_own():
    run = retraining(steps=24, distort_every=8, evaluate_every=5)
    seen, score = [], run.evaluation

    def evaluation(engine):
        for name, wanted in by_hand(engine.parameters).items():
            np.testing.assert_allclose(engine.statistics[name], wanted, rtol=1e-4, atol=1e-5)
        seen.append(engine)
        return score(engine)

    run.evaluation = evaluation
    run.run()
    assert len(seen) == 5
    assert run.journal.bests
    for best, kept, _ in run.journal.bests:
        assert kept.keys() == {"W", "U", "V", "mean", "variance"}
        for name, wanted in by_hand(kept).items():
            np.testing.assert_allclose(kept[name], wanted, rtol=1e-4, atol=1e-5)
        again = NormEngine()
        again.parameters = {name: kept[name] for name in ("W", "U", "V")}
        again.statistics = {name: kept[name] for name in ("mean", "variance")}
        assert score(again) == best.score


def test_the_loss_before_and_after_a_distortion_is_by_the_moments_of_the_batch():
    run = retraining(steps=5, distort_every=5, evaluate_every=5)
    taken, loss = [], run.session.engine.loss

    def spy(batch):
        found = loss(batch)
        if len(batch["x"]) == 8 and run.session.progress.step == 5:
            before = run.session.engine._before(batch)
            if np.allclose(run.session.engine.statistics["mean"], before.mean(0), atol=1e-6):
                taken.append(found[0])
        return found

    run.session.engine.loss = spy
    run.run()
    (event,) = run.journal.of(DistortedWeights)
    assert taken == [event.loss_before, event.loss_after]


def test_statistics_do_not_depend_on_how_a_run_came_to_its_weights():
    """Only the weights and the data decide, so that a resumed run has the same."""
    run, resumed = (retraining(steps=12, distort_every=4, evaluate_every=12) for _ in range(2))
    run.run()
    for name, array in run.session.engine.parameters.items():
        resumed.session.engine.parameters[name][...] = array
    resumed.session.engine.statistics["mean"][...] = 7
    resumed._score()
    assert all(
        np.array_equal(resumed.session.engine.statistics[n], a) for n, a in run.session.engine.statistics.items()
    )


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_statistics_are_never_measured_and_not_kept(frozen):
    run = retraining(steps=8, distort_every=4, evaluate_every=4)
    if frozen:
        run.session.engine.statistics = {}
        run.session.engine._forward = lambda batch: FakeEngine._forward(run.session.engine, batch)
    run.run()
    assert (run.session.engine.measured == 0) is frozen
    assert all(("mean" in kept) is not frozen for _, kept, _ in run.journal.bests)
