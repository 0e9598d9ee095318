"""Unrolled LSTM and GRU: the loss of the original node to 1e-5, directional derivatives to 1 %."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def results(in_engine):
    return in_engine("recurrent_cases.py")


def test_forward_equals_the_original_node(results):
    assert len(results) == 63
    failed = {name: found for name, found in results.items() if isinstance(found, str) or not found[0] < 1e-5}
    assert failed == {}


def test_gradients_equal_central_differences(results):
    # Clipped gates have kinks, where a difference is no derivative: of those only the forward pass is compared.
    smooth = {name: found for name, found in results.items() if "clip" not in name}
    assert {name: found for name, found in smooth.items() if max(found[1:]) > 1e-2} == {}
