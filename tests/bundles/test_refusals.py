"""Models that a target cannot take: one line, which names the node and what to do, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

MODELS = {
    "det": "(float[3,3] x) => (float y) { y = Det (x) }",
    "branches": "(float[3] x, bool c) => (float[3] y) { y = If (c) <"
    "then_branch = t () => (float[3] a) { a = Relu (x) }, else_branch = e () => (float[3] a) { a = Neg (x) }> }",
    "double": "(double[3] x) => (double[3] y) { y = Neg (x) }",
    "packed": "(int64[3] x) => (float[3,2] y) { r = Gather (codes, x) y = Cast <to = 1> (r) }",
    "places": "(float[3] x) => (int32[3] y) { i = Cast <to = 6> (x) y = Add (i, i) }",
    "fused": "(float[3] x) => (float[3] y) { y = com.microsoft.QuickGelu (x) }",
    "foreign": "(float[3] x) => (float[3] y) { y = com.acme.Shrug (x) }",
    "coded": "(float[1,200] x) => (float[1,250] y) { w = Cast <to = 1> (steps) y = MatMul (x, w) }",
}
CONSTANTS = {
    "packed": {"codes": np.zeros((4, 2), np.uint8)},
    "coded": {"steps": np.ones((200, 250), np.int8)},
}
IN_C = "export the model with those that docs/deploying.md lists, or take another target"
PACKED = "export the model in float32; a compressed file is taken as --lower compute writes it"


@pytest.mark.parametrize(
    ("target", "name", "complaint"),
    [
        ("c", "det", f"target 'c': node 'y' (Det): there is no kernel for operator Det; {IN_C}"),
        ("wasm", "det", f"target 'wasm': node 'y' (Det): there is no kernel for operator Det; {IN_C}"),
        ("c", "branches", "node 'y' (If): there is no kernel for operator If; fix the input that "),
        ("c", "double", "target 'c': 'x' is DOUBLE [3]; there are float32, int64, int32 and bool, of known sizes"),
        ("c", "packed", f"node 'r' (Gather): 'codes' is UINT8; there are float32, int64, int32 and bool: {PACKED}"),
        ("c", "places", f"node 'y' (Add): of int32_t and int32_t it is not there; {PACKED}"),
        ("portable", "fused", "target 'portable': node 'y' (com.microsoft.QuickGelu): is no operator of the ONNX "),
        ("web", "foreign", "com.acme:Shrug(-1) is not a registered function/op; name the library that registers it"),
        ("onnxruntime", "foreign", "is not a registered function/op; name the library that registers it with --custom"),
        ("onnxruntime --ort", "coded", "leave --ort away, or compress by svd, which it keeps"),
    ],
)
def test_what_a_target_cannot_take_is_one_line(
    target: str,
    name: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtc: Callable[..., tuple[int, str, str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    opsets = 'opset_import: ["": 17, "com.microsoft": 1, "com.acme": 1]'
    model = onnx.parser.parse_model(f"<ir_version: 8, {opsets}> one {MODELS[name]}")
    for constant, array in CONSTANTS.get(name, {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, constant))
    onnx.save(model, "model.onnx")
    status, _, told = dtc("deploy", "model.onnx", "-o", "bundle", "--target", *target.split())
    assert status == 2
    assert told.startswith("dtc: error: model.onnx: ")
    assert complaint in told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_functions_of_a_model_are_put_in_place_for_other_runtimes(
    tmp_path: Path, dtc: Callable[..., tuple[int, str, str]]
) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "own": 1]> one (float[3] x) => (float[3] y) { y = own.Twice (x) } '
    text += '<opset_import: ["": 17], domain: "own"> Twice (a) => (b) { b = Add (a, a) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    status, _, _ = dtc("deploy", tmp_path / "model.onnx", "-o", tmp_path / "bundle", "--target", "portable")
    written = onnx.load(tmp_path / "bundle/model.onnx")
    assert (status, [node.op_type for node in written.graph.node], len(written.functions)) == (0, ["Add"], 0)


def test_branches_that_other_runtimes_refuse_are_told(tmp_path: Path, dtc: Callable[..., tuple[int, str, str]]) -> None:
    model = f'<ir_version: 8, opset_import: ["": 17]> one {MODELS["branches"]}'
    onnx.save(onnx.parser.parse_model(model), tmp_path / "model.onnx")
    words = ["deploy", tmp_path / "model.onnx", "--target", "portable"]
    assert "OpenVINO and tract take no If" in "".join(dtc(*words, "-o", tmp_path / "both")[1:])
    assert "take no If" not in "".join(dtc(*words, "-o", tmp_path / "one", "--input", "c=1")[1:])
