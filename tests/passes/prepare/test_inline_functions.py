"""Weights in model-local functions are sites: such functions are inlined, others stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from dtc.graph import find_sites, load_model, save_model
from dtc.passes.prepare import functions_left, normalise

RNG = np.random.default_rng(0)
PRUNE = ("-m", "prune", "--sparsity", 0.8, "--seconds", 0)


def array(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / 4).astype(np.float32)


def written(path: Path, graph: str, functions: str, weights: Mapping[str, np.ndarray] = {}, opset: int = 17) -> Path:
    """Write a model; `weights` are initializers, or the values of Constant nodes of functions and of attributes."""
    head = f'<ir_version: 8, opset_import: ["": {opset}, "f": 1]>\n'
    proto = parser.parse_model(head + graph + functions)
    left = dict(weights)
    for node in [node for function in proto.functions for node in function.node]:
        if node.op_type == "Constant" and node.output[0] in left:
            del node.attribute[:]
            tensor = numpy_helper.from_array(left.pop(node.output[0]))
            node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=tensor)
    proto.graph.initializer.extend(numpy_helper.from_array(each, name) for name, each in left.items())
    onnx.save(proto, path)
    return path


def normalised(path: Path) -> tuple[list[str], list[tuple[str, tuple[int, ...], int]]]:
    """Return the functions that are left, and name, shape and number of readers of each site; outputs stay equal."""
    model = load_model(path)
    normalise(model)
    save_model(model, path.with_name("normal.onnx"), force=True)
    x = array(2, 16)
    for flag in (True, False):
        runs = []
        for each in (path, path.with_name("normal.onnx")):
            session = onnxruntime.InferenceSession(str(each), providers=["CPUExecutionProvider"])
            feed = {"x": x, "c": np.array(flag)}
            runs.append(session.run(None, {given.name: feed[given.name] for given in session.get_inputs()}))
        for before, after in zip(*runs, strict=True):
            np.testing.assert_array_equal(before, after)
    sites = [(site.name, site.shape, len(site.readers)) for site in find_sites(model)]
    return sorted(name for _, name, _ in model.functions), sites


INSIDE = '<domain: "f", opset_import: ["": 17]> Inner (a) => (b) { K = Constant<value = float {0}>() b = MatMul(a, K) }'
PLAIN = '<domain: "f", opset_import: ["": 17]> Plain (a) => (b) { t = Tanh(a) b = Add(t, a) }'


def test_a_weight_in_a_function_is_one_initializer_however_often_that_is_called(tmp_path: Path) -> None:
    graph = """m (float[2, 16] x, bool c) => (float[2, 16] y) {
        h = f.Outer(x)  p = f.Plain(h)  q = f.Inner(p)
        y = If(c)<then_branch = t () => (float[2, 16] r) { h_2 = f.Inner(q) r = Neg(h_2) },
                  else_branch = e () => (float[2, 16] s) { s = f.Outer(q) }> }
    """
    outer = '<domain: "f", opset_import: ["": 17, "f": 1]> Outer (a) => (b) { h = f.Inner(a) b = f.Inner(h) }'
    path = written(tmp_path / "m.onnx", graph, f"{INSIDE}\n{outer}\n{PLAIN}", {"K": array(16, 16)})
    functions, sites = normalised(path)
    assert functions == ["Plain"]
    ((_, shape, readers),) = sites
    assert (shape, readers) == ((16, 16), 6)
    assert path.with_name("normal.onnx").stat().st_size < path.stat().st_size + 1000


def test_a_weight_that_a_function_is_given_is_a_site(tmp_path: Path) -> None:
    graph = """m (float[2, 16] x) => (float[2, 16] y) {
        a = f.Linear<alpha = 0.5>(x, W)  b = f.Linear(a, V)  p = f.Plain(b)  y = f.Turned(p, U) }
    """
    linear = """<domain: "f", opset_import: ["": 17]> Linear<alpha: float = 2.0> (a, w) => (b) {
        b = Gemm<transB = 1, alpha: float = @alpha>(a, w) }"""
    turned = '<domain: "f", opset_import: ["": 17]> Turned (a, u) => (b) { t = Transpose(u) b = MatMul(a, t) }'
    weights = {"W": array(16, 16), "V": array(16, 16), "U": array(16, 16)}
    path = written(tmp_path / "m.onnx", graph, f"{linear}\n{turned}\n{PLAIN}", weights)
    functions, sites = normalised(path)
    assert functions == ["Plain"]
    assert sites == [("W", (16, 16), 1), ("V", (16, 16), 1), ("U", (16, 16), 1)]


def test_a_function_that_hands_a_weight_out_is_inlined(tmp_path: Path) -> None:
    graph = "m (float[2, 16] x) => (float[2, 16] y) { w = f.Weight() y = MatMul(x, w) }\n"
    weight = (
        '<domain: "f", opset_import: ["": 17]> Weight () => (w) { K = Constant<value = float {0}>() w = Identity(K) }'
    )
    functions, sites = normalised(written(tmp_path / "m.onnx", graph, weight, {"K": array(16, 16)}))
    assert functions == []
    assert [shape for _, shape, _ in sites] == [(16, 16)]


@pytest.mark.parametrize(("version", "operator", "inlined"), [(13, "Relu", True), (12, "Softmax", False)])
def test_operator_sets_of_its_own_are_minded(
    dtc: Callable, tmp_path: Path, version: int, operator: str, inlined: bool
) -> None:
    graph = "m (float[2, 16] x) => (float[2, 16] y) { h = f.Own(x, W) y = MatMul(h, V) }\n"
    own = f'<domain: "f", opset_import: ["": {version}]> Own (a, w) => (b) {{ h = MatMul(a, w) b = {operator}(h) }}'
    if not inlined:  # MatMul-12 is another one than MatMul-17 too
        own = own.replace("MatMul", "Gemm").replace("Gemm(a, w)", "Softmax(a) c = Sub(h, w)")
    path = written(tmp_path / "m.onnx", graph, own, {"W": array(16, 16), "V": array(16, 16)})
    model = load_model(path)
    normalise(model)
    assert bool(model.functions) is not inlined
    if not inlined:
        assert "is that of ai.onnx 12, which is another one in ai.onnx 17" in functions_left(model)["f", "Own", ""]
        status, out, err = dtc("inspect", path)
        assert status == 0, err
        assert "function f::Own" in " ".join(out.split())


def test_a_function_whose_nodes_weigh_more_than_its_weights_stays(tmp_path: Path) -> None:
    calls = "".join(f" v{number + 1} = f.Long(v{number})" for number in range(20))
    graph = f"m (float[2, 16] x) => (float[2, 16] y) {{ v0 = MatMul(x, W) {calls} y = Neg(v20) }}\n"
    steps = "".join(f" h{number + 1} = Tanh(h{number})" for number in range(20))
    long = f"""<domain: "f", opset_import: ["": 17]> Long (a) => (b) {{
        K = Constant<value = float {{0}}>() h0 = MatMul(a, K) {steps} b = Neg(h20) }}"""
    path = written(tmp_path / "m.onnx", graph, long, {"K": array(16, 16), "W": array(16, 16)})
    functions, sites = normalised(path)
    assert functions == ["Long"]
    assert [name for name, _, _ in sites] == ["W"]
    assert "called 20 times" in functions_left(load_model(path))["f", "Long", ""]


def test_functions_that_would_be_endless_stay(tmp_path: Path) -> None:
    graph = "m (float[2, 16] x) => (float[2, 16] y) { h = MatMul(x, W) y = f.F40(h) }\n"
    first = (
        '<domain: "f", opset_import: ["": 17]> F0 (a) => (b) { K = Constant<value = float {0}>() b = MatMul(a, K) }\n'
    )
    doubling = "\n".join(
        f'<domain: "f", opset_import: ["": 17, "f": 1]> F{n + 1} (a) => (b) {{ h = f.F{n}(a) b = f.F{n}(h) }}'
        for n in range(40)
    )
    path = written(tmp_path / "m.onnx", graph, first + doubling, {"K": array(16, 16), "W": array(16, 16)})
    model = load_model(path)
    normalise(model)
    assert len(model.functions) == 41
    assert "more than 100000 nodes" in functions_left(model)["f", "F0", ""]


def test_functions_of_others_in_the_domain_of_dtc_are_theirs(dtc: Callable, tmp_path: Path) -> None:
    graph = """m (float[2, 64] x) => (float[2, 64] y) {
        h = dtc.Mine(x, W)  g = dtc.LSTM_own(h)  y = dtc.LSTM_dense_own(g) }
    """
    functions = """<domain: "dtc", opset_import: ["": 17]> Mine (a, w) => (b) { b = MatMul(a, w) }
        <domain: "dtc", opset_import: ["": 17]> LSTM_own (a) => (b) { b = Neg(a) }
        <domain: "dtc", opset_import: ["": 17]> LSTM_dense_own (a) => (b) { b = Neg(a) }"""
    path = written(tmp_path / "m.onnx", graph.replace('"f": 1', '"dtc": 1'), functions, {"W": array(64, 64)})
    proto = onnx.load(path)
    proto.opset_import[1].domain = "dtc"
    onnx.save(proto, path)
    for method in (PRUNE, ("-m", "svd", "--rank", 8, "--seconds", 0), ("-m", "binary", "--bits", 2, "--seconds", 0)):
        status, _, err = dtc("compress", path, *method, "-o", tmp_path / "o.onnx", "--force")
        assert status == 0, err
    assert dtc("inspect", path)[0] == 0


def test_the_file_of_a_model_of_functions_is_compressed(dtc: Callable, tmp_path: Path) -> None:
    graph = "m (float[2, 64] x) => (float[2, 64] y) { h = f.Twice(x) p = f.Plain(h) y = f.Inner(p) }\n"
    twice = '<domain: "f", opset_import: ["": 17, "f": 1]> Twice (a) => (b) { h = f.Inner(a) b = f.Inner(h) }'
    path = written(tmp_path / "m.onnx", graph, f"{INSIDE}\n{twice}\n{PLAIN}", {"K": array(64, 64)})
    for lower in ("compute", "standard"):
        status, _, err = dtc("compress", path, *PRUNE, "-o", tmp_path / "o.onnx", "--force", "--lower", lower)
        assert status == 0, err
        model = onnx.load(tmp_path / "o.onnx")
        assert "Plain" in {function.name for function in model.functions}
        assert (tmp_path / "o.onnx").stat().st_size < path.stat().st_size / 2
