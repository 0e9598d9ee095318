"""Gradients of codewords by the chain rule, and EWGS against finite differences of its surrogate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dtc.forms import Codebook, Codewords, Grid
from dtc.passes.solvers.codeword_training import codeword_gradient, fake_quantize


def some_form(*, masked: bool, zero: bool) -> Codebook:
    rng = np.random.default_rng(0)
    words = Codewords.encode(rng.normal(size=(5, 3)).astype(np.float32), 32)
    mask = rng.random((6, 10)) < 0.6 if masked else None
    return Codebook(rng.integers(0, 5 + zero, (6, 4)).astype(np.uint16), words, 10, np.float32(2), zero, mask)


@pytest.mark.parametrize(("masked", "zero"), [(False, False), (True, False), (False, True)])
def test_the_summed_gradient_is_the_derivative_by_the_codewords(masked: bool, zero: bool) -> None:
    form = some_form(masked=masked, zero=zero)
    slope = np.random.default_rng(1).normal(size=(1, 6, 10)).astype(np.float32)
    found = codeword_gradient([form], slope, "sum")
    for index in np.ndindex(5, 3):
        moved = form.codewords.values.astype(np.float32).copy()
        moved[index] += 1
        other = replace(form, codewords=Codewords.encode(moved, 32))
        difference = ((other.dense() - form.dense()).astype(np.float64) * slope[0]).sum()
        assert found[index] == pytest.approx(difference, abs=1e-4)


def test_the_mean_divides_by_the_members() -> None:
    words = Codewords.encode(np.array([[1.0], [2.0], [3.0]], np.float32), 32)
    form = Codebook(np.array([[0, 0, 0, 1]], np.uint16), words, 4)
    slope = np.array([[[1.0, 2.0, 6.0, 5.0]]], np.float32)
    assert codeword_gradient([form], slope).ravel().tolist() == [3, 5, 0]
    assert codeword_gradient([form, form], np.concatenate([slope, slope]), "sum").ravel().tolist() == [18, 10, 0]


def test_fake_quantization_gives_the_values_of_the_grid_that_stores_them() -> None:
    values = np.random.default_rng(2).normal(size=(40, 8)).astype(np.float32)
    for bits in (1, 2, 4, 8):
        fake = fake_quantize(values, -1.5, 1.25, bits)
        assert len(np.unique(fake.values)) == min(2**bits, len(np.unique(fake.values)))
        grid = Grid.spanning(-1.5, 1.25, bits)
        np.testing.assert_allclose(grid.values(grid.levels(values)), fake.values, atol=1e-6)


@pytest.mark.parametrize("delta", [0.0, 1e-3, 0.4])
def test_backward_is_the_derivative_of_the_surrogate(delta: float) -> None:
    """For `rounded` it has `rounded0 + (1 + delta sign(g) (normal0 - rounded0)) (normal - normal0)`."""
    rng = np.random.default_rng(3)
    values, slope = rng.normal(size=50), rng.normal(size=50)
    lower, upper, bits = -1.3, 1.6, 2
    fake = fake_quantize(values.astype(np.float32), lower, upper, bits)
    normal0, rounded0 = fake.normal.astype(np.float64), fake.rounded.astype(np.float64)
    factor = 1 + delta * np.sign(slope) * (normal0 - rounded0)

    def loss(numbers: np.ndarray, low: float, high: float) -> float:
        normal = np.clip((numbers - low) / (high - low), 0, 1)
        return float((slope * (low + (high - low) * (rounded0 + factor * (normal - normal0)))).sum())

    step = 1e-6
    by_value = [
        (loss(values + step * one, lower, upper) - loss(values - step * one, lower, upper)) / (2 * step)
        for one in np.eye(50)
    ]
    by_lower = (loss(values, lower + step, upper) - loss(values, lower - step, upper)) / (2 * step)
    by_upper = (loss(values, lower, upper + step) - loss(values, lower, upper - step)) / (2 * step)
    found = fake.backward(slope.astype(np.float32), delta)
    np.testing.assert_allclose(found[0], by_value, atol=1e-4)
    assert found[1] == pytest.approx(by_lower, abs=1e-3)
    assert found[2] == pytest.approx(by_upper, abs=1e-3)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        fake_quantize(np.zeros(3, np.float32), 1.0, 1.0, 2)
