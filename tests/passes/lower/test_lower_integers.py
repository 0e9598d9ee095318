"""8-bit weights between rounded activations: ONNX Runtime makes integer kernels of them, which compute the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from running import assign_dense, relative_error, run

from dtc.graph import bypass_quantizers, find_quantizers, find_sites
from dtc.passes.lean import fold_batch_norms
from dtc.passes.lower import Compressed, Lowered, find_target, lower
from dtc.passes.method import make_method
from dtc.passes.plan import weights_of
from dtc.passes.prepare import normalise
from dtc.passes.prepare.integer_regions import find_integer_activations
from dtc.passes.prepare.quantize_activations import Activation, Quantization, quantize_activations
from dtc.passes.solvers.activation_levels import Levels, fit_levels

RNG = np.random.default_rng(0)

NETWORK = """
    (float[n,3,8,8] x, float[16,3,3,3] W0, float[16,16,3,3] W1, float[16] B1, float[16,16,3,3] W2, float[16,1,3,3] W3,
     float[192,16] W4, float[192] B4, float[192,192] W5, float[192] B5, float[192,192] W6,
     float[16] s, float[16] t, float[16] m, float[16] v, float zero, float six) => (float[n,192] y) {
        c0 = Conv<pads=[1,1,1,1]>(x, W0)
        r0 = Relu(c0)
        c1 = Conv<pads=[1,1,1,1]>(r0, W1, B1)
        k1 = Clip(c1, zero, six)
        c2 = Conv<pads=[1,1,1,1]>(k1, W2)
        b2 = BatchNormalization(c2, s, t, m, v)
        a = Add(b2, r0)
        ra = Relu(a)
        p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(ra)
        c3 = Conv<pads=[1,1,1,1], group=16>(p, W3)
        g = GlobalAveragePool(c3)
        f = Flatten(g)
        h = Gemm<transB=1>(f, W4, B4)
        q = MatMul(h, W5)
        z = Add(q, B5)
        y = MatMul(z, W6)
    }
"""


def model_of(text: str, opset: int = 13) -> ir.Model:
    """Return a normalised model all of whose inputs but x are random weights, and what a network wants of them."""
    model = ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": {opset}]> g {text}')
    for value in [value for value in model.graph.inputs if value.name != "x"]:
        shape = [int(str(size)) for size in value.shape or ()]
        array = (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        array = {"v": np.abs(array) + 1, "zero": np.float32(0), "six": np.float32(6)}.get(str(value.name), array)
        value.const_value = ir.tensor(np.asarray(array, np.float32), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    normalise(model)
    return model


def intermediate(model: ir.Model, feeds: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    clone = model.clone()
    values = {value.name: value for node in clone.graph for value in node.outputs}
    clone.graph.outputs.clear()
    clone.graph.outputs.extend(values[name] for name in names)
    proto = ir.to_proto(clone).SerializeToString()
    return dict(zip(names, ort.InferenceSession(proto).run(names, feeds), strict=True))


def rounded(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[Activation]:
    """Put quantizers in, whose levels are those of one run."""
    found = find_integer_activations(model, find_sites(model))
    seen = intermediate(model, feeds, [each.name for each in found]) if found else {}
    levels = {name: fit_levels(array.ravel(), array.min(), array.max(), 8) for name, array in seen.items()}
    quantize_activations(model, [Quantization(each, levels[each.like or each.name]) for each in found])
    return found


def lowered(model: ir.Model, *, rounds_inputs: bool = False, **options: bool) -> list[Lowered]:
    """Lower every site in place, BatchNormalization folded; the dense weights were put into the model before."""
    sites = find_sites(model)
    outcomes = make_method("int8", options).distort([weights_of(site, sites) for site in sites])
    items = [Compressed(site, outcomes[site.name]) for site in sites]
    assign_dense(items)
    forms = fold_batch_norms(model, {item.site.name: item.forms for item in items}).forms
    items = [Compressed(site, forms[site.name], rounds_inputs) for site in find_sites(model)]
    return lower(model, items, find_target("compute"))


def optimized(model: ir.Model, folder: Path) -> Counter[str]:
    """Return the operators that ONNX Runtime's optimizer leaves."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


