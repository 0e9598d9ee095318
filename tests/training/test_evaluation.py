"""Evaluation of the present weights: what the metric is counted from."""

from __future__ import annotations

import pytest
from fake_engine import FakeEngine, network, samples

from dtc.data import ArraySource
from dtc.metrics import Perplexity
from dtc.recipe import Objective
from dtc.training.carry import Carry
from dtc.training.evaluate import Evaluation


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(network())


def evaluation(*, from_loss: bool) -> Evaluation:
    source = ArraySource("samples", samples(), 16, keep_short=True)
    carry = Carry(network(), {"hn": "h0"})
    return Evaluation(source, carry, Perplexity, "logits", Objective().labels, 1, from_loss=from_loss)


def test_perplexity_of_the_loss_is_that_of_the_outputs_without_a_second_run(engine, monkeypatch) -> None:
    counted = evaluation(from_loss=False)(engine)
    monkeypatch.delattr(FakeEngine, "predict")
    told = evaluation(from_loss=True)(engine)
    assert told.value == pytest.approx(counted.value, rel=1e-6)
    assert (told.metric, told.higher_is_better) == ("perplexity", False)
