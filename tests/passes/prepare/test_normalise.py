"""Normalising: on graphs as text before and after, and on every real model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from running import checked_bytes, random_feeds, relative_error, run

from dtc.graph import all_graphs, find_sites, load_model, nesting
from dtc.passes.prepare import normalise

# Sites by role after normalising, for the share of each operator that the models' description gives.
ROLES = {
    "dnsmos_sig_bak_ovr": {"Conv": 9, "MatMul": 3},
    "dtln_model_1": {"LSTM.W": 2, "LSTM.R": 2, "MatMul": 1},
    "gtcrn_simple": {"MatMul": 12, "Conv": 11, "GRU.W": 14, "GRU.R": 14, "ConvTranspose": 11},
    "kws_dnn_s": {"Gemm": 4},
    "mnist-8": {"Conv": 2, "MatMul": 1},
    "olive_tfbert_qa": {"Gather": 3, "MatMul": 145},
    "ptb_rnnlm_lstm100_derived": {"Gather": 1, "LSTM.W": 1, "LSTM.R": 1, "MatMul": 1},
    "resnet20_cifar10_derived": {"Conv": 19, "Gemm": 1},
    "resnet56_cifar10_derived": {"Conv": 55, "Gemm": 1},
    "shufflenet_v2_12_int8": {},
    "silero_vad_16k_op15": {"Conv": 6, "LSTM.W": 1, "LSTM.R": 1},
    "silero_vad_v3": {"Conv": 18, "MatMul": 16, "LSTM.W": 2, "LSTM.R": 2},
    "silero_vad_v4": {"Conv": 36, "LSTM.W": 8, "LSTM.R": 8},
    "silero_vad_v5": {"Conv": 12, "LSTM.W": 2, "LSTM.R": 2},
    "squeezenet_cifar10": {"Conv": 11},
    "super_resolution": {"Conv": 4},
    "ultraface_rfb320": {"Conv": 52},
}


@pytest.mark.parametrize("name", ROLES)
def test_real_models_compute_the_same_and_show_their_weights(data_dir: Path, name: str) -> None:
    """Tolerance 1e-5 (max norm): ONNX Runtime fuses more where weights are not inputs, which moves roundings."""
    model = load_model(data_dir / "onnx" / f"{name}.onnx")
    feeds = random_feeds(model)
    before = run(model, feeds)
    names = {value.name for value in model.graph.inputs if not value.is_initializer()}
    outputs = [value.name for value in model.graph.outputs]
    normalise(model)
    for found, expected in zip(run(model, feeds), before, strict=True):
        assert relative_error(found, expected) <= 1e-5
    assert Counter(str(site.role) for site in find_sites(model)) == ROLES[name]
    assert {value.name for value in model.graph.inputs} == names
    assert [value.name for value in model.graph.outputs] == outputs


@pytest.mark.parametrize("name", ["shufflenet_v2_12_int8", "resnet20_cifar10_derived", "silero_vad_v4"])
def test_a_model_in_order_comes_out_untouched(data_dir: Path, name: str) -> None:
    model = load_model(data_dir / "onnx" / f"{name}.onnx")
    before = checked_bytes(model)
    normalise(model)
    assert checked_bytes(model) == before


@pytest.mark.parametrize("name", ["mnist-8", "silero_vad_v5", "ultraface_rfb320"])
def test_normalising_twice_is_normalising_once(data_dir: Path, name: str) -> None:
    model = load_model(data_dir / "onnx" / f"{name}.onnx")
    normalise(model)
    once = checked_bytes(model)
    normalise(model)
    assert checked_bytes(model) == once


def test_lstm_weights_of_two_branches_become_one_site_in_the_outer_graph(data_dir: Path) -> None:
    model = load_model(data_dir / "onnx" / "silero_vad_16k_op15.onnx")
    normalise(model)
    weights = [site for site in find_sites(model) if str(site.role).startswith("LSTM")]
    assert [site.name for site in weights] == ["model.decoder.rnn.weight_ih", "model.decoder.rnn.weight_hh"]
    assert [len(site.readers) for site in weights] == [2, 2]
    assert all(site.value.graph is model.graph for site in weights)
    assert all(len(nesting(model)[reader.node.graph]) > 1 for site in weights for reader in site.readers)


def with_weight(text: str, name: str, array: np.ndarray) -> ir.Model:
    """Return the model of the text, whose input `name` is an initializer as well."""
    model = ir.from_onnx_text(text)
    (value,) = [value for value in model.graph.inputs if value.name == name]
    value.const_value = ir.tensor(array, name=name)
    model.graph.register_initializer(value)
    return model


RNG = np.random.default_rng(3)


def test_an_old_models_weights_stop_being_inputs() -> None:
    model = with_weight(
        '<ir_version: 3, opset_import: ["": 8]> g (float[2,4] x, float[4,3] w) => (float[2,3] y) { y = MatMul(x, w) }',
        "w",
        RNG.standard_normal((4, 3)).astype(np.float32),
    )
    normalise(model)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert list(model.graph.initializers) == ["w"]
    checked_bytes(model)


CHAINS = {
    "Reshape": ("a = Reshape(w, s)", (3, 2, 4), [6, 4]),
    "Unsqueeze, Squeeze": ("b = Unsqueeze(w, k) a = Squeeze(b, k)", (6, 4), [0]),
    "Slice, Concat": ("b = Slice(w, s0, s3, s0) c = Slice(w, s3, s6, s0) a = Concat <axis=0> (c, b)", (6, 4), [0]),
    "Transpose, Flatten": ("b = Transpose <perm=[2,0,1]> (w) a = Flatten <axis=1> (b)", (2, 2, 6), [0]),
    "backwards": ("a = Slice(w, last, before, s0, minus)", (6, 4), [0]),
}


@pytest.mark.parametrize(("chain", "shape", "target"), CHAINS.values(), ids=CHAINS.keys())
def test_computed_weights_become_one_initializer(chain: str, shape: tuple[int, ...], target: list[int]) -> None:
    size = ",".join(map(str, shape))
    text = f"""<ir_version: 8, opset_import: ["": 13]> g (float[2,6] x, float[{size}] w) => (float[2,4] y) {{
        s = Constant <value_ints = {target}> ()
        k = Constant <value_ints = [0]> ()
        s0 = Constant <value = int64[1] {{0}}> () s3 = Constant <value = int64[1] {{3}}> ()
        s6 = Constant <value = int64[1] {{6}}> () minus = Constant <value = int64[1] {{-1}}> ()
        last = Constant <value = int64[1] {{-1}}> () before = Constant <value = int64[1] {{-100}}> ()
        {chain}
        y = MatMul(x, a)
    }}"""
    model = with_weight(text, "w", RNG.standard_normal(shape).astype(np.float32))
    feeds = {"x": RNG.standard_normal((2, 6)).astype(np.float32)}
    (before,) = run(model, feeds)
    normalise(model)
    np.testing.assert_array_equal(run(model, feeds)[0], before)
    assert [node.op_type for node in model.graph] == ["MatMul"]
    assert list(model.graph.initializers) == ["w"]


COMPUTED = {
    "scaled": "a = Mul(w, third)",
    "scaled by columns, shifted": "b = Div(w, columns) a = Add(b, columns)",
    "weight norm": "b = Mul(w, w) c = ReduceSum(b, k) d = Sqrt(c) e = Div(w, d) a = Mul(e, rows)",
    "weight norm of torch": "b = ReduceL2 <axes=[1]> (w) c = Div(rows, b) d = Expand(c, s) a = Mul(d, w)",
    "where": "c = Cast <to=9> (columns) z = Sub(w, w) a = Where(c, w, z)",
    "cast like": "b = Cast <to=11> (w) a = CastLike(b, x)",
    "split": "b, c = Split <axis=0> (w, halves) a = Concat <axis=0> (c, b)",
    "gathered": "a = Gather <axis=1> (w, order)",
    "max of neg": "b = Neg(w) c = Max(b, w) d = Pow(c, two) e = Reciprocal(d) f = Exp(e) a = Min(f, w)",
}


@pytest.mark.parametrize("chain", COMPUTED)
def test_weights_are_computed_from_constants(chain: str) -> None:
    """`third` is read by the product's bias as well: what scales a weight may stay."""
    text = f"""<ir_version: 8, opset_import: ["": 15]> g (float[2,6] x, float[6,4] w) => (float[2,4] y) {{
        s = Constant <value_ints = [6, 4]> () k = Constant <value_ints = [1]> ()
        halves = Constant <value_ints = [2, 4]> () order = Constant <value_ints = [3, -3, 0, 2]> ()
        third = Constant <value_float = 0.3> () two = Constant <value_float = 2.0> ()
        columns = Constant <value = float[4] {{2, 0, 0.5, -1}}> ()
        rows = Constant <value = float[6,1] {{1, 2, 3, 4, 5, 6}}> ()
        {COMPUTED[chain]}
        z0 = MatMul(x, a)
        y = Mul(z0, third)
    }}"""
    if "columns" in COMPUTED[chain] and "Div" in COMPUTED[chain]:
        text = text.replace("2, 0, 0.5", "2, 3, 0.5")
    model = with_weight(text, "w", RNG.standard_normal((6, 4)).astype(np.float32))
    feeds = {"x": RNG.standard_normal((2, 6)).astype(np.float32)}
    (before,) = run(model, feeds)
    normalise(model)
    np.testing.assert_allclose(run(model, feeds)[0], before, rtol=1e-5)
    assert [node.op_type for node in model.graph] == ["MatMul", "Mul"]
    assert [site.name for site in find_sites(model)] == ["w"]


