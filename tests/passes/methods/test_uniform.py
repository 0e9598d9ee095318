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
@given(st.integers(0, 10_000), st.integers(2, 8), st.booleans(), st.sampled_from([0, 16, 64]))
def test_every_weight_is_a_whole_number_of_steps_within_half_a_step(seed: int, bits: int, symmetric: bool, group: int):
    rng = np.random.default_rng(seed)
    matrix = (rng.standard_normal((1, 6, 128)) * 10.0 ** rng.integers(-3, 3) + rng.random()).astype(np.float32)
    form = quantized(matrix, bits=bits, symmetric=symmetric, group_size=group)[0]
    dense = form.dense()
    size = group or 128
    for row in range(6):
        for start in range(0, 128, size):
            step = 2 * float(form.alphas[-1, row, start // size])
            values = dense[row, start : start + size].astype(np.float64)
            assert (np.round(values / step) * step == values).all()  # exactly, and 0 is a level
            assert len(np.unique(values)) <= 1 << bits
            errors = np.abs(values - matrix[0, row, start : start + size])
            assert errors.max() <= step * (0.5 if symmetric else 1.0) + 1e-6


def test_pruned_weights_stay_zero_without_a_mask_being_stored():
    matrix = np.random.default_rng(0).standard_normal((1, 20, 64)).astype(np.float32) + 1
    mask = matrix > 1.5
    for symmetric in (True, False):
        form = quantized(matrix, mask, bits=8, symmetric=symmetric)[0]
        assert (form.dense()[~mask[0]] == 0).all()
        assert form.mask is None


def test_eight_bits_are_as_close_as_eight_bits_are():
    matrix = np.random.default_rng(0).standard_normal((1, 100, 300)).astype(np.float32)
    dense = quantized(matrix, bits=8)[0].dense()
    step = np.abs(matrix[0]).max(axis=1, keepdims=True) / 127
    assert ((dense - matrix[0]) ** 2).mean() == pytest.approx((step**2 / 12).mean(), rel=0.03)


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
