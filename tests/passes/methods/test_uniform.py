"""Uniform quantization in the form of binary codes: exactly `s (q - z)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.errors import ModelError, UsageError
from dtc.passes.method import Weights, make_method


def quantized(matrices: np.ndarray, mask: np.ndarray | None = None, **options: Any) -> Any:
    return make_method("uniform", options).distort([Weights("w", matrices, "n", mask=mask)])["w"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8), st.sampled_from([True, False, None]), st.sampled_from([0, 16, 64]))
def test_every_weight_is_the_nearest_whole_number_of_steps_that_there_is(
    seed: int, bits: int, symmetric: bool | None, group: int
):
    rng = np.random.default_rng(seed)
    matrix = (rng.standard_normal((1, 6, 128)) * 10.0 ** rng.integers(-3, 3) + rng.random()).astype(np.float32)
    form = quantized(matrix, bits=bits, symmetric=symmetric, group_size=group)[0]
    dense = form.dense()
    size = group or 128
    last = (1 << bits) - 1
    for row in range(6):
        for start in range(0, 128, size):
            step = 2 * float(form.alphas[-1, row, start // size])
            lowest = -step * (last / 2) + float(form.offset[row, start // size])
            values = dense[row, start : start + size].astype(np.float64)
            weights = matrix[0, row, start : start + size]
            assert (np.round(values / step) * step == values).all()  # exactly, and 0 is a level
            levels = lowest + step * np.arange(last + 1)
            assert levels.min() <= 0 <= levels.max()
            assert np.abs(values - weights) == pytest.approx(np.abs(weights[:, None] - levels).min(axis=1), rel=1e-4)
            # No larger than that of levels that span the whole range.
            whole = max(weights.max(), 0) - min(weights.min(), 0)
            if symmetric is False or (symmetric is None and not group):
                assert np.square(values - weights).mean() <= (whole / last) ** 2 / 3


@pytest.mark.parametrize(
    ("bits", "least", "most"), [(2, 0.13, 0.142), (3, 0.035, 0.038), (4, 0.0095, 0.0106), (8, 3.5e-5, 5.1e-5)]
)
def test_the_error_on_gaussian_rows_is_near_the_least_that_evenly_spaced_levels_have(
    bits: int, least: float, most: float
):
    # J. Max, Quantizing for minimum distortion, 1960: 0.1188, 0.03744 and 0.01154 for many weights; rows of 300 have
    # less, as their levels are their own, and more at 2 bits, as 0 is a level.
    matrix = np.random.default_rng(0).standard_normal((1, 100, 300)).astype(np.float32)
    errors = [
        np.square(quantized(matrix, bits=bits, symmetric=s)[0].dense() - matrix[0]).mean() for s in (False, True, None)
    ]
    assert least < errors[0] < most
    assert errors[0] < errors[1] < 1.3 * errors[0]
    assert errors[2] == errors[0]


def test_a_few_far_weights_do_not_make_wide_steps_for_all():
    matrix = np.random.default_rng(1).standard_normal((1, 50, 400)).astype(np.float32)
    matrix[0, :, 0] = 6
    step = 12 / 15
    assert np.square(quantized(matrix, bits=4)[0].dense() - matrix[0]).mean() < 0.6 * step**2 / 12


def test_groups_have_their_zero_in_the_middle_and_compensation_keeps_pruned_weights_zero():
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((1, 30, 96)).astype(np.float32) + np.float32(0.4)
    form = quantized(matrix, bits=4, group_size=32)[0]
    np.testing.assert_array_equal(form.offset, -form.alphas[-1])
    inputs = rng.standard_normal((300, 96)) @ rng.standard_normal((96, 96))
    gram = inputs.T @ inputs / 300
    for group in (0, 32):
        mask = rng.random(matrix.shape) < 0.5
        weights = Weights("w", np.where(mask, matrix, 0), "n", mask=mask, gram=lambda: gram[None])
        found = make_method("uniform", {"bits": 4, "group_size": group}).distort([weights])["w"][0].dense()
        assert (found[~mask[0]] == 0).all()


def test_pruned_weights_stay_zero_without_a_mask_being_stored():
    matrix = np.random.default_rng(0).standard_normal((1, 20, 64)).astype(np.float32) + 1
    mask = matrix > 1.5
    for symmetric in (True, False):
        form = quantized(matrix, mask, bits=8, symmetric=symmetric)[0]
        assert (form.dense()[~mask[0]] == 0).all()
        assert form.mask is None


def test_zero_rows_stay_zero_and_nan_is_refused():
    matrix = np.zeros((1, 4, 64), dtype=np.float32)
    assert (quantized(matrix, bits=4)[0].dense() == 0).all()
    assert (quantized(matrix, bits=4, symmetric=False)[0].dense() == 0).all()
    with pytest.raises(ModelError, match="'w'"):
        quantized(matrix + np.inf, bits=4)


def test_groups_of_part_of_a_byte_are_refused():
    with pytest.raises(UsageError, match="multiple of 8"):
        make_method("uniform", {"bits": 4, "group_size": 4})


def test_one_bit_is_refused_and_none_too():
    with pytest.raises(UsageError, match=r"method uniform, --bits: give 2 to 8.*\(given: 1\)"):
        make_method("uniform", {"bits": 1})
    with pytest.raises(UsageError, match="method uniform, --bits: is required"):
        make_method("uniform", {})
