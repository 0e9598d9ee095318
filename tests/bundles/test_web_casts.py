"""Bundles of target `web` hold other operators in the place of Casts, with the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnxruntime
import pytest
from switched_model import write_switched

CASTS = """<ir_version: 8, opset_import: ["": %d]>
casts (int64[N] ids, float[2] x)
  => (float floats, float steps, int32[N,5] rows, float[2] ones, int32 sized, double kept) {
  floats = Cast<to = 1>(halves)
  whole = Cast<to = 1>(few)
  both = Cast<to = 1>(signs)
  numbers = Cast<to = 6>(bytes)
  wide = Cast<to = 1>(bytes)
  set = Cast<to = 9>(numbers)
  marks = Cast<to = 1>(set)
  added = Add(wide, marks)
  more = Add(added, both)
  steps = Add(more, whole)
  found = Gather(bytes, ids)
  rows = Cast<to = 6>(found)
  positive = Greater(x, zero)
  ones = Cast<to = 1>(positive)
  shape = Shape(halves)
  sizes = Cast<to = 6>(shape)
  sized = Mul(sizes, sizes)
  kept = Cast<to = 11>(x)
}"""
LSTM = """<ir_version: 8, opset_import: ["": %d]>
net (float[3,1,24] x) => (float[3,1,1,16] y) { y = LSTM<hidden_size = 16>(x, W, R) }"""


def constants(rng: np.random.Generator) -> dict[str, np.ndarray]:
    bits = rng.integers(0, 1 << 16, 300).astype(np.uint16)
    bits = np.where(bits >> 10 & 31 == 31, bits & 1023, bits).astype(np.uint16)  # small numbers and zeros, no infinity
    return {
        "halves": bits.view(np.float16),
        "few": np.array([1.5], np.float16),
        "signs": np.array([-1, 1, 0, 127, -128], np.int8),
        "bytes": rng.integers(0, 256, (7, 5)).astype(np.uint8),
        "zero": np.zeros(1, np.float32),
    }


def write(text: str, arrays: dict[str, np.ndarray]) -> Path:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(model, "model.onnx")
    return Path("model.onnx")


def run(path: Path | str, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


def types(path: Path | str) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_the_numbers_are_the_same_ones(opset: int, dtc: Callable[..., tuple[int, str, str]]) -> None:
    rng = np.random.default_rng(0)
    model = write(CASTS % opset, constants(rng))
    assert dtc("deploy", model, "--target", "web", "-o", "bundle")[0] == 0
    assert types("bundle/model.onnx").count("Cast") == 1  # to double
    feeds = {"ids": np.array([6, 0, 3]), "x": np.array([-1, 2], np.float32)}
    for wanted, found in zip(run(model, feeds), run("bundle/model.onnx", feeds), strict=True):
        assert wanted.dtype == found.dtype
        np.testing.assert_array_equal(wanted, found)


@pytest.mark.usefixtures("here")
def test_infinite_halves_keep_their_cast(dtc: Callable[..., tuple[int, str, str]]) -> None:
    arrays = constants(np.random.default_rng(0))
    arrays["halves"] = np.where(arrays["halves"] > 1, np.float16(np.inf), arrays["halves"])
    model = write(CASTS % 13, arrays)
    assert dtc("deploy", model, "--target", "web", "-o", "bundle")[0] == 0
    assert types("bundle/model.onnx").count("Cast") == 2


@pytest.mark.usefixtures("here")
def test_models_of_older_operator_sets_and_those_in_branches_work(dtc: Callable[..., tuple[int, str, str]]) -> None:
    write_switched(Path("model.onnx"))
    assert dtc("deploy", "model.onnx", "--target", "web", "-o", "branches")[0] == 0
    text = '<ir_version: 8, opset_import: ["": 9]> old (float[2] x) => (float y) { f = Cast<to = 1>(b) y = Add(f, x) }'
    old = write(text, {"b": np.array([3, 4], np.uint8)})
    assert dtc("deploy", old, "--target", "web", "-o", "old")[0] == 0
    assert types("old/model.onnx") == ["Cast", "Add"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    "form",
    ["prune --sparsity 0.95", "binary --bits 2", "binary --bits 3", "codebook --codewords 5"],
)
def test_nothing_that_a_session_decodes_at_load_is_cast(
    form: str, opset: int, dtc: Callable[..., tuple[int, str, str]]
) -> None:
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 64, 24), "R": (1, 64, 16)}
    model = write(LSTM % opset, {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})
    assert dtc("compress", model, "-o", "small.onnx", "--method", *form.split(), "--lower", "web")[0] == 0
    assert dtc("deploy", "small.onnx", "--target", "web", "-o", "bundle")[0] == 0
    assert "Cast" not in types("bundle/model.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "loaded.onnx"
    onnxruntime.InferenceSession("bundle/model.onnx", options, providers=["CPUExecutionProvider"])
    assert types("loaded.onnx") == ["LSTM"]  # all else is computed at load
    feeds = {"x": rng.standard_normal((3, 1, 24)).astype(np.float32)}
    (wanted,), (found,) = run("small.onnx", feeds), run("bundle/model.onnx", feeds)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
