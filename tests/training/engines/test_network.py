"""What no engine may refuse: a small recurrent network, its loss, gradients, predictions and trainings by hand."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def results(cases):
    return cases("network_cases.py")


def assert_pairs(pairs, **tolerance) -> None:
    for found, wanted in pairs.values():
        np.testing.assert_allclose(found, wanted, **tolerance)


def test_a_step_gives_loss_gradients_and_carried_outputs(results):
    found = results["step"]
    assert found["loss"][0] == pytest.approx(found["loss"][1], rel=1e-5)
    assert sorted(found["gradients"]) == ["U", "V", "W"]
    assert_pairs(found["gradients"], rtol=1e-4, atol=1e-6)
    assert_pairs(found["carried"], rtol=1e-5, atol=1e-6)
    assert found["dtypes"] == ["float32"]


def test_evaluation_and_prediction_are_of_what_is_written_into_the_parameters(results):
    found = results["evaluation"]
    assert found["loss"][0] == pytest.approx(found["loss"][1], rel=1e-5)
    assert_pairs(found["carried"], rtol=1e-5, atol=1e-6)
    assert sorted(found["predicted"]) == ["hn", "logits"]
    assert_pairs(found["predicted"], rtol=1e-5, atol=1e-5)


def test_without_batch_normalization_there_are_no_moments(results):
    assert results["evaluation"]["statistics"] == [[], 0, {}]
    assert results["evaluation"]["names"] == [["U", "V", "W"], [], []]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_training_is_the_training_by_hand(results, optimizer):
    losses, wanted = results[optimizer]["losses"]
    np.testing.assert_allclose(losses, wanted, rtol=1e-3)
    assert losses[-1] < losses[1]
    assert_pairs(results[optimizer]["parameters"], rtol=1e-2, atol=1e-3)


def test_the_same_steps_give_the_same_bits(results):
    first, second = results["repeated"]
    assert len(set(first)) == 10
    assert first == second


def test_a_batch_may_have_any_size(results):
    for found, wanted in results["other sizes"]:
        assert found == pytest.approx(wanted, rel=1e-5)
