"""Levels of activations: against every range of a fine grid, and at the ends."""

from __future__ import annotations

import numpy as np
import pytest

from dtc.passes.solvers.activation_levels import fit_levels

RNG = np.random.default_rng(0)
DRAWS = {
    "half normal": np.abs(RNG.normal(size=4000)).astype("f"),
    "normal, shifted": (RNG.normal(size=4000) + 1).astype("f"),
    "uniform": RNG.random(4000).astype("f"),
    "long tail": np.append(RNG.random(4000), 40).astype("f"),
}


def squared_error(values: np.ndarray, scale: float, zero: int, bits: int) -> float:
    steps = np.clip(np.rint(values / scale) + zero, 0, 2**bits - 1)
    return float(np.square((steps - zero) * scale - values).sum())


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("name", DRAWS)
def test_no_scale_is_much_better(name: str, bits: int) -> None:
    values = DRAWS[name]
    low, high = float(values.min()), float(values.max())
    levels = fit_levels(values, low, high, bits)
    widest = (max(high, 0) - min(low, 0)) / (2**bits - 1)
    tried = (squared_error(values, share * widest, levels.zero_point, bits) for share in np.linspace(0.01, 1.2, 700))
    found = float(np.square(levels.round(values) - values).sum())
    assert found == pytest.approx(squared_error(values, levels.scale, levels.zero_point, bits), rel=1e-3)
    assert found <= 1.05 * min(tried)


def test_what_is_never_negative_has_zero_for_its_lowest_level() -> None:
    assert fit_levels(DRAWS["uniform"], 0.0, 1.0, 4).zero_point == 0


def test_zero_is_a_level() -> None:
    levels = fit_levels(DRAWS["normal, shifted"], -2.0, 4.0, 3)
    assert 0 < levels.zero_point < 7
    assert levels.round(np.zeros(1, "f")) == 0


def test_nothing_but_zeros_stays_zeros() -> None:
    levels = fit_levels(np.zeros(9, "f"), 0.0, 0.0, 4)
    assert levels.scale > 0
    assert not levels.round(np.zeros(9, "f")).any()
