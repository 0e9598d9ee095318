"""Names that only people read go, and nothing that anything else reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnxruntime
import pytest

from dtc.graph import load_model, save_model
from dtc.passes.lean import strip_names

TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[N,64] x, bool is_low) => (float[N,48] logits) {
    hidden_of_the_first_layer = MatMul(x, weight_of_the_first_layer)
    h = Relu(hidden_of_the_first_layer)
    logits = If(is_low) <
        then_branch = t () => (float[N,48] output_of_the_first_branch) {
            product_in_a_branch = MatMul(h, V) output_of_the_first_branch = Add(product_in_a_branch, x_bias)
        },
        else_branch = e () => (float[N,48] q) { q = MatMul(h, V) }>
}"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    proto = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    for name, shape in {"weight_of_the_first_layer": (64, 96), "V": (96, 48), "x_bias": (48,)}.items():
        array = rng.standard_normal(shape, dtype=np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    proto = onnx.shape_inference.infer_shapes(proto)
    assert proto.graph.value_info
    proto.doc_string = "what the exporter thought"
    for number, node in enumerate(proto.graph.node):
        node.name, node.doc_string = f"/a/long/path/to/node_{number}", "line 12 of model.py"
        node.metadata_props.add(key="stack_trace", value="File model.py " * 20)
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def run(path: Path) -> list[Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((3, 64), dtype=np.float32)
    return [session.run(None, {"x": x, "is_low": np.array(low)})[0] for low in (True, False)]


def test_only_names_go(path: Path, tmp_path: Path) -> None:
    model, output = load_model(path), tmp_path / "o.onnx"
    save_model(model, tmp_path / "as_it_was.onnx")
    saved = strip_names(model)
    save_model(model, output)
    for before, after in zip(run(path), run(output), strict=True):
        np.testing.assert_array_equal(after, before)
    after = onnx.load(output)
    onnx.checker.check_model(after, full_check=True)
    text = str(after)
    for word in ("long/path", "model.py", "exporter thought", "hidden_of_the_first_layer", "product_in_a_branch"):
        assert word not in text
    for word in ("weight_of_the_first_layer", "logits", "is_low", "x_bias"):
        assert word in text
    assert not after.graph.value_info
    assert abs((tmp_path / "as_it_was.onnx").stat().st_size - output.stat().st_size - saved) <= 40


def test_what_an_operator_of_the_user_writes_keeps_its_type(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "mine": 1]> g (float[N,4] x) => (float[N,4] y)
    <float[N,4] written_by_mine, float[N,4] by_relu> {
        written_by_mine = mine.Twice(x) by_relu = Relu(written_by_mine) y = Neg(by_relu)
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    model = load_model(tmp_path / "m.onnx")
    strip_names(model)
    save_model(model, tmp_path / "o.onnx")
    (info,) = onnx.load(tmp_path / "o.onnx").graph.value_info
    assert info.name == onnx.load(tmp_path / "o.onnx").graph.node[0].output[0]


def test_it_is_a_choice_of_the_command_line(dtc: Any, path: Path, tmp_path: Path) -> None:
    words = ("compress", path, "--method", "binary", "--bits", 2, "--seconds", 0)
    sizes = {}
    for option in ("--strip-names", "--no-strip-names"):
        status, out, err = dtc(*words, option, "-o", tmp_path / f"{option}.onnx", "--json")
        assert status == 0, err
        notes = json.loads(out)["notes"]
        assert any(note.startswith("stripped names and descriptions") for note in notes) == (option == "--strip-names")
        sizes[option] = (tmp_path / f"{option}.onnx").stat().st_size
        assert json.loads(out)["sites"][0]["name"] == "weight_of_the_first_layer"
    assert sizes["--strip-names"] < sizes["--no-strip-names"] - 500
