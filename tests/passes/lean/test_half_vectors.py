"""Biases and scales in float16: half of their bytes, the outputs near, and what float16 cannot hold as it was."""

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
from dtc.passes.lean.half import halve_vectors

BODY = """
    h = MatMul(x, W) i = Add(h, first) r = Relu(i) j = MatMul(r, V) k = Add(j, second) s = Relu(k)
    t = Mul(s, large) u = Unsqueeze(t, axis) seq, last = LSTM<hidden_size=24>(u, P, R, B)
    l = Squeeze(last, axis) y = Gemm(l, A, third)
"""
SHAPES = {
    "W": (40, 64), "V": (64, 64), "first": (64,), "second": (64,), "large": (64,), "third": (32,),
    "P": (1, 96, 64), "R": (1, 96, 24), "B": (1, 192), "A": (24, 32),
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[N,40] x) => (float[N,32] y) {{ {BODY} }}'
    )
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape, dtype=np.float32) / 4 for name, shape in SHAPES.items()}
    arrays["large"] *= 1e-6  # of which float16 has three bits
    arrays["axis"] = np.array([0])
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def run(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.random.default_rng(1).standard_normal((3, 40), dtype=np.float32)})[0]


def types(path: Path) -> dict[str, int]:
    return {each.name: each.data_type for each in onnx.load(path).graph.initializer}


def test_vectors_are_half_as_large(path: Path, tmp_path: Path) -> None:
    model, output = load_model(path), tmp_path / "o.onnx"
    save_model(model, tmp_path / "as_it_was.onnx")
    halved = halve_vectors(model)
    save_model(model, output)
    onnx.checker.check_model(onnx.load(output), full_check=True)
    # first, second (one tensor), third and B; not the one of which little would be left, and no matrix.
    assert halved.count == 4
    assert {"large", "W", "V", "A", "P", "R"} <= {name for name, kind in types(output).items() if kind == 1}
    difference = np.linalg.norm(run(output) - run(path)) / np.linalg.norm(run(path))
    assert 0 < difference < 1e-3
    assert abs((tmp_path / "as_it_was.onnx").stat().st_size - output.stat().st_size - halved.nbytes) <= 40
    # Their names are those of the values that the nodes read.
    assert {"first", "second", "third", "B"} <= {name for node in onnx.load(output).graph.node for name in node.output}


def test_constants_that_a_node_wants_as_such_stay(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1,64,4,4] x) => (float[1,64,8,8] y) {
        q = QuantizeLinear<axis=1>(x, scale, zero) d = DequantizeLinear<axis=1>(q, scale, zero)
        y = Resize<mode = "nearest">(d, , sizes)
    }"""
    proto = onnx.parser.parse_model(text)
    arrays = {"scale": np.full(64, 0.1, "f"), "zero": np.zeros(64, np.uint8), "sizes": np.array([1, 1, 2, 2], "f")}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(proto, tmp_path / "m.onnx")
    assert halve_vectors(load_model(tmp_path / "m.onnx")).count == 0


@pytest.mark.parametrize("lower", ["compute", "standard"])
def test_it_is_a_choice_of_the_command_line(dtc: Any, path: Path, tmp_path: Path, lower: str) -> None:
    words = ("compress", path, "--method", "binary", "--bits", 3, "--lower", lower, "--seconds", 0)
    sizes = []
    for name, option in (("half", "--half-vectors"), ("whole", "--no-half-vectors")):
        status, out, err = dtc(*words, option, "-o", tmp_path / f"{name}.onnx", "--json")
        assert status == 0, err
        report = json.loads(out)
        assert any("vectors in float16" in note for note in report["notes"]) == (name == "half")
        assert (report["fidelity"]["relative_l2"] > 1e-6) == (name == "half")
        sizes.append((tmp_path / f"{name}.onnx").stat().st_size)
    assert sizes[0] < sizes[1] - 300


def test_where_outputs_would_differ_too_much_they_stay(dtc: Any, path: Path, tmp_path: Path) -> None:
    # The bias of the last layer is all but taken away again, so that its rounding is all that is seen.
    proto = onnx.load(path)
    arrays = {each.name: onnx.numpy_helper.to_array(each).copy() for each in proto.graph.initializer}
    arrays["A"] *= 1e-4
    del proto.graph.initializer[:]
    node = proto.graph.node[-1]
    node.output[0] = "z"
    proto.graph.node.append(onnx.parser.parse_node("y = Sub(z, fourth)"))
    arrays["fourth"] = arrays["third"] * np.float32(1 + 1e-5)
    arrays["fourth"] = arrays["fourth"].reshape(1, 32)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(proto, path)
    words = ("compress", path, "--method", "binary", "--bits", 3, "--half-vectors", "--seconds", 0)
    status, out, err = dtc(*words, "--exclude", "A", "-o", tmp_path / "o.onnx", "--json")
    assert status == 0, err
    report = json.loads(out)
    assert any(note.startswith("vectors stay in float32: ") for note in report["notes"])
    assert report["fidelity"]["relative_l2"] < 1e-4
