"""Every node test of the onnx package: computed right, with the right gradient, or refused with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture
def results(torch_engine):
    return torch_engine.run(Path(__file__).with_name("node_test_cases.py"))


def test_what_is_not_refused_is_right(results):
    assert [name for name, (found, _) in results.items() if found == "wrong"] == []
    assert sum(found == "right" for found, _ in results.values()) > 1500


def test_what_is_refused_is_told_with_the_node_or_the_type(results):
    refusals = {name: found for name, (found, _) in results.items() if found not in ("right", "wrong")}
    pattern = re.compile(
        "(node|initializer) '.*(has no|has Scan|has Col2Im|cannot compute)|the torch engine has no type"
    )
    assert {name: found for name, found in refusals.items() if not pattern.search(found)} == {}


def test_gradients_equal_differences(results):
    slopes = {name: slope for name, (_, slope) in results.items() if slope is not None}
    assert {name: slope for name, slope in slopes.items() if not slope < 1e-5} == {}
    assert len(slopes) > 700
