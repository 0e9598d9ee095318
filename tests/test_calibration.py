"""Second moments of the inputs of sites, against the same sums written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.calibration import Calibration, moments
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


BRANCHES = """g (float[n,5] x, bool flag) => (float[n,3] y) <float[1] a = {0}, float[1] b = {0}> {
    h = MatMul(x, a)
    y = If (flag) <
        then_branch = inside () => (float[n,3] z) {
            r = Relu(h)
            again = Not(flag)
            z = If (again) <
                then_branch = never () => (float[n,3] p) { p = MatMul(h, b) },
                else_branch = always () => (float[n,3] q) { q = MatMul(r, b) }
            >
        },
        else_branch = other () => (float[n,3] z) { r = Neg(h)  z = MatMul(r, b) }
    >
}"""


def test_within_branches_it_is_that_of_the_branch_which_samples_take(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(5, 6)), rng.normal(size=(6, 3))
    save_model(model_of(BRANCHES, {"a": first, "b": second}), tmp_path / "m.onnx")
    x = rng.normal(size=(8, 5)).astype(np.float32)
    hidden = {True: np.maximum(x @ first, 0), False: -x @ first}
    for flag, wanted in hidden.items():
        np.savez(tmp_path / "x.npz", x=x, flag=flag)
        found = gram(tmp_path / "m.onnx", tmp_path / "x.npz", "b")[0]
        np.testing.assert_allclose(found, wanted.T @ wanted / 8, atol=1e-4)


def test_within_branches_that_samples_take_now_and_then_nothing_is_seen(tmp_path: Path) -> None:
    model = model_of(BRANCHES.replace("bool flag", "bool[1] flag"), {"a": np.ones((5, 6)), "b": np.ones((6, 3))})
    normalise(model)
    np.savez(tmp_path / "x.npz", x=np.ones((8, 5), np.float32), flag=np.arange(8) % 2 > 0)
    source = open_source(str(tmp_path / "x.npz"), batch_size=1)
    found = Calibration(model, find_sites(model), source, Objective(), seed=0)
    assert {"b": "a branch that samples may not take" in found.refused["b"]} == {"b": True}
    assert [name for name, _ in found.all_moments()] == ["a"]


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


def language_model(path: Path) -> None:
    """Write `y, hn = LSTM(x, w, r, h0, c0)` with the state as inputs and outputs, and `z = y v`."""
    rng = np.random.default_rng(3)
    weights = {"w": rng.normal(size=(1, 12, 5)), "r": rng.normal(size=(1, 12, 3)), "v": rng.normal(size=(3, 4))}
    text = (
        "g (float[t,n,5] x, float[1,n,3] h0, float[1,n,3] c0) => (float[t,1,n,4] z, float[1,n,3] hn, float[1,n,3] cn) "
        "<float[1] w = {0}, float[1] r = {0}, float[1] v = {0}> "
        "{ y, hn, cn = LSTM <hidden_size = 3> (x, w, r, , , h0, c0)\n z = MatMul(y, v) }"
    )
    save_model(model_of(text, weights), path)


class Chunks:
    """Batches of a text, read in order; `passes` counts how often."""

    name = words = "chunks"

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(5)
        self.arrays = [rng.normal(size=(4, 2, 5)).astype(np.float32) for _ in range(count)]
        self.length = count
        self.passes = 0

    def batches(self, *, epoch: int, seed: int, shuffle: bool, start: int = 0):
        assert not shuffle
        self.passes += 1
        yield from ({"x": array} for array in self.arrays[start:])


CARRY = Objective(carry={"hn": "h0", "cn": "c0"})


def test_state_that_is_carried_counts_among_what_a_recurrent_weight_multiplies(tmp_path: Path) -> None:
    language_model(tmp_path / "m.onnx")
    model, chunks = load_model(tmp_path / "m.onnx"), Chunks(3)
    normalise(model)
    sites = {site.name: site for site in find_sites(model)}
    calibration = Calibration(model, sites.values(), chunks, CARRY, seed=0)
    found = {name: calibration.gram_of(site)() for name, site in sites.items()}
    assert chunks.passes == 1  # for all sites
    # By hand: the three chunks as one sequence, from zeros.
    whole, zeros = np.concatenate(chunks.arrays), np.zeros((1, 2, 3), np.float32)
    running = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    outputs = [running.run(["hn"], {"x": whole[: step + 1], "h0": zeros, "c0": zeros})[0][0] for step in range(12)]
    before, after = np.stack([zeros[0], *outputs[:-1]]), np.stack(outputs)
    np.testing.assert_allclose(found["r"][0], np.einsum("tni,tnj->ij", before, before) / 24, atol=1e-5)
    np.testing.assert_allclose(found["v"][0], np.einsum("tni,tnj->ij", after, after) / 24, atol=1e-5)
    np.testing.assert_allclose(found["w"][0], np.einsum("tni,tnj->ij", whole, whole) / 24, atol=1e-5)


def test_moments_are_held_and_measured_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    language_model(tmp_path / "m.onnx")
    model, chunks = load_model(tmp_path / "m.onnx"), Chunks(3)
    normalise(model)
    sites = sorted(find_sites(model), key=lambda site: site.name)  # r [3, 3], v [3, 3], w [5, 5]
    whole = dict(Calibration(model, sites, chunks, CARRY, seed=0).all_moments())
    chunks.passes = 0
    again = dict(Calibration(model, sites, chunks, CARRY, seed=0, held=8 * (9 + 9)).all_moments())
    assert chunks.passes == 2
    assert list(again) == ["r", "v", "w"]
    for name, array in whole.items():
        np.testing.assert_array_equal(array, again[name])
    monkeypatch.setattr(moments, "SITE_LIMIT", 8 * 9)
    refusing = Calibration(model, sites, chunks, CARRY, seed=0)
    assert refusing.refused == {"w": "the second moments of its 5 inputs take more than 72 B"}
    assert refusing.gram_of(sites[2])() is None


def test_a_language_model_is_compensated_with_its_state_carried(dtc, tmp_path: Path) -> None:
    language_model(tmp_path / "m.onnx")
    (tmp_path / "text.py").write_text(
        "import numpy as np\n"
        "def chunks():\n"
        "    rng = np.random.default_rng(5)\n"
        "    for _ in range(20):\n"
        "        yield {'x': rng.normal(size=(4, 2, 5)).astype('f')}\n"
    )
    files = []
    for options in (("--no-compensate",), ("--compensate",)):
        files.append(tmp_path / f"{len(files)}.onnx")
        status, out, err = dtc("compress", tmp_path / "m.onnx", "--method", "binary", "--bits", "2", *options,
                               "--data", tmp_path / "text.py:chunks", "--carry", "hn=h0", "--carry", "cn=c0",
                               "--allow-growth", "--seconds", "0", "-o", files[-1])  # fmt: skip
        assert status == 0, err
    assert "not made up for" not in out
    assert files[0].read_bytes() != files[1].read_bytes()


LINEAR: dict[str, tuple[str, tuple[int, ...]]] = {
    "Gemm as A": ("(float[n,6] x) => (float[5,n] y) { t = Transpose(x) y = Gemm(w, t) }", (5, 6)),
    "Gemm as A, both transposed": ("(float[n,6] x) => (float[5,n] y) { y = Gemm<transA=1, transB=1>(w, x) }", (6, 5)),
    "MatMul on the left": ("(float[n,6,3] x) => (float[n,5,3] y) { y = MatMul(w, x) }", (5, 6)),
    "Einsum": ('(float[n,6] x) => (float[n,5] y) { y = Einsum<equation="oi,...i->...o">(w, x) }', (5, 6)),
    "Einsum of a stack": (
        '(float[n,3,2,4] x) => (float[n,2,3,5] y) { y = Einsum<equation="bhti,hio->btho">(x, w) }',
        (3, 4, 5),
    ),
    "Einsum of three": (
        '(float[n,4] x) => (float[n,3] y) { z = Tanh(x) y = Einsum<equation="bi,oij,bj->bo">(x, w, z) }',
        (3, 4, 4),
    ),
    "Einsum, an axis summed": (
        '(float[n,3,4] x) => (float[n,5] y) { y = Einsum<equation="bti,oi->bo">(x, w) }',
        (5, 4),
    ),
    "ConvTranspose": (
        "(float[n,4,5] x) => (float[n,3,m] y) { y = ConvTranspose<strides=[2], pads=[1,2]>(x, w) }",
        (4, 3, 4),
    ),
    "ConvTranspose in groups": (
        ("(float[n,4,5,4] x) => (float[n,6,a,b] y) "
        "{ y = ConvTranspose<group=2, strides=[2,3], dilations=[1,2], output_padding=[1,0]>(x, w) }"),
        (4, 3, 3, 2),
    ),
    "ConvTranspose, cropped": (
        "(float[n,2,4,4] x) => (float[n,3,a,b] y) { y = ConvTranspose<strides=[3,2], pads=[1,1,2,1]>(x, w) }",
        (2, 3, 2, 2),
    ),
    "ConvTranspose, of a given size": (
        "(float[n,2,4,5] x) => (float[n,3,8,10] y) { y = ConvTranspose<strides=[2,2], output_shape=[8,10]>(x, w) }",
        (2, 3, 3, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("graph", LINEAR)
def test_outputs_have_the_squares_that_moments_and_weight_give(tmp_path: Path, graph: str) -> None:
    """The sum of y^2 over n rows is n times that of w G w over the rows w of all matrices."""
    text, shape = LINEAR[graph]
    rng = np.random.default_rng(2)
    head, body = text.split("{", 1)
    path, weight = tmp_path / "m.onnx", rng.normal(size=shape)
    model = model_of(f"g {head} <float[1] w = {{0}}> {{ {body}", {"w": weight})
    save_model(model, path)
    sizes = [4, *(int(str(size)) for size in (model.graph.inputs[0].shape or ())[1:])]
    x = rng.normal(size=sizes).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    (site,) = find_sites(model)
    moments = gram(path, tmp_path / "x.npz", "w")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": x})[0]
    rows = y.size / (site.view.count * site.view.rows)
    squares = np.einsum("coi,cij,coj->", site.matrices(), moments, site.matrices())
    np.testing.assert_allclose(np.square(y.astype(np.float64)).sum(), rows * squares, rtol=1e-4)
