"""Models with operators that ONNX Runtime does not know: run with the library that a user names.

The library of dtc's own operators stands for such a one: `DTC_OPS=none` hides it, and the model has no function.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from needed import lacking
from onnx import numpy_helper, parser

from dtc.deploy.ops.library import library_path
from dtc.recipe import Recipe

Dtc = Callable[..., tuple[int, str, str]]
SVD = ("--method", "svd", "--rank", "4")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Path:
    path = library_path()
    if path is None:
        lacking("the native library is not built")
    monkeypatch.setenv("DTC_OPS", "none")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    text = """<ir_version: 8, opset_import: ["": 17, "dtc": 1]>
    m (float[2, 64] x) => (float[2, 8] y) {
        h = MatMul(x, W)
        t = dtc.BinaryDequantize<bits = 1, in_features = 64, group_size = 64>(codes, alphas)
        s = Transpose(t)  y = MatMul(h, s) }"""
    proto, rng = parser.parse_model(text), np.random.default_rng(0)
    arrays = {
        "W": rng.normal(size=(64, 64)).astype(np.float32),
        "codes": rng.integers(0, 256, (1, 8, 8)).astype(np.uint8),
        "alphas": rng.normal(size=(1, 8, 1)).astype(np.float32),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_without_the_library_nothing_is_begun(dtc: Dtc, library: Path, model: Path, tmp_path: Path) -> None:
    for command in (["compress", model, *SVD, "-o", tmp_path / "o.onnx"], ["bench", model], ["check", model, model]):
        status, out, err = dtc(*command)
        assert status == 2
        assert out == ""
        assert "m.onnx: ONNX Runtime" in err
        assert "dtc:BinaryDequantize" in err
        assert err.endswith("--custom-ops\n")
        assert err.count("\n") == 1
    status, _, err = dtc("compress", model, *SVD, "-o", tmp_path / "o.onnx", "--custom-ops", tmp_path / "none.so")
    assert status == 2
    assert "none.so: no such file" in err
    assert not (tmp_path / "o.onnx").exists()


def test_every_session_knows_the_operators(dtc: Dtc, library: Path, model: Path, tmp_path: Path) -> None:
    told = ("--custom-ops", library, "--seconds", "0.1")
    recipe, output, run = tmp_path / "recipe.yaml", tmp_path / "o.onnx", tmp_path / "run"
    saved = ("--save-recipe", recipe, "--run", run, "--dump", tmp_path / "dump", "--report", tmp_path / "report")
    status, out, err = dtc("compress", model, *SVD, "-o", output, *told, *saved)
    assert status == 0, err
    assert "memory" in out  # measured in a process of its own
    assert library.name in (tmp_path / "report" / "report.json").read_text()
    for command in (["bench", model, output], ["check", model, output]):
        status, _, err = dtc(*command, *told)
        assert status == 0, err
    # A library is code: a stranger's recipe or run directory loads none unless that is allowed.
    (named,) = Recipe.load(recipe).custom_ops
    assert (tmp_path / named).samefile(library)
    (named,) = Recipe.load(run / "recipe.yaml").custom_ops
    assert (run / named).samefile(library)
    by_recipe = ("compress", model, "--recipe", recipe, "-o", output, "--force", "--seconds", "0")
    for command in (by_recipe, ("compress", "--resume", run, "--force")):
        status, _, err = dtc(*command)
        assert status == 2
        assert "names the library" in err
        assert "--allow-code" in err
        status, _, err = dtc(*command, "--allow-code")
        assert status == 0, err
    assert dtc(*by_recipe, "--custom-ops", library)[0] == 0


def test_a_library_that_is_none_is_named(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    (tmp_path / "no.so").write_text("no library")
    status, _, err = dtc("compress", model, *SVD, "-o", tmp_path / "o.onnx", "--custom-ops", tmp_path / "no.so")
    assert status == 2
    assert "no.so: ONNX Runtime does not load it" in err
    assert err.count("\n") == 1


def test_a_bundle_takes_the_library_along(dtc: Dtc, library: Path, model: Path, tmp_path: Path) -> None:
    told = ("--custom-ops", library, "-o", tmp_path / "bundle")
    status, _, err = dtc("deploy", model, "--target", "web", *told)
    assert status == 2
    assert "a bundle of target 'web' loads no library; those of onnxruntime do" in err
    status, _, err = dtc("deploy", model, "--target", "onnxruntime", "--processor", "aarch64", *told)
    assert status == 2
    assert "--processor aarch64: the libraries of --custom-ops run the model here" in err
    assert not (tmp_path / "bundle").exists()
    status, _, err = dtc("deploy", model, "--target", "onnxruntime", *told)
    assert status == 0, err
    assert (tmp_path / "bundle/lib/libraries.txt").read_text() == f"{library.name}\n"
    done = subprocess.run(
        [sys.executable, tmp_path / "bundle/python/run.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["relative_l2"] < 1e-5
