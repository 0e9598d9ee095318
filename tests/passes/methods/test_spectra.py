"""The leading singular vectors of large matrices: nearly as good as the best, and the best where that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dtc.graph import find_sites, load_model
from dtc.passes.method import Skip, Weights, make_method
from dtc.passes.solvers import spectra
from dtc.passes.solvers.spectra import Spectrum


def with_values(values: np.ndarray, cols: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in (len(values), cols))
    return ((left * values) @ right.T).astype(np.float32)


MATRICES = {
    "noise": lambda: np.random.default_rng(0).standard_normal((400, 700), dtype=np.float32),
    "tall noise": lambda: np.random.default_rng(0).standard_normal((700, 400), dtype=np.float32),
    "falling": lambda: with_values(1 / np.arange(1, 401), 700),
    "falling fast": lambda: with_values(0.9 ** np.arange(400), 700),
    "falling faster than float32 tells": lambda: with_values(0.5 ** np.arange(400), 700),
    "a step": lambda: with_values(np.r_[np.full(30, 100.0), np.full(370, 1.0)], 700),
    "few directions": lambda: with_values(np.r_[np.ones(7), np.zeros(393)], 700),
    "zeros": lambda: np.zeros((400, 700), np.float32),
}


@pytest.fixture
def large_from_300(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectra, "LARGE_SIDE", 300)


@pytest.mark.usefixtures("large_from_300")
@pytest.mark.parametrize("name", MATRICES)
def test_what_is_left_is_nearly_the_least(name: str) -> None:
    matrix = MATRICES[name]()
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    for rank in (1, 10, 50):
        found = Spectrum.leading(matrix, rank, seed=0)
        assert found.vectors.shape == (400, rank)
        np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(rank), atol=2e-5)
        left, right = found.factors(rank)
        error, least = np.linalg.norm(matrix - left @ right), np.sqrt(np.square(values[rank:]).sum())
        assert error <= 1.01 * least + 3e-6 * values[0]
        again = Spectrum.leading(matrix, rank, seed=0)
        assert np.array_equal(found.vectors, again.vectors)


@pytest.mark.usefixtures("large_from_300")
def test_trained_weights_too(data_dir: Path) -> None:
    model = load_model(data_dir / "onnx" / "ptb_rnnlm_lstm100_derived.onnx")
    table = max(find_sites(model), key=lambda site: site.size).matrices()[0]
    matrix = np.concatenate([table[i : i + 2000] for i in range(0, 8000, 2000)], axis=1)  # [2000, 400]
    exact = np.linalg.norm(matrix - np.matmul(*Spectrum.of(matrix).factors(40)))
    assert np.linalg.norm(matrix - np.matmul(*Spectrum.leading(matrix, 40, seed=0).factors(40))) < 1.005 * exact


def test_small_matrices_and_high_ranks_are_exact(large_from_300: None) -> None:
    matrix = MATRICES["noise"]()
    assert np.array_equal(Spectrum.leading(matrix, 51, seed=0).vectors, Spectrum.of(matrix).vectors)
    assert np.array_equal(Spectrum.leading(matrix[:299], 5, seed=0).vectors, Spectrum.of(matrix[:299]).vectors)
    few, all_of_it = (Spectrum.leading(matrix, rank, seed=0).values for rank in (50, 51))
    assert np.abs(few[:10] / all_of_it[:10] - 1).max() < 0.02


def test_the_method_takes_no_time_for_a_rank_that_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spectrum, "of", lambda *_: pytest.fail("decomposed"))
    w = Weights("w", np.ones((1, 40, 40), np.float32), "n")
    outcome = make_method("svd", {"rank": 20}).distort([w])["w"]
    assert outcome == Skip("rank 20 saves nothing at 40x40: ranks up to 19 pay")
