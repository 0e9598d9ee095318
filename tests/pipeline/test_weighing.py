"""A file is never larger than the model: what saves nothing is left alone, nodes and tables counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from dtc import models
from dtc.graph import save_model
from dtc.passes.method import methods

Dtc = Callable[..., tuple[int, str, str]]

TEXT = """<ir_version: 8, opset_import: ["": 17]>
small (float[1,{channels},8,8] x, float[{channels},1,3,3] W, float[64,{width}] A)
  => (float[1,{channels},6,6] y, float[1,{width}] z) {{
  y = Conv<group={channels}>(x, W)
  rows = ReduceMean<axes=[1], keepdims=0>(x)
  flat = Reshape(rows, shape)
  z = MatMul(flat, A)
}}"""


def write(path: Path, channels: int, width: int) -> Path:
    """Write a model of a depthwise Conv and a product, with random weights."""
    text = TEXT.format(channels=channels, width=width).replace("float[64", "int64[2] shape, float[64")
    model = ir.from_proto(onnx.parser.parse_model(text))
    rng = np.random.default_rng(0)
    for value in list(model.graph.inputs)[1:]:
        shape = [int(str(size)) for size in value.shape or ()]
        array = rng.standard_normal(shape, dtype=np.float32)
        value.const_value = ir.tensor(np.array([1, 64]) if value.name == "shape" else array, name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    save_model(model, path)
    return path


LOWERINGS = ("compute", "standard", "storage")
WIDTHS = (2, 40, 400)


@pytest.mark.parametrize("method", sorted(methods()))
@pytest.mark.parametrize("width", WIDTHS)
def test_no_file_is_larger_than_its_model(dtc: Dtc, tmp_path: Path, method: str, width: int) -> None:
    # Each method in each lowering and in each width, and each width in each lowering.
    lower = LOWERINGS[(sorted(methods()).index(method) + WIDTHS.index(width)) % 3]
    model, output = write(tmp_path / "m.onnx", 8, width), tmp_path / "out.onnx"
    options = [w for k, v in methods()[method].example.items() for w in (f"--{k.replace('_', '-')}", v)]
    status, _, err = dtc(
        "compress", model, "--method", method, *options, "--lower", lower, "--seconds", 0, "-o", output
    )
    assert status in (0, 1), err
    if status == 1:
        assert "larger than the model" in err
        assert not output.exists()
    else:
        assert output.stat().st_size <= model.stat().st_size


def test_a_small_site_keeps_its_weight_beside_one_that_pays(dtc: Dtc, tmp_path: Path) -> None:
    model, output = write(tmp_path / "m.onnx", 2, 400), tmp_path / "out.onnx"
    status, out, err = dtc("compress", model, "--method", "binary", "--bits", 1, "--seconds", 0, "-o", output)
    assert status == 0, err
    line = next(line for line in out.splitlines() if line.startswith("W "))
    assert "left alone" in line
    assert "saves nothing" in line
    kept = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(output).graph.initializer}
    before = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(model).graph.initializer}
    np.testing.assert_array_equal(kept["W"], before["W"])
    assert "A" not in kept


def test_growth_is_written_where_it_is_allowed(dtc: Dtc, tmp_path: Path) -> None:
    model, output = write(tmp_path / "m.onnx", 8, 2), tmp_path / "out.onnx"
    words = ("compress", model, "--method", "uniform", "--bits", 8, "--seconds", 0, "-o", output, "--allow-growth")
    status, _, err = dtc(*words)
    assert status == 0, err
    assert output.stat().st_size > model.stat().st_size


def test_initializers_are_not_described_twice(dtc: Dtc, tmp_path: Path) -> None:
    save_model(models.build("digits-mlp"), tmp_path / "m.onnx")
    dtc("compress", tmp_path / "m.onnx", "--method", "svd", "--rank", 8, "--seconds", 0, "-o", tmp_path / "o.onnx")
    graph = onnx.load(tmp_path / "o.onnx").graph
    assert not {each.name for each in graph.value_info} & {each.name for each in graph.initializer}


def test_what_the_matrices_of_a_site_share_is_told_once(dtc: Dtc, tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx", 512, 400)
    options = ["--method", "codebook", "--codewords", 64, "--include", "W", "--seconds", 0, "--json"]
    status, out, err = dtc("compress", model, *options, "-o", tmp_path / "out.onnx")
    assert status == 0, err
    (site,) = (each for each in json.loads(out)["sites"] if each["name"] == "W")
    assert site["form"] == "codebook"
    assert site["stored_bytes"] < site["nbytes"]
