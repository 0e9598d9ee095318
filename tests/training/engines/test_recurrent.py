"""LSTM, GRU and RNN in training: the loss of the original node to 1e-5, directional derivatives to 1 %."""

from __future__ import annotations

import pytest
from engine_process import refused


@pytest.fixture
def trained(cases):
    return {name: found for name, found in cases("recurrent_cases.py").items() if not refused(found)}


def test_forward_equals_the_original_node(trained):
    assert {name: found for name, found in trained.items() if isinstance(found, str) or not found[0] < 1e-5} == {}


def test_gradients_equal_central_differences(trained):
    # Clipped gates have kinks, where a difference is no derivative: of those only the forward pass is compared.
    smooth = {name: found for name, found in trained.items() if "clip" not in name}
    assert {name: found for name, found in smooth.items() if max(found[1:]) > 1e-2} == {}
