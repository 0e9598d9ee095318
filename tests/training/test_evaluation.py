"""Evaluation of the present weights: what the metric is counted from."""

from __future__ import annotations

import numpy as np
import pytest
from fake_engine import FakeEngine, network, samples

from dtc.data import ArraySource
from dtc.data.functions import FunctionSource
from dtc.metrics import Perplexity, make_metric
from dtc.recipe import Objective
from dtc.training.carry import Carry
from dtc.training.evaluate import Evaluation


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(network())


def evaluation(*, from_loss: bool) -> Evaluation:
    source = ArraySource("samples", samples(), 16, keep_short=True)
    carry = Carry(network(), {"hn": "h0"})
    return Evaluation(source, carry, Perplexity, Objective(output="logits"), 1, from_loss=from_loss)


@pytest.mark.parametrize("first", ["steps", "samples"])
def test_padded_steps_count_neither_in_the_metric_nor_in_the_mean_loss(first) -> None:
    class Ones:
        """Loss 1 of batches of whole sequences, 4 of the others, and class 1 everywhere."""

        def loss(self, batch):
            return (1.0 if (batch["lengths"] == 6).all() else 4.0), {}

        def predict(self, inputs):
            return {"y": np.broadcast_to(np.array([0.0, 1.0], np.float32), (*inputs["x"].shape, 2))}

    labels, lengths = np.ones((8, 6), np.int64), np.array([6] * 4 + [1] * 4)
    labels[4:, 1:] = 0  # padding, which a model of ones would get wrong
    arrays = {"x": labels, "lengths": lengths, "labels": labels}
    batches = [{name: array[at : at + 4] for name, array in arrays.items()} for at in (0, 4)]
    if first == "steps":
        batches = [{n: a.T if a.ndim > 1 else a for n, a in batch.items()} for batch in batches]
    source = FunctionSource("batches", lambda **_: batches, 4, "evaluate")
    objective, carry = Objective(lengths="lengths"), Carry(network(), {})
    score = Evaluation(source, carry, lambda: make_metric("accuracy"), objective, 1)(Ones())
    assert score.value == 1
    assert score.loss == pytest.approx((24 * 1 + 4 * 4) / 28)


def test_a_row_of_numbers_a_sequence_has_no_steps() -> None:
    class Nothing:
        """Loss 2, and zeros."""

        def loss(self, batch):
            return 2.0, {}

        def predict(self, inputs):
            return {"y": np.zeros((4, 3), np.float32)}

    batch = {"x": np.zeros((5, 4)), "lengths": np.array([1, 2, 3, 5]), "labels": np.ones((4, 3), np.float32)}
    source = FunctionSource("rows", lambda **_: [batch], 4, "evaluate")
    objective, carry = Objective(lengths="lengths"), Carry(network(), {})
    score = Evaluation(source, carry, lambda: make_metric("mse"), objective, 1)(Nothing())
    assert (score.loss, score.value) == (2, 1)


def test_perplexity_of_the_loss_is_that_of_the_outputs_without_a_second_run(engine, monkeypatch) -> None:
    counted = evaluation(from_loss=False)(engine)
    monkeypatch.delattr(FakeEngine, "predict")
    told = evaluation(from_loss=True)(engine)
    assert told.value == pytest.approx(counted.value, rel=1e-6)
    assert (told.metric, told.higher_is_better) == ("perplexity", False)
