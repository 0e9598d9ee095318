"""Binary codes of weights: the errors that papers and earlier measurements give, and the awkward cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.errors import ModelError, UsageError
from dtc.forms import BinaryCode
from dtc.graph import find_sites, load_model
from dtc.passes.method import Skip, Weights, make_method
from dtc.passes.solvers import best_codes as best_codes_module
from dtc.passes.solvers.best_codes import best_codes
from dtc.passes.solvers.binary_codes import Rows, alternating, decoded, greedy, nearest, refined, sign_table

SOLVERS = {"greedy": greedy, "refined": refined, "alternating": alternating}

# Relative mean squared error at 400 rows of 300 numbers: greedy, refined, alternating with a last least squares.
REFERENCE = {
    ("normal", 1): (0.3625, 0.3625, 0.3625),
    ("normal", 2): (0.1307, 0.1249, 0.1178),
    ("normal", 3): (0.0587, 0.0505, 0.0440),
    ("normal", 4): (0.0331, 0.0243, 0.0189),
    ("laplace", 2): (0.2279, 0.2063, 0.1777),
    ("laplace", 3): (0.1411, 0.1142, 0.0733),
    ("laplace", 4): (0.0935, 0.0576, 0.0442),
}


def drawn(kind: str, seed: int, shape: tuple[int, ...] = (400, 300)) -> np.ndarray:
    return getattr(np.random.default_rng(seed), kind)(size=shape).astype(np.float32)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(((found - expected) ** 2).sum() / (expected**2).sum())


def solved(name: str, rows: np.ndarray, bits: int, kept: np.ndarray | None = None) -> np.ndarray:
    coded = SOLVERS[name](Rows(rows, kept), bits)
    weights = decoded(coded.codes, coded.alphas)
    return weights if kept is None else weights * kept


def distort(matrices: np.ndarray, mask: np.ndarray | None = None, gram: Any = None, **options: Any) -> Any:
    weights = Weights("w", matrices, "n", mask=mask, gram=gram)
    return make_method("binary", options).distort([weights])["w"]


@pytest.mark.parametrize(("kind", "bits"), REFERENCE)
def test_errors_are_those_of_the_reference_table(kind: str, bits: int):
    # Tails of rows differ from draw to draw by more than 2 %; the mean of some draws does not.
    draws = [drawn(kind, seed) for seed in range(6)]
    for name, expected in zip(SOLVERS, REFERENCE[kind, bits], strict=True):
        found = np.mean([error(solved(name, rows, bits), rows) for rows in draws])
        assert found == pytest.approx(expected, rel=0.02), name


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 12), st.integers(2, 60), st.floats(0, 0.9))
def test_refined_is_no_worse_than_its_last_plane_and_alternating_no_worse_than_greedy(
    seed: int, bits: int, rows: int, cols: int, pruned: float
):
    rng = np.random.default_rng(seed)
    values = rng.laplace(size=(rows, cols)).astype(np.float32)
    kept = rng.random((rows, cols)) >= pruned
    values *= kept
    scale = (values**2).sum() + 1e-12
    errors = {name: ((solved(name, values, bits, kept) - values) ** 2).sum() / scale for name in SOLVERS}
    assert errors["alternating"] <= errors["greedy"] + 1e-5
    assert all(0 <= e <= 1 + 1e-6 for e in errors.values())


@pytest.mark.parametrize("kind", ["normal", "laplace"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_alternating_beats_refined_beats_greedy(kind: str, bits: int):
    rows = drawn(kind, 0, (50, 200))
    errors = [error(solved(name, rows, bits), rows) for name in ("alternating", "refined", "greedy")]
    assert errors == sorted(errors)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_nearest_finds_what_trying_all_levels_finds(seed: int, bits: int):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((3, 17)).astype(np.float32)
    alphas = -np.sort(-rng.random((3, bits)), axis=1)
    codes = nearest(Rows(values), alphas)
    levels = alphas @ sign_table(bits).T
    best = np.abs(values[:, :, None] - levels[:, None, :]).min(axis=2)
    found = np.abs(values - np.take_along_axis(levels, codes.astype(np.intp), axis=1))
    np.testing.assert_allclose(found, best, atol=1e-6)


@pytest.mark.parametrize(
    ("pruned", "masked", "plain"), [(0.5, 0.130, 0.565), (0.8, 0.051, 0.810), (0.9, 0.031, 0.902), (0.95, 0.021, 0.950)]
)
def test_pruned_weights_are_left_out(pruned: float, masked: float, plain: float):
    rows = drawn("normal", 0)
    kept = np.abs(rows) >= np.quantile(np.abs(rows), pruned, axis=1, keepdims=True)
    rows = rows * kept
    assert error(solved("greedy", rows, 1, kept), rows) == pytest.approx(masked, rel=0.04)
    assert error(solved("greedy", rows, 1), rows) == pytest.approx(plain, rel=0.01)


def test_a_pruned_site_stays_zero_where_pruned_and_reports_its_coding():
    matrices = drawn("normal", 1, (2, 24, 80))
    mask = np.abs(matrices) > 1.5
    mask[0, 3] = False
    forms = distort(matrices, mask, bits=2)
    for form, kept in zip(forms, mask, strict=True):
        assert ((form.dense() != 0) <= kept).all()
        assert np.isfinite(form.dense()).all()
        assert "survivors" in form.detail


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "matrix",
    [np.zeros((4, 64)), np.full((4, 64), -0.5), np.eye(64), np.ones((1, 256)), np.full((300, 8), 2.0), np.eye(65)[:3]],
    ids=["zeros", "constant", "identity", "one row", "narrow", "nearly empty rows"],
)
def test_awkward_matrices_give_finite_codes(matrix: np.ndarray, bits: int, solver: str):
    outcome = distort(matrix[None].astype(np.float32), bits=bits, solver=solver, alpha_dtype="float32")
    if isinstance(outcome, Skip):
        assert "bytes" in outcome.reason
        return
    dense = outcome[0].dense()
    assert np.isfinite(dense).all()
    assert ((dense - matrix) ** 2).sum() <= (matrix**2).sum() + 1e-6
    assert (np.diff(outcome[0].alphas, axis=0) <= 0).all()
    if np.ptp(np.abs(matrix)) == 0:
        np.testing.assert_allclose(dense, matrix, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "bits", "most"),
    [
        ("normal", 2, 0.1175),
        ("normal", 3, 0.0339),
        ("normal", 4, 0.0101),
        ("laplace", 3, 0.0525),
        ("laplace", 4, 0.0160),
    ],
)
def test_without_training_the_best_of_several_starts_is_found(kind: str, bits: int, most: float):
    matrices = drawn(kind, 1, (1, 200, 300))
    found = error(distort(matrices, bits=bits)[0].dense(), matrices[0])
    assert found <= most
    assert found < error(distort(matrices, bits=bits, rounds=100)[0].dense(), matrices[0])


@pytest.mark.parametrize("bits", [2, 4])
def test_long_rows_searched_in_bins_lose_nothing(bits: int, data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    model = load_model(data_dir / "onnx" / "ptb_rnnlm_lstm100_derived.onnx")
    table = max(find_sites(model), key=lambda site: site.size).matrices()[0]
    trained = table[:2400].reshape(48, -1)  # [48, 5000]
    tailed = np.random.default_rng(0).standard_t(3, (16, 5000)).astype(np.float32)
    kept = np.random.default_rng(1).random(trained.shape) < 0.4
    ratios = []
    for rows in (Rows(trained), Rows(tailed), Rows(trained * kept, kept), Rows(np.zeros((2, 5000), np.float32))):
        errors = []
        for many in (1 << 30, 0):
            monkeypatch.setattr(best_codes_module, "MANY", many)
            coded = best_codes(rows, bits)
            wrong = rows.values - decoded(coded.codes, coded.alphas)
            errors.append(float(np.square(wrong if rows.kept is None else wrong * rows.kept).sum()))
        ratios.append(errors[1] / errors[0] if errors[0] else 1 + errors[1])
    # Both end in local minima, of which either may be the better by chance.
    assert max(ratios) < 1.01
    assert np.mean(ratios) < 1.002


def test_the_best_codes_of_one_row_do_not_depend_on_the_others_and_pruned_weights_count_for_nothing():
    matrix = drawn("normal", 2, (600, 1000))  # more than are worked on at once
    coded = best_codes(Rows(matrix), 3)
    np.testing.assert_allclose(best_codes(Rows(matrix[-1:]), 3).alphas, coded.alphas[-1:], rtol=1e-9)
    kept = np.arange(1000) % 2 == 0
    half = best_codes(Rows(np.where(kept, matrix[:5], 0), np.tile(kept, (5, 1))), 3)
    np.testing.assert_allclose(half.alphas, best_codes(Rows(matrix[:5, kept]), 3).alphas, rtol=0.2)
    found = decoded(half.codes, half.alphas)[:, kept]
    assert error(found, matrix[:5, kept]) < 0.034


def test_eight_bits_of_evenly_spread_weights_lose_next_to_nothing():
    matrices = np.random.default_rng(0).uniform(-1, 1, (1, 20, 900)).astype(np.float32)
    assert error(distort(matrices, bits=8, alpha_dtype="float32")[0].dense(), matrices[0]) < 3e-5


@pytest.mark.parametrize("group_size", [0, 64])
def test_the_next_distortion_starts_from_the_last_codes(group_size: int):
    matrices = drawn("normal", 3, (2, 40, 200))
    mask = np.abs(matrices) > 0.3
    method = make_method("binary", {"bits": 3, "group_size": group_size, "alpha_dtype": "float32"})
    first = method.distort([Weights("w", matrices, "n", mask=mask)])["w"]
    dense = np.stack([form.dense() for form in first])
    again = method.distort([Weights("w", dense, "n", mask=mask, previous=first)])["w"]
    # Weights that are codes stay what they are, and weights that moved get the codes nearest to them.
    np.testing.assert_allclose(np.stack([form.dense() for form in again]), dense, atol=1e-5)
    moved = (dense + 0.05 * drawn("normal", 4, dense.shape)) * mask
    near = method.distort([Weights("w", moved, "n", mask=mask, previous=first)])["w"]
    agreeing = [(a.codes == b.codes).mean() for a, b in zip(near, first, strict=True)]
    assert min(agreeing) > 0.5
    assert error(np.stack([form.dense() for form in near]), moved) < 0.02
    # Other codes than these are no start.
    assert len(make_method("binary", {"bits": 2}).distort([Weights("w", dense, "n", previous=first)])["w"]) == 2


def test_a_zero_weight_counts_as_plus_one():
    form = distort(np.array([[[0, 1, -1, 0] * 64]], dtype=np.float32), bits=1)[0]
    assert form.codes[0, 0, 0] & 0b1001 == 0b1001


def test_groups_get_coefficients_of_their_own():
    matrix = np.concatenate([np.full((1, 5, 64), 1.0), np.full((1, 5, 40), 0.25)], axis=2).astype(np.float32)
    form = distort(matrix, bits=1, group_size=32)[0]
    np.testing.assert_array_equal(form.dense(), matrix[0])
    assert form.alphas.shape == (1, 5, 4)


def test_coefficients_too_small_or_large_for_float16_are_stored_in_float32():
    matrix = drawn("normal", 0, (1, 20, 100))
    assert distort(matrix, bits=2)[0].alphas.dtype == np.float16
    assert distort(matrix * 1e-6, bits=2)[0].alphas.dtype == np.float32
    assert distort(matrix * 1e6, bits=2)[0].alphas.dtype == np.float32


@pytest.mark.parametrize("group_size", [0, 32])
@pytest.mark.parametrize("pruned", [False, True])
def test_compensation_lowers_the_error_at_the_output(group_size: int, pruned: bool):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((400, 80)) @ rng.standard_normal((80, 80))
    gram = inputs.T @ inputs / len(inputs)
    matrices = drawn("normal", 4, (1, 40, 80))
    mask = np.abs(matrices) > 0.5 if pruned else None
    target = matrices[0] * (1 if mask is None else mask[0])
    errors = []
    for compensate in (False, True):
        options = {"bits": 2, "group_size": group_size, "compensate": compensate}
        dense = distort(matrices, mask, lambda: gram[None], **options)[0].dense()
        assert mask is None or (dense[~mask[0]] == 0).all()
        errors.append(float(((inputs @ (dense - target).T) ** 2).sum()))
    assert errors[1] < (1.0 if pruned else 0.8) * errors[0]  # pruned columns cannot take errors over


def test_compensation_without_calibration_data_says_what_to_do():
    with pytest.raises(UsageError, match=r"--compensate.*--data"):
        distort(drawn("normal", 0, (1, 8, 64)), bits=1, compensate=True)


def test_weights_that_are_not_finite_are_refused_by_name():
    with pytest.raises(ModelError, match=r"'w'.*NaN"):
        distort(np.full((1, 8, 64), np.nan, dtype=np.float32), bits=1)


def test_eight_planes_and_a_mask_are_refused():
    matrices = drawn("normal", 0, (1, 8, 64))
    with pytest.raises(UsageError, match="at most 7"):
        distort(matrices, matrices > 0, bits=8)


@pytest.mark.parametrize("options", [{}, {"bits": 9}, {"bits": 0}, {"bits": 2, "group_size": 12}, {"bits": 2, "x": 1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]):
    with pytest.raises(UsageError, match="method binary, --"):
        make_method("binary", options)


def test_a_site_that_would_grow_is_left_alone():
    outcome = distort(drawn("normal", 0, (1, 10, 1)), bits=4, alpha_dtype="float32")
    assert isinstance(outcome, Skip)
    assert outcome.reason == "4 bits, 32-bit alphas per row takes 200 bytes at 1x10x1, the dense weight 40"


def test_the_same_weights_give_the_same_codes():
    matrices = drawn("laplace", 7, (1, 30, 100))
    first, second = (distort(matrices, bits=3)[0] for _ in range(2))
    assert isinstance(first, BinaryCode)
    assert first.codes.tobytes() == second.codes.tobytes()
    assert first.alphas.tobytes() == second.alphas.tobytes()
