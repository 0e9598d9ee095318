"""The estimate before the work: sizes that the files then have; what cannot fit is refused before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from dtc.pipeline import estimating

Dtc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two large weights of one shape, a small one, and one that nothing pays for."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 384] x) => (float[N, 24] y) {
        a = MatMul (x, first)
        b = Relu (a)
        c = MatMul (b, second)
        d = MatMul (c, third)
        e = MatMul (d, small)
        y = Add (e, bias)
    }"""
    rng = np.random.default_rng(0)
    shapes = {"first": (384, 768), "second": (768, 384), "third": (384, 768), "small": (768, 24), "bias": (24,)}
    found = onnx.parser.parse_model(text)
    for name, shape in shapes.items():
        array = rng.standard_t(4, shape).astype(np.float32) / 20
        found.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(found, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


METHODS = {
    "svd": ("--rank-ratio", 0.1),
    "uniform": ("--bits", 4),
    "binary": ("--bits", 2, "--solver", "greedy"),
    "prune": ("--sparsity", 0.8),
    "codebook": ("--codewords", 16, "--block", 4),
    "prune+uniform": ("--sparsity", 0.7, "--bits", 4),
    "svd+uniform": ("--rank-ratio", 0.3, "--bits", 4),
}


@pytest.mark.parametrize("method", METHODS)
def test_the_size_is_foreseen(
    method: str, dtc: Dtc, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ("compress", model, "--method", method, *METHODS[method], "-o", tmp_path / "small.onnx", "--json")
    before = {file.name for file in tmp_path.iterdir()}
    estimates = []
    # As of a small model, and as of a large one, of which a few rows are looked at.
    for tried in (estimating.TRIED, 0):
        monkeypatch.setattr(estimating, "TRIED", tried)
        status, out, err = dtc(*told, "--dry-run")
        assert status == 0, err
        estimates.append(json.loads(out))
    assert {file.name for file in tmp_path.iterdir()} == before
    status, out, err = dtc(*told, "--seconds", 0)
    assert status == 0, err
    report = json.loads(out)
    exact, rough = estimates
    written = (tmp_path / "small.onnx").stat().st_size
    assert exact["output_bytes"] == written
    assert exact["exact"]
    assert not rough["exact"]
    assert rough["output_bytes"] == pytest.approx(written, rel=0.03)
    for found in estimates:
        assert [site["form"] for site in found["sites"]] == [site["form"] for site in report["sites"]]
        assert found["model_bytes"] == model.stat().st_size
    for site, other in zip(rough["sites"], report["sites"], strict=True):
        assert site["file_bytes"] == pytest.approx(other["file_bytes"], rel=0.05, abs=1500)


def test_it_is_told_in_words(dtc: Dtc, model: Path) -> None:
    status, out, err = dtc("compress", model, "--method", "svd", "--rank", 16, "--exclude", "small", "--dry-run")
    assert status == 0, err
    assert "svd: low_rank" in out
    assert "excluded" in out
    for word in ("file: 3.6", "memory: 25", "may be used (--memory)", "disk: ", "time: about", "nothing was written"):
        assert word in out
    assert [file.name for file in model.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_cannot_fit_is_refused_before_the_work(dry: tuple[str, ...], dtc: Dtc, model: Path) -> None:
    status, _, err = dtc("compress", model, "--method", "svd", "--rank", 16, "--memory", "200M", *dry)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert "200.00 MB may be used" in err
    assert "--memory" in err
    assert [file.name for file in model.parent.iterdir()] == ["model.onnx"]


def test_what_writes_does_not_go_with_it(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    told = ("compress", model, "--method", "svd", "--rank", 16, "--dry-run", "--save-recipe", tmp_path / "r.yaml")
    status, _, err = dtc(*told)
    assert status == 2
    assert "--save-recipe does not go with --dry-run" in err


def test_what_making_up_for_errors_takes_is_told(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(0).standard_normal((8, 384), np.float32))
    told = ("compress", model, "--method", "uniform", "--bits", 4, "--dry-run", "--json")
    (_, plain, _), (status, out, err) = dtc(*told), dtc(*told, "--data", tmp_path / "samples.npz")
    assert status == 0, err
    without, found = json.loads(plain), json.loads(out)
    assert not without["notes"]
    # float64 moments of the inputs of all four, five times.
    held = 5 * 8 * (384**2 + 768**2 + 384**2 + 768**2)
    assert found["needs"]["memory_of_whole"] == without["needs"]["memory_of_whole"] + held
    assert "second moments, which take 58.98 MB" in " ".join(found["notes"])
    assert "over the samples once" in " ".join(found["notes"])