@pytest.mark.parametrize("size", [16, 300])
def test_a_split_weight_becomes_one_site_or_large_ones(size: int) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 18]> g (float[2,{size}] x, float[{size},{2 * size}] w)
        => (float[2,{size}] y) {{
        a, b = Split <axis=1, num_outputs=2> (w) p = MatMul(x, a) q = MatMul(x, b) y = Add(p, q)
    }}"""
    model = with_weight(text, "w", RNG.standard_normal((size, 2 * size)).astype(np.float32))
    normalise(model)
    assert [site.role.value for site in find_sites(model)] == (["Split"] if size == 16 else ["MatMul", "MatMul"])


def test_a_tied_weight_is_not_doubled() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[2,4] x, int64[2] i, float[6,4] w) => (float[2,4] y) {
        s = Constant <value_ints = [4, 6]> ()
        r = Reshape(w, s)
        a = MatMul(x, r)
        e = Gather(w, i)
        b = MatMul(a, w)
        y = Add(b, e)
    }"""
    model = with_weight(text, "w", RNG.standard_normal((6, 4)).astype(np.float32))
    normalise(model)
    assert [name for name, v in model.graph.initializers.items() if v.dtype == ir.DataType.FLOAT] == ["w"]
    assert "Reshape" in {node.op_type for node in model.graph}


