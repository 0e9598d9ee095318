"""Weights of the operators that ONNX Runtime's optimizers write are sites, decoded in front of the same node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser
from onnxruntime.quantization import QuantType, quantize_dynamic

from dtc.graph import Role, find_sites, load_model
from dtc.passes.prepare import normalise

RNG = np.random.default_rng(0)
METHODS = {
    "uniform": ("-m", "uniform", "--bits", 4),
    "svd": ("-m", "svd", "--rank-ratio", 0.2),
    "prune": ("-m", "prune", "--sparsity", 0.8),
    "binary": ("-m", "binary", "--bits", 2),
    "codebook": ("-m", "codebook", "--codewords", 16, "--block", 1),
    "prune+svd": ("-m", "prune+svd", "--sparsity", 0.9, "--rank-ratio", 0.1),
}


def written(path: Path, graph: str, **weights: tuple[int, ...]) -> Path:
    text = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>\n' + graph
    model = parser.parse_model(text)
    arrays = {name: (RNG.normal(size=shape) / 4).astype(np.float32) for name, shape in weights.items()}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(model, path)
    return path


def optimised(path: Path) -> Path:
    """Return the model as ONNX Runtime writes it after its own optimizer."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path.with_name("optimised.onnx"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return path.with_name("optimised.onnx")


def convolutional(folder: Path) -> Path:
    graph = """m (float[2, 3, 8, 8] x) => (float[2, 96] y) {
        c = Conv<pads = [1, 1, 1, 1]>(x, K)  r = Relu(c)  p = GlobalAveragePool(r)  f = Flatten(p)
        h = Gemm(f, A, b)  g = Relu(h)  m = MatMul(g, W)  s = Constant<value = float {0.5}>()  y = Mul(m, s) }"""
    return optimised(written(folder / "m.onnx", graph, K=(64, 3, 3, 3), A=(64, 96), b=(96,), W=(96, 96)))


def transformer(folder: Path) -> Path:
    graph = """m (int32[2, 6] ids) => (float[2, 6, 32] y) {
        e, mask = com.microsoft.EmbedLayerNormalization(ids, , words, places, , g, b)
        a = com.microsoft.Attention<num_heads = 4>(e, qkv, bias)
        s = com.microsoft.SkipLayerNormalization(a, e, g, b)
        p = com.microsoft.FusedMatMul<alpha = 0.5, transB = 1>(s, up)
        q = com.microsoft.BiasGelu(p, c)
        y = com.microsoft.FusedMatMul(q, down) }"""
    shapes = {"words": (100, 32), "places": (40, 32), "g": (32,), "b": (32,), "qkv": (32, 96), "bias": (96,)}
    return written(folder / "m.onnx", graph, **shapes, up=(64, 32), c=(64,), down=(64, 32))


def test_the_optimizer_writes_the_operators_meant_here(tmp_path: Path) -> None:
    model = load_model(convolutional(tmp_path))
    assert {node.op_type for node in model.graph} >= {"FusedConv", "FusedGemm", "FusedMatMul"}
    normalise(model)
    found = {site.name: (site.role, site.view.count, site.view.rows, site.view.cols) for site in find_sites(model)}
    assert found == {
        "K": (Role.FUSED, 1, 64, 27),
        "A": (Role.FUSED, 1, 96, 64),
        "W": (Role.FUSED, 1, 96, 96),
    }


CHOICES = [(method, "compute") for method in METHODS] + [("uniform", "standard"), ("svd", "storage")]


@pytest.mark.parametrize(("method", "lower"), CHOICES)
@pytest.mark.parametrize("build", [convolutional, transformer])
def test_fused_operators_read_the_decoded_weight(
    dtc: Callable, tmp_path: Path, build: Callable[[Path], Path], method: str, lower: str
) -> None:
    source, output = build(tmp_path), tmp_path / "o.onnx"
    status, out, err = dtc(
        "compress", source, *METHODS[method], "--lower", lower, "-o", output, "--seconds", 0, "--allow-growth"
    )
    assert status == 0, err
    assert "decoded" in out or "joined" in out or "multiplied" in out
    # The operators of the model are still there, each once.
    before, after = onnx.load(source), onnx.load(output)
    fused = [node.op_type for node in before.graph.node if node.domain == "com.microsoft"]
    assert [node.op_type for node in after.graph.node if node.domain == "com.microsoft"] == fused


def test_a_weight_on_the_left_is_read_as_its_attributes_say(tmp_path: Path) -> None:
    graph = """m (float[20, 5] x) => (float[30, 5] y, float[20, 5] z) {
        y = com.microsoft.FusedMatMul<transA = 1>(L, x)  z = com.microsoft.FusedMatMul(R, x) }"""
    sites = find_sites(load_model(written(tmp_path / "m.onnx", graph, L=(20, 30), R=(20, 20))))
    assert {site.name: (site.view.rows, site.view.perm) for site in sites} == {"L": (30, (1, 0)), "R": (20, (0, 1))}


def test_a_weight_of_a_product_and_of_a_fused_one_is_decoded_for_both(dtc: Callable, tmp_path: Path) -> None:
    graph = """m (float[2, 64] x) => (float[2, 64] y) {
        h = MatMul(x, W)  y = com.microsoft.FusedMatMul<transB = 1>(h, W) }"""
    source = written(tmp_path / "m.onnx", graph, W=(64, 64))
    status, out, err = dtc("compress", source, *METHODS["svd"], "-o", tmp_path / "o.onnx", "--seconds", 0)
    assert status == 0, err
    assert "low_rank" in out


def test_operators_that_hold_quantized_weights_are_named(dtc: Callable, tmp_path: Path) -> None:
    graph = """m (float[3, 2, 64] x) => (float[3, 1, 2, 32] y) { y, h = LSTM<hidden_size = 32>(x, W, R) }"""
    source = written(tmp_path / "m.onnx", graph, W=(1, 128, 64), R=(1, 128, 32))
    quantize_dynamic(source, tmp_path / "q.onnx", weight_type=QuantType.QInt8, op_types_to_quantize=["LSTM"])
    status, out, err = dtc("inspect", tmp_path / "q.onnx")
    assert status == 0, err
    assert "DynamicQuantizeLSTM" in out
    status, _, err = dtc("compress", tmp_path / "q.onnx", *METHODS["uniform"], "-o", tmp_path / "o.onnx")
    assert status == 2
    assert "already quantized" in err
    assert "DynamicQuantizeLSTM" in err
