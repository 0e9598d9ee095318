"""Binary codes lowered, in every role and mode, against ONNX Runtime with the dense weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from running import assign_dense, checked_bytes, eager, random_feeds, relative_error, run, session

from dtc.graph import Site, all_nodes, find_sites, load_model
from dtc.passes.lower import Compressed, lower
from dtc.passes.lower.kinds import kinds
from dtc.passes.method import Skip, Weights, make_method

MODES: list[str] = ["compute", "standard", "storage"]

GRAPHS = {
    "MatMul": "(float[2,3,20] x, float[20,24] W) => (float[2,3,24] y) { y = MatMul(x, W) }",
    "left MatMul": "(float[20,3] x, float[24,20] W) => (float[24,3] y) { y = MatMul(W, x) }",
    "stacked MatMul": "(float[2,3,20] x, float[2,20,24] W) => (float[2,3,24] y) { y = MatMul(x, W) }",
    "MatMul after Transpose": "(float[3,20] x, float[24,20] W) => (float[3,24] y) "
    "{ t = Transpose<perm=[1,0]>(W) y = MatMul(x, t) }",
    "Gemm": "(float[3,20] x, float[20,24] W, float[24] B) => (float[3,24] y) { y = Gemm(x, W, B) }",
    "Gemm transB": "(float[3,20] x, float[24,20] W) => (float[3,24] y) { y = Gemm<transB=1>(x, W) }",
    "scaled Gemm": "(float[20,3] x, float[20,24] W, float[24] B) => (float[3,24] y) "
    "{ y = Gemm<alpha=0.5, beta=2.0, transA=1>(x, W, B) }",
    "Conv": "(float[1,4,8,8] x, float[16,4,3,3] W) => (float[1,16,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, W) }",
    "grouped Conv": "(float[1,8,9] x, float[16,4,3] W) => (float[1,16,7] y) { y = Conv<group=2>(x, W) }",
    "LSTM": "(float[5,2,24] x, float[1,64,24] W, float[1,64,16] R) => (float[5,1,2,16] y) "
    "{ y = LSTM<hidden_size=16>(x, W, R) }",
    "two-way GRU": "(float[5,2,24] x, float[2,48,24] W, float[2,48,16] R) => (float[5,2,2,16] y) "
    '{ y = GRU<hidden_size=16, direction="bidirectional">(x, W, R) }',
    "Gather": "(int64[2,3] i, float[30,24] W) => (float[2,3,24] y) { y = Gather(W, i) }",
    "tied": "(int64[3] i, float[30,24] W) => (float[3,30] y) { h = Gather(W, i) y = Gemm<transB=1>(h, W) }",
    "tied by Transpose": "(int64[3] i, float[30,24] W) => (float[3,30] y) "
    "{ h = Gather(W, i) t = Transpose<perm=[1,0]>(W) y = MatMul(h, t) }",
    "shared by MatMuls": "(float[3,24] x, float[24,24] W) => (float[3,24] y) { h = MatMul(x, W) y = MatMul(h, W) }",
    "read as no weight too": "(float[3,24] x, float[24,24] W) => (float[3,24] y) "
    "{ h = MatMul(x, W) s = ReduceSum<keepdims=0>(W) y = Add(h, s) }",
}

OPTIONS: dict[str, tuple[str, dict[str, Any], float]] = {
    "2 bits": ("binary", {"bits": 2}, 0),
    "grouped": ("binary", {"bits": 3, "group_size": 8, "alpha_dtype": "float32"}, 0),
    "few survivors": ("binary", {"bits": 1}, 0.85),
    "masked": ("binary", {"bits": 2}, 0.1),
    "uniform": ("uniform", {"bits": 4, "symmetric": False}, 0),
}


def small_model(name: str, opset: int = 17) -> ir.Model:
    """Return a model of the graph; its inputs in capitals are random weights."""
    model = ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": {opset}]> g {GRAPHS[name]}')
    rng = np.random.default_rng(0)
    for value in [value for value in model.graph.inputs if (value.name or "").isupper()]:
        shape = [int(str(size)) for size in value.shape or ()]
        array = (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
        value.const_value = ir.tensor(array, name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


def model_of_size(name: str, rows: int, cols: int) -> ir.Model:
    """Return the MatMul or Gemm of the graph, with `x [3, cols]` and a weight of `rows` outputs."""
    model = small_model(name)
    shape = (rows, cols) if "transB" in name else (cols, rows)
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    value = model.graph.initializers["W"]
    value.const_value, value.shape = ir.tensor(array, name="W"), ir.Shape(shape)
    model.graph.inputs[0].shape, model.graph.outputs[0].shape = ir.Shape([3, cols]), ir.Shape([3, rows])
    return model


def compressed(sites: list[Site], method: str, options: dict[str, Any], pruned: float) -> list[Compressed]:
    items = []
    for site in sites:
        matrices = site.matrices()
        mask = np.abs(matrices) >= np.quantile(np.abs(matrices), pruned) if pruned else None
        weights = Weights(site.name, matrices, "n", mask=mask)
        outcome = make_method(method, options).distort([weights])[site.name]
        if not isinstance(outcome, Skip):
            items.append(Compressed(site, outcome))
    return items


def lowered(model: ir.Model, mode: str, method: str, options: dict[str, Any], pruned: float) -> float:
    """Lower in place; return the error against the dense weights."""
    feeds = random_feeds(model)
    items = compressed(find_sites(model), method, options, pruned)
    assert items
    assign_dense(items)
    expected = run(model, feeds)
    lower(model, items, eager(mode))
    assert not {item.site.name for item in items} & set(model.graph.initializers)
    return max(relative_error(f, e) for f, e in zip(run(model, feeds), expected, strict=True))


def ops(model: ir.Model) -> set[str]:
    return {node.op_type for node in all_nodes(model)}


CASES = [(mode, options) for mode in MODES for options in OPTIONS if mode != "storage" or options == "few survivors"]


@pytest.mark.parametrize(("mode", "options"), CASES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_role_computes_with_exactly_the_dense_weight(graph: str, options: str, mode: str):
    model = small_model(graph)
    # Only a product that is done in another order, MatMul and Add for Gemm, differs by its rounding.
    assert lowered(model, mode, *OPTIONS[options]) <= 1e-6
    if mode == "standard":
        assert all(node.domain == "" for node in all_nodes(model))
        assert not model.functions


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ("MatMul", "BinaryMatMul"),
        ("Gemm", "BinaryMatMul"),
        ("Gather", "BinaryGather"),
        ("Conv", None),
        ("left MatMul", "BinaryMatMul"),
        ("scaled Gemm", "BinaryMatMul"),
    ],
)
def test_compute_takes_the_operator_of_the_role(graph: str, expected: str | None):
    model = small_model(graph)
    lowered(model, "compute", *OPTIONS["2 bits"])
    assert {node.op_type for node in all_nodes(model) if node.domain == "dtc"} == ({expected} if expected else set())
    assert [key[1] for key in model.functions] == ([expected] if expected else [])


@pytest.mark.parametrize("graph", ["MatMul", "Gather", "Conv", "LSTM"])
def test_storage_dequantizes_for_every_reader(graph: str):
    model = small_model(graph)
    lowered(model, "storage", *OPTIONS["2 bits"])
    assert {node.op_type for node in all_nodes(model) if node.domain == "dtc"} == {"BinaryDequantize"}


@pytest.mark.parametrize("graph", ["tied", "tied by Transpose"])
def test_a_tied_weight_is_stored_once(graph: str):
    model = small_model(graph)
    lowered(model, "compute", *OPTIONS["2 bits"])
    assert [name for name in model.graph.initializers if name.endswith(".codes")] == ["W.codes"]
    if graph == "tied":
        assert {node.op_type for node in model.graph if node.domain == "dtc"} == {"BinaryGather", "BinaryMatMul"}


def test_an_embedding_is_decoded_after_its_gather():
    model = small_model("Gather")
    lowered(model, "standard", *OPTIONS["2 bits"])
    gathers = [node for node in model.graph if node.op_type == "Gather" and node.inputs[0].name == "W.codes"]
    assert len(gathers) == 1
    assert all("W.codes" not in [v.name for v in n.inputs if v] for n in model.graph if n is not gathers[0])


def test_runtimes_fold_the_decoding(tmp_path: Path):
    import onnxruntime

    for mode in MODES:
        model = small_model("LSTM")
        lowered(model, mode, *OPTIONS["few survivors"])
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        onnxruntime.InferenceSession(checked_bytes(model), options)
        assert {n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node} == {"LSTM"}


def test_an_old_model_keeps_its_opset():
    model = small_model("MatMul", opset=9)
    assert lowered(model, "compute", *OPTIONS["2 bits"]) <= 1e-6
    assert model.opset_imports[""] == 9


def test_the_file_grows_by_the_bytes_of_the_forms():
    for mode in MODES:
        model = model_of_size("MatMul", 1600, 1000)
        items = compressed(find_sites(model), *OPTIONS["2 bits"])
        expected = sum(form.nbytes for item in items for form in item.forms)
        lower(model, items, eager(mode))
        assert expected <= len(checked_bytes(model)) <= expected * 1.01 + 5000  # the body of a function


@pytest.mark.parametrize("rows", [1, 3, 10, 16])
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_packed_codes_of_few_rows_make_no_larger_file(rows: int, bits: int):
    model = model_of_size("Gemm transB", rows, 20000)
    items = compressed(find_sites(model), "binary", {"bits": bits}, 0)
    expected = sum(form.nbytes for item in items for form in item.forms)
    lower(model, items, eager("standard"))
    assert len(checked_bytes(model)) <= expected + 3000  # the nodes


@pytest.mark.parametrize("graph", ["MatMul", "Gemm transB", "LSTM"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes_that_fill_bytes_are_decoded_to_exactly_the_dense_weight(graph: str, bits: int):
    method, options = ("binary", {"bits": bits}) if bits < 8 else ("uniform", {"bits": bits, "symmetric": False})
    assert lowered(small_model(graph), "standard", method, options, 0) <= 1e-6


# Of 4 bits an index for a byte alone is half of the weight: 12 bytes a weight, and 5 % for levels and tables.
@pytest.mark.parametrize(("bits", "times"), [(1, 3), (2, 3), (4, 3.2)])
def test_what_is_kept_while_a_weight_is_folded_is_below_three_times_its_size(bits: int, times: float):
    model = model_of_size("MatMul", 200, 1600)
    lower(model, compressed(find_sites(model), "binary", {"bits": bits, "solver": "greedy"}, 0), eager("standard"))
    inferred = onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True, data_prop=True)
    values = [ir.from_proto(info) for info in inferred.graph.value_info]
    assert {node.outputs[0].name for node in model.graph} - {"y"} <= {value.name for value in values}
    kept = sum(math.prod(value.shape.numpy()) * value.dtype.itemsize for value in values)
    assert 1 < kept / (4 * 200 * 1600) < times


@pytest.mark.parametrize(
    "name", ["ptb_rnnlm_lstm100_derived", "silero_vad_v4", "gtcrn_simple", "resnet20_cifar10_derived"]
)
@pytest.mark.parametrize("mode", MODES)
def test_real_models(data_dir: Path, name: str, mode: str):
    bits, pruned = (1, 0.85) if mode == "storage" else (2, 0)
    options = {"bits": bits, "solver": "greedy"}  # any codes are lowered alike, and these are found at once
    assert lowered(load_model(data_dir / "onnx" / f"{name}.onnx"), mode, "binary", options, pruned) <= 1e-6


@pytest.mark.parametrize("name", ["kws_dnn_s", "mnist-8"])
@pytest.mark.parametrize("options", OPTIONS)
def test_small_real_models_of_old_opsets(data_dir: Path, name: str, options: str):
    model = load_model(data_dir / "onnx" / f"{name}.onnx")
    model.ir_version = 8
    assert lowered(model, "compute", *OPTIONS[options]) <= 1e-5


@pytest.mark.parametrize("group_size", [0, 16])
def test_int2_planes_are_the_same_weight_and_are_fused(group_size: int, tmp_path: Path):

    model = small_model("MatMul", opset=25)
    feeds = random_feeds(model)
    items = compressed(find_sites(model), "binary", {"bits": 2, "group_size": group_size}, 0)
    assign_dense(items)
    expected = run(model, feeds)[0]
    (told,) = lower(model, items, eager("int2"))
    assert told.how == "planes"
    assert "8 bits" in told.caveats[0]
    assert told.tolerance == 0.05
    assert model.opset_imports[""] == 25
    assert ops(model) == {"DequantizeLinear", "MatMul", "Sum"}
    found = session(model, optimise=False).run(None, feeds)[0]
    assert relative_error(found, expected) <= 1e-6
    # Fused, activations are rounded to 8 bits: near, and not exact.
    assert relative_error(run(model, feeds)[0], expected) <= 0.03


def test_what_int2_cannot_hold_is_decoded_as_usual():
    for graph, options in (("LSTM", "2 bits"), ("MatMul", "masked"), ("MatMul", "uniform")):
        model = small_model(graph)
        feeds = random_feeds(model)
        items = compressed(find_sites(model), *OPTIONS[options])
        assign_dense(items)
        expected = run(model, feeds)[0]
        told = lower(model, items, eager("int2"))
        assert {each.how for each in told} == {"decoded"}
        assert not any(each.caveats or each.tolerance for each in told)
        assert relative_error(run(model, feeds)[0], expected) <= 1e-6


def test_the_lowering_is_found_by_the_form():
    assert "binary" in kinds()
    assert kinds()["binary"].refuse(find_sites(small_model("MatMul"))[0]) is None
