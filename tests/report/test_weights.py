"""What the report says of weights, in numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtc.forms import LowRank
from dtc.forms.composite import Product
from dtc.report.weights import BINS, describe_weights, histogram, singular_values


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (8, 8), (1, 5), (5, 1)])
def test_singular_values_are_those_of_numpy(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(
        singular_values(matrix), np.linalg.svd(matrix.astype(np.float64), compute_uv=False), rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["low_rank", "product", "turned"])
def test_the_spectrum_of_a_product_is_that_of_its_dense_matrix(kind: str) -> None:
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(5, 16)).astype(np.float32)
    flat = LowRank(left, right)
    eye = np.eye(5, dtype=np.float32)
    upright, turned = LowRank(eye, right), LowRank(np.ascontiguousarray(right.T), eye)
    forms = {
        "low_rank": flat,
        "product": Product(LowRank(left, eye), upright),
        "turned": Product(LowRank(left, eye), turned, turned=True),
    }
    form = forms[kind]
    before = rng.normal(size=(20, 16)).astype(np.float32)
    (spectrum,) = describe_weights(before, form.dense(), before[None], [form]).spectra
    expected = np.linalg.svd((left.astype(np.float64) @ right), compute_uv=False)[:5]
    np.testing.assert_allclose(spectrum.after, expected, rtol=1e-6)


def test_a_matrix_that_is_not_finite_has_no_spectrum() -> None:
    assert singular_values(np.array([[1.0, np.nan]], dtype=np.float32)) == []


@given(st.lists(st.floats(width=32), min_size=1, max_size=50), st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_every_finite_weight_is_counted_once(before: list[float], after: list[float]) -> None:
    arrays = [np.array(values, dtype=np.float32) for values in (before, after)]
    found = histogram(*arrays)
    assert [sum(found.before), sum(found.after)] == [int(np.isfinite(array).sum()) for array in arrays]
    assert len(found.edges) == BINS + 1
    assert list(found.edges) == sorted(found.edges)


def test_outliers_do_not_hide_the_shape() -> None:
    weights = np.random.default_rng(3).normal(size=100_000).astype(np.float32)
    weights[0] = 1000.0
    found = histogram(weights, weights)
    assert max(found.edges) < 20
    assert found.before[-1] >= 1
