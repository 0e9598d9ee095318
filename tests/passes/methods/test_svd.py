"""Truncated SVD against LAPACK's, and the published counts of the shared projection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.errors import UsageError
from dtc.forms import LowRank, stored_bytes
from dtc.passes.method import Skip, Weights, make_method


def weights(matrix: np.ndarray, name: str = "w", **facts: object) -> Weights:
    stack = matrix if matrix.ndim == 3 else matrix[None]
    return Weights(name, stack.astype(np.float32), **{"node": "n", **facts})


def best_error(matrix: np.ndarray, rank: int) -> float:
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    return float((values[rank:] ** 2).sum())


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(2, 40), cols=st.integers(2, 40), rank=st.integers(1, 12), seed=st.integers(0, 99))
def test_no_rank_r_matrix_is_nearer_than_the_distorted_one(rows: int, cols: int, rank: int, seed: int) -> None:
    if rank > min(rows, cols):
        return
    matrix = np.random.default_rng(seed).normal(size=(rows, cols)).astype(np.float32)
    outcome = make_method("svd", {"rank": rank}).distort([weights(matrix)])["w"]
    if rank * (rows + cols) >= rows * cols:
        assert isinstance(outcome, Skip)
        return
    (form,) = outcome
    assert isinstance(form, LowRank)
    assert form.rank == rank
    assert np.square(matrix - form.dense()).sum() == pytest.approx(best_error(matrix, rank), rel=1e-3, abs=1e-4)


def test_distorting_twice_changes_nothing() -> None:
    matrix = np.random.default_rng(1).normal(size=(60, 50))
    method = make_method("svd", {"rank": 10})
    once = method.distort([weights(matrix)])["w"][0].dense()
    twice = method.distort([weights(once)])["w"][0].dense()
    np.testing.assert_allclose(twice, once, atol=2e-5)


def test_rank_deficient_and_zero_matrices_stay_finite() -> None:
    thin = np.outer(np.arange(20.0), np.ones(90))
    for matrix in (thin, np.zeros((20, 90)), thin.T):
        form = make_method("svd", {"rank": 5}).distort([weights(matrix)])["w"][0]
        np.testing.assert_allclose(form.dense(), matrix, atol=1e-4)


def test_energy_keeps_the_smallest_rank_that_holds_it() -> None:
    u, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))
    v, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(64, 64)))
    values = np.array([8.0, 4.0, 2.0, 1.0] + [0.0] * 60)
    matrix = (u * values) @ v.T  # energies 64, 16, 4, 1 of 85
    ranks = {
        share: make_method("svd", {"energy": share}).distort([weights(matrix)])["w"][0].rank
        for share in (0.7, 0.9, 0.98, 0.995)
    }
    assert ranks == {0.7: 1, 0.9: 2, 0.98: 3, 0.995: 4}


def test_rank_ratio_is_of_the_smaller_side() -> None:
    form = make_method("svd", {"rank_ratio": 0.25}).distort([weights(np.random.default_rng(0).normal(size=(80, 40)))])
    assert form["w"][0].rank == 10


@pytest.mark.parametrize(("rows", "cols", "rank", "ratio"), [(2600, 650, 96, 5.42), (6000, 1500, 64, 18.75)])
def test_published_ratios_of_one_layer(rows: int, cols: int, rank: int, ratio: float) -> None:
    """algorithms: the ratio mn/(r(m+n)) of DeepTwist's medium and large models."""
    form = LowRank(np.zeros((rows, rank), np.float32), np.zeros((rank, cols), np.float32))
    assert rows * cols * 4 / form.nbytes == pytest.approx(ratio, abs=0.005)


def test_shared_projection_stores_the_basis_once_and_is_the_least_squares_fit() -> None:
    rng = np.random.default_rng(3)
    recurrent, entry = rng.normal(size=(1, 260, 65)), rng.normal(size=(1, 260, 65))
    pair = [weights(entry, "W"), weights(recurrent, "R", partner="W")]
    outcome = make_method("svd", {"rank": 16, "shared_projection": "layer"}).distort(pair)
    w, r = outcome["W"][0], outcome["R"][0]
    assert w.basis == r.basis is not None
    np.testing.assert_array_equal(w.right, r.right)
    assert stored_bytes([w, r]) == 4 * 16 * (260 + 260 + 65)
    fit = np.linalg.lstsq(w.right.T.astype(np.float64), entry[0].T, rcond=None)[0].T  # equation (5)
    np.testing.assert_allclose(w.left, fit, atol=1e-4)
    assert np.square(recurrent[0] - r.dense()).sum() == pytest.approx(best_error(recurrent[0], 16), rel=1e-4)


def test_next_reading_shares_with_the_layer_that_is_fed() -> None:
    rng = np.random.default_rng(4)
    sites = [
        weights(rng.normal(size=(1, 120, 30)), "R0", partner="W0", feeds=("W1",)),
        weights(rng.normal(size=(1, 120, 30)), "W1"),
        weights(rng.normal(size=(1, 120, 30)), "R1", partner="W1"),
        weights(rng.normal(size=(1, 120, 30)), "W0"),
    ]
    outcome = make_method("svd", {"rank": 6, "shared_projection": "next"}).distort(sites)
    bases = {name: forms[0].basis for name, forms in outcome.items()}
    assert bases["R0"] == bases["W1"] is not None
    assert bases["R1"] is None
    assert bases["W0"] is None


def test_a_rank_larger_than_any_site_is_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"--rank 41 .*largest full rank is 40"):
        make_method("svd", {"rank": 41}).refuse_sizes([(40, 60)])


@pytest.mark.parametrize("options", [{}, {"rank": 0}, {"rank": 4, "energy": 0.5}, {"energy": 1.5}, {"colour": 1}])
def test_wrong_options_are_named(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"svd.*(--rank|--energy|--colour|give exactly one)"):
        make_method("svd", options)


def test_compensation_is_the_best_low_rank_output() -> None:
    """SVD-LLM: no product of that rank is nearer to W X; checked against plain SVD and the theoretical loss."""
    rng = np.random.default_rng(7)
    matrix = rng.normal(size=(30, 40)).astype(np.float32)
    x = rng.normal(size=(40, 500)) * np.linspace(0.02, 3, 40)[:, None]
    gram = (x @ x.T / 500)[None]
    given = weights(matrix, gram=lambda: gram)

    def loss(options: dict[str, object]) -> float:
        form = make_method("svd", {"rank": 8, **options}).distort([given])["w"][0]
        return float(np.square((matrix - form.dense()) @ x).sum() / 500)

    best = best_error(matrix @ np.linalg.cholesky(gram[0]), 8)
    assert loss({"compensate": True}) == pytest.approx(best, rel=0.02)
    assert loss({}) == loss({"compensate": True})
    assert loss({"compensate": False}) > 1.3 * best


def test_compensation_without_samples_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="--compensate needs samples"):
        make_method("svd", {"rank": 4, "compensate": True}).distort([weights(np.eye(40, 60))])
