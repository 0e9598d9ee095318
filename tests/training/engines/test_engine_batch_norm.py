"""BatchNormalization in the engine against NumPy by hand, to 1e-5; its gradients are in test_gradients."""

from __future__ import annotations

import pytest
from engine_process import Results


@pytest.fixture
def results(cases):
    return Results(cases("batch_norm_cases.py"))


def is_as_by_hand(pair) -> bool:
    found, wanted = pair
    return found == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_training_normalises_by_the_batch_and_evaluation_by_the_statistics(results):
    found = results["by batch"]
    assert is_as_by_hand(found["training"])
    assert is_as_by_hand(found["evaluation"])
    assert found["training"][1] != pytest.approx(found["evaluation"][1], rel=0.1)
    assert found["parameters"] == ["W", "scale", "shift"]


def test_with_the_statistics_of_a_batch_its_loss_is_that_of_training(results):
    assert is_as_by_hand(results["by batch"]["worn"])


def test_a_step_and_a_measurement_leave_the_statistics_alone(results):
    assert results["by batch"]["kept"] is True


def test_frozen_statistics_are_used_in_training_too(results):
    found = results["frozen"]
    assert is_as_by_hand(found["training"])
    assert is_as_by_hand(found["evaluation"])
    assert (found["statistics"], found["moments"]) == ([], [0, {}])


@pytest.mark.parametrize("what", ["mean", "variance", "evaluation", "prediction"])
def test_statistics_of_batches_of_several_sizes_are_those_of_all_samples(results, what):
    assert is_as_by_hand(results["live"][what])


def test_statistics_are_measured_without_dropout(results):
    found = results["without dropout"]
    assert is_as_by_hand(found["mean"])
    assert is_as_by_hand(found["variance"])
    assert found["stepped"] is True
