"""Losses and operators: the loss of the model itself to 1e-5, directional derivatives of all parameters to 1 %."""

from __future__ import annotations

import pytest
from engine_process import refused

PARAMETERS = {
    "transposed with strides": ["V", "W", "b"],
    "BatchNormalization": ["V", "scale", "shift"],
    "BatchNormalization, frozen": ["V", "scale", "shift"],
    "tied embedding, repeated ids": ["table"],
    "shared weight": ["W"],
    "control flow before the weights": ["W"],
}


@pytest.fixture
def trained(cases):
    return {name: found for name, found in cases("gradient_cases.py").items() if not refused(found)}


def test_the_training_graph_computes_what_the_model_does(trained):
    assert {name: found for name, found in trained.items() if isinstance(found, str) or not found[0] < 1e-5} == {}


def test_gradients_equal_central_differences(trained):
    assert {name: found[1] for name, found in trained.items() if max(found[1].values()) > 1e-2} == {}


def test_every_weight_has_a_gradient(trained):
    wanted = {name: names for name, names in PARAMETERS.items() if name in trained}
    assert {name: trained[name][2] for name in wanted} == wanted
