"""Axes: every value has a place, and ticks are round, few and told apart."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtc.report.scale import Scale, labels, padded

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(width=32, min_value=2.0**-100, allow_infinity=False)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 900.0, [0.0, 200.0, 400.0, 600.0, 800.0]),
        (-0.3, 0.3, [-0.2, 0.0, 0.2]),
        (3.2, 9.9, [4.0, 6.0, 8.0]),
    ],
)
def test_ticks_are_one_two_or_five_times_a_power_of_ten(low: float, high: float, expected: list[float]) -> None:
    assert Scale(low, high, 0, 1).ticks() == pytest.approx(expected)


def test_ticks_of_a_log_axis_are_decades_where_there_are_enough() -> None:
    assert Scale(2e-4, 3.0, 0, 1, log=True).ticks() == pytest.approx([1e-3, 1e-2, 1e-1, 1.0])
    assert Scale(0.04, 0.9, 0, 1, log=True).ticks() == pytest.approx([0.05, 0.1, 0.2, 0.5])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.1, 0.30000000000000004], ["0", "0.1", "0.3"]),
        ([5000.0, 10000.0, 15000.0], ["5000", "10k", "15k"]),
        ([1234.1, 1234.2], ["1234.1", "1234.2"]),
        ([1e-7, 2e6, -1.5e8], ["1e-7", "2e6", "-1.5e8"]),
    ],
)
def test_labels_are_short_and_tell_ticks_apart(values: list[float], expected: list[str]) -> None:
    assert labels(values) == expected


@given(st.lists(FLOATS, max_size=8), st.booleans())
def test_all_values_have_a_place_on_a_linear_axis(values: list[float], zero: bool) -> None:
    scale = padded(values, 10.0, 110.0, zero=zero)
    assert all(10.0 <= scale(value) <= 110.0 for value in values)
    assert not zero or scale.low <= 0 <= scale.high
    ticks = scale.ticks()
    assert len(ticks) <= 12
    assert ticks == sorted(ticks)


@given(st.lists(POSITIVE, min_size=1, max_size=8))
def test_all_values_have_a_place_on_a_log_axis(values: list[float]) -> None:
    scale = padded(values, 110.0, 10.0, log=True)
    assert all(10.0 <= scale(value) <= 110.0 for value in values)
    assert scale(max(values)) <= scale(min(values)) + 1e-9
    assert len(scale.ticks()) <= 12
    assert all(math.isfinite(tick) for tick in scale.ticks())