@pytest.mark.parametrize("reduce_range", [True, False])
def test_a_network_runs_in_integer_kernels_and_computes_what_its_rounding_says(
    tmp_path: Path, reduce_range: bool
) -> None:
    model, feeds = model_of(NETWORK), {"x": RNG.normal(size=(4, 3, 8, 8)).astype(np.float32)}
    found = rounded(model, feeds)
    # The first layer reads the input as it is; a pool and a change of shape have the levels of what they read.
    assert [(each.name, each.like) for each in found] == [
        ("r0", None), ("k1", None), ("b2", None), ("ra", None), ("p", "ra"), ("c3", None), ("g", None), ("f", "g"),
        ("h", None), ("z", None),
    ]  # fmt: skip
    plain = model.clone()
    made = lowered(model, reduce_range=reduce_range)
    told = {each.site.name: each.how for each in made}
    assert told == {"W0": "decoded", **dict.fromkeys(("W1", "W2", "W3", "W4", "W5", "W6"), "integers")}
    kernels = optimized(model, tmp_path)
    assert (kernels["QLinearConv"], kernels["QLinearAdd"], kernels["QGemm"]) == (3, 1, 2)
    assert kernels["QLinearGlobalAveragePool"] == kernels["MatMulIntegerToFloat"] == 1
    assert (kernels["Conv"], kernels["MatMul"], kernels["Gemm"]) == (1, 0, 0)  # the first layer
    # Without the rounding both are the same but for biases, which are whole steps; with it a few levels move.
    for site in find_sites(plain):
        value = plain.graph.initializers[site.name]
        value.const_value = ir.tensor(distorted(site, reduce_range=reduce_range), name=site.name)
    assert relative_error(run(model, feeds)[0], run(plain, feeds)[0]) < 0.05
    assert bypass_quantizers(model) == bypass_quantizers(plain) == len(found)
    tolerance = {each.site.name: each.tolerance for each in made}
    assert relative_error(run(model, feeds)[0], run(plain, feeds)[0]) < tolerance["W6"]
    # A MatMul whose weight alone is rounded is none of floats in ONNX Runtime; what stands before it is.
    wanted, got = (intermediate(each, feeds, ["h"])["h"] for each in (plain, model))
    assert relative_error(got, wanted) < tolerance["W4"] < tolerance["W6"]


def distorted(site, *, reduce_range: bool) -> np.ndarray:
    (forms,) = make_method("int8", {"reduce_range": reduce_range}).distort([weights_of(site)]).values()
    return site.restore(np.stack([form.dense() for form in forms]))


def test_no_pair_of_products_leaves_16_bits_in_the_reduced_range() -> None:
    """What x86 processors without VNNI add up in 16 bits: two products of a byte and a weight."""
    model = model_of(NETWORK)
    feeds = {"x": RNG.normal(size=(4, 3, 8, 8)).astype(np.float32)}
    rounded(model, feeds)
    lowered(model)
    weights = [each for name, each in model.graph.initializers.items() if name.endswith(".codes")]
    assert len(weights) == 7
    for value in weights:
        array = value.const_value.numpy()
        assert array.dtype == np.int8
        assert 255 * 2 * int(np.abs(array.astype(np.int16)).max()) < 1 << 15


def test_a_bias_beside_hardly_any_weight_is_still_an_int32() -> None:
    model = model_of(NETWORK)
    tiny = model.graph.initializers["W1"].const_value.numpy().copy()
    tiny[3], tiny[5] = 0, tiny[5] * 1e-12
    model.graph.initializers["W1"].const_value = ir.tensor(tiny, name="W1")
    feeds = {"x": RNG.normal(size=(4, 3, 8, 8)).astype(np.float32)}
    rounded(model, feeds)
    plain = model.clone()
    lowered(model)
    for each in (model, plain):
        bypass_quantizers(each)
    wanted, got = (intermediate(each, feeds, ["c1"])["c1"] for each in (plain, model))
    np.testing.assert_allclose(got[:, [3, 5]], wanted[:, [3, 5]], rtol=1e-5, atol=1e-6)


ACTIVATED = {
    "Gemm, Relu": "k = Gemm(h, B, c) a = Relu(k)",
    "Gemm, Tanh": "k = Gemm(h, B, c) a = Tanh(k)",
    "MatMul, Add, Sigmoid": "m = MatMul(h, B) k = Add(m, c) a = Sigmoid(k)",
    "MatMul, Add, Relu": "m = MatMul(h, B) k = Add(m, c) a = Relu(k)",
}


@pytest.mark.parametrize("nodes", ACTIVATED)
def test_no_activation_is_joined_to_a_gemm_of_floats(tmp_path: Path, nodes: str) -> None:
    model = model_of(
        "(float[n,64] x, float[64,192] A, float[192,192] B, float[192] c) => (float[n,192] y) "
        f"{{ h = MatMul(x, A) {ACTIVATED[nodes]} y = Neg(a) }}"
    )
    feeds = {"x": RNG.normal(size=(3, 64)).astype(np.float32)}
    wanted = run(model, feeds)[0]
    rounded(model, feeds)
    assert [each.how for each in lowered(model)] == ["decoded", "integers"]
    kernels = optimized(model, tmp_path)
    assert kernels["QGemm"] + kernels["MatMulIntegerToFloat"] == 1
    assert kernels["FusedGemm"] == 0
    assert relative_error(run(model, feeds)[0], wanted) < 0.05


