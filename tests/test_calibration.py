"""Second moments of the inputs of sites, against the same sums written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.calibration import Calibration
from dtc.calibration.patches import patches
from dtc.data import open_source
from dtc.graph import find_sites, load_model, save_model
from dtc.passes.prepare import normalise
from dtc.recipe import Objective


def model_of(text: str, weights: dict[str, np.ndarray]) -> ir.Model:
    model = ir.from_onnx_text('<ir_version: 8, opset_import: ["" : 17]>\n' + text)
    for name, array in weights.items():
        model.graph.initializers[name].const_value = ir.tensor(array.astype(np.float32), name=name)
        model.graph.initializers[name].shape = ir.Shape(array.shape)
    return model


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    pad=st.sampled_from(
        ["pads = [1, 0, 1, 2]", 'auto_pad = "SAME_UPPER"', 'auto_pad = "SAME_LOWER"', 'auto_pad = "VALID"']
    ),
    groups=st.sampled_from([1, 2]),
)
def test_patches_times_kernel_is_the_convolution(
    kernel: int, stride: int, dilation: int, pad: str, groups: int
) -> None:
    if "SAME" in pad and dilation > 1:
        dilation = 1  # ONNX Runtime refuses the two together
    rng = np.random.default_rng(kernel + 10 * stride)
    weight = rng.normal(size=(6, 4 // groups, kernel, kernel)).astype(np.float32)
    text = (
        "g (float[n,4,9,8] x) => (float[n,6,h,v] y) <float[1] w = {0}> { "
        f"y = Conv <strides = [{stride}, {stride}], dilations = [{dilation}, {dilation}], "
        f"group = {groups}, {pad}> (x, w) }}"
    )
    model = model_of(text, {"w": weight})
    x = rng.normal(size=(2, 4, 9, 8)).astype(np.float32)
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"x": x})[0]
    found = [
        rows @ weight.reshape(groups, 6 // groups, -1)[group].T
        for group, rows in enumerate(patches(x, model.graph[0], (kernel, kernel), groups=groups))
    ]
    stacked = np.concatenate(found, axis=1).reshape(2, *wanted.shape[2:], 6)
    np.testing.assert_allclose(np.moveaxis(stacked, -1, 1), wanted, atol=1e-4)


def gram(path: Path, data: Path, site: str) -> np.ndarray:
    model = load_model(path)
    normalise(model)
    wanted = next(each for each in find_sites(model) if each.name == site)
    found = Calibration(model, [wanted], open_source(str(data), batch_size=4), Objective(), seed=0).gram_of(wanted)()
    assert found is not None
    return found


def test_of_a_product_it_is_the_moment_of_the_activation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(5, 6)), rng.normal(size=(6, 3))
    text = (
        "g (float[n,5] x) => (float[n,3] y) <float[1] a = {0}, float[1] b = {0}> "
        "{ h = MatMul(x, a)\n r = Relu(h)\n y = MatMul(r, b) }"
    )
    save_model(model_of(text, {"a": first, "b": second}), tmp_path / "m.onnx")
    x = rng.normal(size=(8, 5)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    hidden = np.maximum(x @ first, 0)
    np.testing.assert_allclose(gram(tmp_path / "m.onnx", tmp_path / "x.npz", "a")[0], x.T @ x / 8, atol=1e-5)
    np.testing.assert_allclose(gram(tmp_path / "m.onnx", tmp_path / "x.npz", "b")[0], hidden.T @ hidden / 8, atol=1e-4)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_of_a_recurrent_weight_it_is_the_moment_of_the_state_before_each_step(tmp_path: Path, direction: str) -> None:
    rng = np.random.default_rng(1)
    count = 2 if direction == "bidirectional" else 1
    weights = {"w": rng.normal(size=(count, 12, 5)), "r": rng.normal(size=(count, 12, 3))}
    text = (
        f"g (float[t,n,5] x) => (float[t,{count},n,3] y) <float[1] w = {{0}}, float[1] r = {{0}}> "
        f'{{ y = LSTM <hidden_size = 3, direction = "{direction}"> (x, w, r) }}'
    )
    path = tmp_path / "m.onnx"
    save_model(model_of(text, weights), path)
    x = rng.normal(size=(4, 2, 5)).astype(np.float32)  # one batch of 4 steps
    np.savez(tmp_path / "x.npz", x=x)
    y = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    wanted = np.zeros((count, 3, 3))
    for index in range(count):
        backward = direction == "reverse" or index == 1
        for step in range(4):
            before = step + 1 if backward else step - 1
            state = y[before, index] if 0 <= before < 4 else np.zeros((2, 3))
            wanted[index] += state.T @ state / 8
    np.testing.assert_allclose(gram(path, tmp_path / "x.npz", "r"), wanted, atol=1e-5)
    np.testing.assert_allclose(gram(path, tmp_path / "x.npz", "w")[0], np.einsum("tni,tnj->ij", x, x) / 8, atol=1e-5)
