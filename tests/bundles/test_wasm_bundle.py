"""Bundles of target `wasm`: the order of sums of signs in tiles, and a bundle whose module cannot be built here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from switched_model import write_switched

from dtc.bundles import DeployOptions, check_bundle, deploy
from dtc.deploy.codegen.weights.stored import Several, StoredWeight
from dtc.deploy.targets.wasm.tiles import encode_tiled
from dtc.errors import UsageError

RNG = np.random.default_rng(0)


def place(row: int) -> int:
    """Return the byte of a tile's codes that holds that of a row."""
    return 2 * (row % 8) + row // 8 % 2


def coefficients(stored: StoredWeight, name: str) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """Return numbers of 32 bits, or of 16."""
    wide, half = stored.arrays[name], stored.arrays[f"half_{name}"]
    return wide if half is None else half.view(np.float16)


def decoded(stored: StoredWeight) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return what tiles stand for, number by number, as simd128/tiles.h says."""
    codes, alphas, offsets = stored.arrays["codes"], coefficients(stored, "alphas"), coefficients(stored, "offsets")
    assert codes is not None
    assert alphas is not None
    weight = np.zeros((stored.rows, stored.cols))
    alphas = alphas.reshape(len(codes), -1, stored.numbers["planes"], 32)
    for row, col in np.ndindex(*weight.shape):
        tile, lane, group = row // 32, row % 32, col // stored.numbers["group"]
        weight[row, col] = 0 if offsets is None else offsets.reshape(len(codes), -1, 32)[tile, group, lane]
        for plane in range(stored.numbers["planes"]):
            byte = int(codes[tile, plane, col // 4, place(lane)])
            sign = byte >> (col % 4 + (0 if lane < 16 else 4)) & 1
            weight[row, col] += (2 * sign - 1) * alphas[tile, group, plane, lane]
    return weight


@pytest.mark.parametrize(("offset", "kind"), [(0, np.float32), (0.25, np.float16)])
def test_tiles_hold_the_signs_that_the_kernels_look_up(offset: float, kind: type[np.floating]) -> None:
    signs = 2 * RNG.integers(0, 2, (2, 40, 90)) - 1
    # Coefficients of groups of 32 columns.
    alphas = np.repeat(RNG.uniform(0.5, 1, (2, 40, 3)) * [[[2]], [[0.5]]], 32, axis=2)[..., :90].astype(kind)
    weight = ((alphas * signs).sum(axis=0) + offset).astype(np.float32)
    stored = encode_tiled(weight)
    assert (stored.form, stored.numbers["group"]) == ("signs", 32)
    assert (stored.arrays["half_alphas"] is not None) == (kind is np.float16)
    np.testing.assert_allclose(decoded(stored), weight, atol=1e-5)


def test_few_rows_take_no_tile() -> None:
    weight = ((2 * RNG.integers(0, 2, (16, 200)) - 1) * RNG.uniform(0.5, 1, (16, 1))).astype(np.float32)
    assert encode_tiled(weight[:8]).form == "codebook"
    assert encode_tiled(weight).form == "signs"


def test_sparse_and_dense_weights_have_products_of_several_vectors() -> None:
    dense = RNG.standard_normal((40, 300)).astype(np.float32)
    sparse = dense * (RNG.random(dense.shape) < 0.1)
    found = {each.form: each.several for each in map(encode_tiled, (dense, sparse))}
    # Numbers are read where they lie.
    assert found == {"dense": Several(0, 40 * 300), "sparse": Several(0, np.count_nonzero(sparse))}


@pytest.fixture
def without_emscripten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtc.deploy.programs.shutil.which", lambda name: None if name == "emcc" else f"/bin/{name}")


@pytest.mark.usefixtures("without_emscripten")
def test_without_emscripten_a_bundle_says_how_its_module_is_built(tmp_path: Path) -> None:
    options = DeployOptions(fixed={"sr": np.array(16000)})
    told = deploy(write_switched(tmp_path / "switched.onnx"), "wasm", tmp_path / "bundle", options)
    assert "model.wasm is not built: emcc is missing: apt install emscripten; then make -C source" in told.notes[-1]
    assert not (tmp_path / "bundle" / "model.wasm").exists()
    runs = check_bundle(tmp_path / "bundle", seconds=0).bundle.runs
    assert {run.reason for run in runs} == {"emcc is missing: apt install emscripten"}


@pytest.mark.parametrize("count", [2, 3, 16])
def test_tiles_hold_the_places_of_few_numbers(count: int) -> None:
    weight = RNG.choice(RNG.standard_normal(count).astype(np.float32), (40, 91))
    stored = encode_tiled(weight)
    codes, values, bits = stored.arrays["codes"], stored.arrays["values"], stored.numbers["bits"]
    assert stored.form == "levels"
    assert codes is not None
    assert values is not None
    columns = 4 // bits
    for row, col in np.ndindex(*weight.shape):
        byte = int(codes[row // 32, 0, col // columns, place(row)])
        code = byte >> (0 if row % 32 < 16 else 4) & 15
        assert values[code >> col % columns * bits & (1 << bits) - 1] == weight[row, col]


@pytest.mark.usefixtures("without_emscripten")
def test_it_is_measured_beside_what_runs_in_the_same_way(tmp_path: Path) -> None:
    options = DeployOptions(fixed={"sr": np.array(16000)})
    model = write_switched(tmp_path / "switched.onnx")
    for target in ("wasm", "portable"):
        deploy(model, target, tmp_path / target, options)
    with pytest.raises(UsageError, match=r"of target 'portable', and .* of 'wasm', and nothing runs both"):
        check_bundle(tmp_path / "wasm", beside=tmp_path / "portable")