def test_a_small_file_cannot_make_a_huge_weight() -> None:
    doubled = " ".join(f"w{i + 1} = Concat <axis=1> (w{i}, w{i})" for i in range(60))
    text = f'<ir_version: 8, opset_import: ["": 13]> g (float[2,6] x, float[6,4] w0) => (float[2,N] y) {{ {doubled} '
    model = with_weight(text + "y = MatMul(x, w60) }", "w0", RNG.standard_normal((6, 4)).astype(np.float32))
    normalise(model)
    assert len(model.graph) == 61
    assert find_sites(model) == []


def test_a_computed_weight_that_is_an_output_too_stays() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[2,6] x, float[24] w) => (float[2,4] y, float[6,4] r) {
        s = Constant <value_ints = [6, 4]> () r = Reshape(w, s) y = MatMul(x, r)
    }"""
    model = with_weight(text, "w", RNG.standard_normal(24).astype(np.float32))
    normalise(model)
    assert [value.name for value in model.graph.outputs] == ["y", "r"]
    assert [name for name, v in model.graph.initializers.items() if v.dtype == ir.DataType.FLOAT] == ["w"]


def test_transposes_and_casts_that_sites_are_seen_through_stay() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[2,4] x, float16[6,4] w) => (float[2,6] y) {
        a = Cast <to=1> (w)
        b = Transpose <perm=[1,0]> (a)
        y = MatMul(x, b)
    }"""
    model = with_weight(text, "w", RNG.standard_normal((6, 4)).astype(np.float16))
    normalise(model)
    assert [node.op_type for node in model.graph] == ["Cast", "Transpose", "MatMul"]
    (site,) = find_sites(model)
    assert site.shape == (6, 4)


def test_weights_in_constant_nodes_of_a_branch_become_initializers_of_the_branch() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (bool b, float[2,4] x) => (float[2,6] y) {
        y = If (b) <
            then_branch = t () => (float[2,6] p) { w = Constant <value_floats = [%s]> () v = Reshape(w, s)
                                                   p = MatMul(x, v) },
            else_branch = e () => (float[2,6] q) { z = Constant <value_floats = [%s]> () u = Reshape(z, s)
                                                   q = MatMul(x, u) }
        >
    }"""
    numbers = ", ".join(f"{i / 7:.3f}" for i in range(24))
    text = text.replace("(bool b,", "(int64[2] s, bool b,") % (numbers, numbers)
    model = with_weight(text, "s", np.array([4, 6]))
    feeds = {"b": np.array(True), "x": RNG.standard_normal((2, 4)).astype(np.float32)}
    (before,) = run(model, feeds)
    normalise(model)
    np.testing.assert_array_equal(run(model, feeds)[0], before)
    sites = find_sites(model)
    assert len(sites) == 2
    assert all(site.value.graph is not model.graph for site in sites)


def test_doubled_and_missing_names_are_made_and_others_stay() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[2,4] x) => (float[2,4] y) {
        [kept] a = Relu(x)
        [twice] b = Relu(a)
        [twice] c = Relu(b)
        y = Relu(c)
    }"""
    model = ir.from_onnx_text(text)
    normalise(model)
    names = [node.name for node in model.graph]
    assert names[:2] == ["kept", "twice"]
    assert len(set(names)) == 4
    assert all(names)


def test_unused_weights_of_branches_disappear() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (bool b, float[2,4] x) => (float[2,4] y) {
        y = If (b) < then_branch = t () => (float[2,4] p) { p = Relu(x) },
                     else_branch = e () => (float[2,4] q) { q = Neg(x) } >
    }"""
    model = ir.from_onnx_text(text)
    branch = next(model.graph.subgraphs())
    branch.register_initializer(ir.val("old", const_value=ir.tensor(np.ones(3, np.float32), name="old")))
    normalise(model)
    assert not any(graph.initializers for graph in all_graphs(model))
