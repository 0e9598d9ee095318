"""Losses and operators: the loss of the model itself to 1e-5, directional derivatives of all parameters to 1 %."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def results(in_engine):
    return in_engine("gradient_cases.py")


def test_the_training_graph_computes_what_the_model_does(results):
    assert len(results) == 31
    assert {name: found for name, found in results.items() if isinstance(found, str) or not found[0] < 1e-5} == {}


def test_gradients_equal_central_differences(results):
    wrong = {name: found[1] for name, found in results.items() if max(found[1].values()) > 1e-2}
    assert wrong == {}


@pytest.mark.parametrize(
    ("case", "parameters"),
    [
        ("transposed with strides", ["V", "W", "b"]),
        ("BatchNormalization", ["V", "scale", "shift"]),
        ("BatchNormalization, frozen", ["V", "scale", "shift"]),
        ("tied embedding, repeated ids", ["table"]),
        ("shared weight", ["W"]),
        ("control flow before the weights", ["W"]),
    ],
)
def test_every_weight_has_a_gradient(results, case, parameters):
    assert results[case][2] == parameters