@pytest.mark.parametrize(("shape", "kernel"), [("2,192", "QGemm"), ("2,3,192", "MatMulIntegerToFloat")])
def test_an_add_behind_a_product_makes_no_gemm_of_floats(tmp_path: Path, shape: str, kernel: str) -> None:
    """Also where no shape is told of what flows."""
    model = model_of(
        f"(float[{shape}] x, float[192,192] A, float[192,192] B, float[192] c) => (float[{shape}] y) "
        "{ h = MatMul(x, A) t = Tanh(h) k = MatMul(t, B) s = Add(c, k) y = Relu(s) }"
    )
    feeds = {"x": RNG.normal(size=[int(each) for each in shape.split(",")]).astype(np.float32)}
    rounded(model, feeds)
    wanted = run(model, feeds)[0]
    lowered(model)
    kernels = optimized(model, tmp_path)
    assert (kernels[kernel], kernels["DequantizeLinear"], kernels["MatMul"] + kernels["Gemm"]) == (1, 0, 1)
    assert relative_error(run(model, feeds)[0], wanted) < 0.05


UNFIT = {
    "a convolution that is an output": "(float[n,3,8,8] x, float[8,3,3,3] A, float[8,8,3,3] B) => (float[n,8,4,4] y) "
    "{ h = Conv(x, A) y = Conv(h, B) }",
    "a scaled Gemm": "(float[20,16] x, float[16,192] A, float[192,192] B) => (float[20,192] y) "
    "{ h = MatMul(x, A) y = Gemm<alpha=2.0>(h, B) }",
    "a weight on the left": "(float[16,20] x, float[192,16] A, float[192,192] B) => (float[192,20] y) "
    "{ h = MatMul(A, x) y = MatMul(B, h) }",
}


@pytest.mark.parametrize("graph", UNFIT)
def test_what_no_integer_kernel_takes_is_decoded(graph: str) -> None:
    model = model_of(UNFIT[graph])
    size = [int(str(each)) if str(each).isdigit() else 2 for each in model.graph.inputs[0].shape]
    feeds = {"x": RNG.normal(size=size).astype(np.float32)}
    rounded(model, feeds)
    assert "integers" not in {each.how for each in lowered(model)}
    run(model, feeds)


def test_a_weight_that_others_read_as_well_is_stored_once_and_decoded_for_them() -> None:
    model = model_of(
        "(float[n,64] x, float[64,192] A, float[192,192] B) => (float[n,192] y, float[192,192] w) "
        "{ h = MatMul(x, A) k = MatMul(h, B) w = Relu(B) y = Relu(k) }"
    )
    feeds = {"x": RNG.normal(size=(20, 64)).astype(np.float32)}
    rounded(model, feeds)
    plain = model.clone()
    told = {each.site.name: [reader.how for reader in each.readers] for each in lowered(model)}
    assert told["B"] == ["integers"]
    stored = [each.const_value.size for each in model.graph.initializers.values()]
    assert sum(size >= 12288 for size in stored) == 2
    np.testing.assert_allclose(run(model, feeds)[1], run(plain, feeds)[1], atol=0.02)


@pytest.mark.parametrize(("size", "found"), [(128, 0), (192, 1)])
def test_a_small_product_stays_in_floats_where_nothing_else_rounds_what_it_reads(size: int, found: int) -> None:
    weights = f"float[8,{size}] A, float[{size},{size}] B"
    model = model_of(f"(float[n,8] x, {weights}) => (float[n,{size}] y) {{ h = MatMul(x, A) y = MatMul(h, B) }}")
    assert len(find_integer_activations(model, find_sites(model))) == found


def test_an_older_model_has_no_activation_rounded_for_integers() -> None:
    model = model_of(NETWORK, opset=12)
    assert find_integer_activations(model, find_sites(model)) == []


def test_without_levels_a_product_rounds_what_comes(tmp_path: Path) -> None:
    model = model_of(
        "(float[n,5,600] x, float[600,512] A, float[512] c, float[40,512] B) => (float[n,5,40] y) "
        "{ k = MatMul(x, A) l = Add(k, c) h = Relu(l) t = Transpose<perm=[1,0]>(B) y = MatMul(h, t) }"
    )
    feeds = {"x": RNG.normal(size=(3, 5, 600)).astype(np.float32)}
    wanted = run(model, feeds)[0]
    told = {each.site.name: each for each in lowered(model, rounds_inputs=True)}
    # The second one is small: rounding takes longer than it saves.
    assert {name: each.how for name, each in told.items()} == {"A": "integers", "B": "decoded"}
    assert told["A"].tolerance is not None
    kernels = optimized(model, tmp_path)
    assert kernels["DynamicQuantizeMatMul"] == 1
    assert relative_error(run(model, feeds)[0], wanted) < told["A"].tolerance


def test_levels_that_are_not_of_8_bits_leave_a_product_in_floats() -> None:
    model = model_of(
        "(float[n,64] x, float[64,192] A, float[192,192] B) => (float[n,192] y) { h = MatMul(x, A) y = MatMul(h, B) }"
    )
    quantize_activations(model, [Quantization(Activation("h", ("MatMul_y",)), Levels(0.1, 7, 4))])
    assert len(find_quantizers(model.graph)) == 1
    assert {each.how for each in lowered(model)} == {"decoded"}
