"""Folded BatchNormalization: the same numbers by ONNX Runtime, and what cannot be folded stays or is split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from dtc.graph.bare import bare_initializers
from dtc.job import Job
from dtc.passes import prepare
from dtc.passes.lean import Folded, fold_batch_norms
from dtc.passes.method import methods
from dtc.pipeline import compress
from dtc.recipe import Recipe, Rule

C = 6
RNG = np.random.default_rng(0)
NORM = {
    "s": RNG.standard_normal(C),
    "o": RNG.standard_normal(C),
    "m": RNG.standard_normal(C),
    "v": RNG.uniform(0.1, 2, C),
}
NORM["s"][1] = 0  # a channel that pruning took away


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("f")


W = {
    "conv": numbers(C, 4, 3, 3),
    "group": numbers(C, 2, 3, 3),
    "turned": numbers(4, 3, 3, 3),
    "rows": numbers(C, 4),
    "cols": numbers(4, C),
    "square": numbers(C, C),
    "b": numbers(C),
    "b3": numbers(C, 1, 1),
    "line": numbers(1, C),
    "one": numbers(1),
}
IMAGE, ROWS = ("float[N,4,8,8] x", "float[N,6,a,b] y"), ("float[N,4] x", "float[N,6] y")
SERIES = ("float[N,6,4] x", "float[N,6,6] y")


def model_of(body: str, ends: tuple[str, str], opset: int = 17) -> onnx.ModelProto:
    """Return a model of a body, with those of the arrays above that it names, and BN for the rest of its own node."""
    body = body.replace("BN(", "BatchNormalization<epsilon=0.01>(").replace("*)", "s, o, m, v)")
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]> g ({ends[0]}) => ({ends[1]}) {{ {body} }}'
    )
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    for name, array in (W | NORM).items():
        if name in words:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array.astype("f"), name))
    onnx.checker.check_model(proto, full_check=opset >= 9)
    return proto


def run(proto: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed: dict[str, Any] = {}
    for each in session.get_inputs():
        shape = [size if isinstance(size, int) else 2 for size in each.shape]
        feed[each.name] = np.array(1 > 0) if each.type == "tensor(bool)" else numbers(*shape)
    return session.run(None, feed)[0]


def folded(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, Folded]:
    model = ir.from_proto(proto)
    prepare.normalise(model)
    found = fold_batch_norms(model, {})
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    np.testing.assert_allclose(run(after), run(proto), rtol=2e-5, atol=2e-5)
    assert {each.name for each in after.graph.output} == {each.name for each in proto.graph.output}
    return after, found


def named_bytes(proto: onnx.ModelProto) -> int:
    """Return the bytes of a model whose nodes have names, as it is written."""
    model = ir.from_proto(proto)
    prepare.normalise(model)
    with bare_initializers(model):
        return ir.to_proto(model).ByteSize()


def op_types(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


INTO = {
    "Conv": ("h = Conv(x, conv) y = BN(h, *)", IMAGE),
    "Conv with a bias": ("h = Conv(x, conv, b) n = BN(h, *) y = Relu(n)", IMAGE),
    "Conv in groups": ("h = Conv<group=2>(x, group, b) y = BN(h, *)", IMAGE),
    "Conv and a constant": ("h = Conv(x, conv, b) k = Add(b3, h) n = BN(k, *) y = Relu(n)", IMAGE),
    "ConvTranspose in groups": ("h = ConvTranspose<group=2>(x, turned, b) y = BN(h, *)", IMAGE),
    "Gemm": ("h = Gemm<alpha=0.5, beta=2.0>(x, cols, line) y = BN(h, *)", ROWS),
    "Gemm of a transposed weight": ("h = Gemm<transB=1>(x, rows, one) y = BN(h, *)", ROWS),
    "Gemm without a bias": ("h = Gemm<transB=1>(x, rows) y = BN(h, *)", ROWS),
    "MatMul": ("h = MatMul(x, cols) y = BN(h, *)", ROWS),
    "MatMul and a constant": ("h = MatMul(x, cols) k = Add(h, b) n = BN(k, *) y = Relu(n)", ROWS),
    "MatMul of a Transpose": ("t = Transpose(rows) h = MatMul(x, t) y = BN(h, *)", ROWS),
    "in a branch": (
        """y = If(c) <then_branch = t () => (float[N,6,a,b] p) { h = Conv(x, conv) p = BN(h, *) },
        else_branch = e () => (float[N,6,a,b] q) { q = Conv(x, conv2) }>""",
        ("bool c, float[N,4,8,8] x, float[6,4,3,3] conv2", IMAGE[1]),
    ),
}


@pytest.mark.parametrize("name", INTO)
def test_a_product_takes_it(name: str) -> None:
    proto = model_of(*INTO[name])
    after, found = folded(proto)
    assert (found.count, found.apart) == (1, 0)
    assert "BatchNormalization" not in str(after)
    assert {"Mul", "Add"} & set(op_types(after)) == ({"Add"} if "MatMul" in name else set())
    # What is left has names that the user knows, and the file is smaller by what is told.
    assert {each.name for each in after.graph.initializer} <= {each.name for each in proto.graph.initializer}
    assert abs(found.nbytes - (named_bytes(proto) - named_bytes(after))) <= 40


APART = {
    "a tied weight": ("h = Conv(x, conv) k = Conv(x, conv) n = BN(h, *) y = Add(n, k)", IMAGE),
    "another reader": ("h = Conv(x, conv) n = BN(h, *) y = Add(n, h)", IMAGE),
    "a bias of an output that something else reads": ("h = Conv(x, conv, b) n = BN(h, *) y = Add(n, h)", IMAGE),
    "a weight that is no constant": ("w = Relu(conv) h = Conv(x, w, b) y = BN(h, *)", IMAGE),
    "rows that are no channels": ("h = MatMul(x, cols) y = BN(h, *)", SERIES),
    "nothing in front": ("y = BN(x, *)", ("float[N,6] x", "float[N,6] y")),
    "something else in front": ("h = Relu(x) n = BN(h, *) y = Relu(n)", ("float[N,6,5] x", "float[N,6,5] y")),
    "a weight on the left": ("h = MatMul(square, x) y = BN(h, *)", ("float[6,6] x", "float[6,6] y")),
}


@pytest.mark.parametrize("name", APART)
def test_elsewhere_it_is_a_factor_and_a_summand(name: str) -> None:
    proto = model_of(*APART[name])
    after, found = folded(proto)
    assert (found.count, found.apart) == (1, 1)
    assert named_bytes(after) < named_bytes(proto)
    assert abs(found.nbytes - (named_bytes(proto) - named_bytes(after))) <= 40
    assert {"Mul", "Add"} <= set(op_types(after))


LEFT = {
    "an old operator set": ("h = Conv(x, conv) y = BatchNormalization<is_test=1>(h, *)", IMAGE, 6),
    "training": ("h = Conv(x, conv) y, p, q = BatchNormalization<training_mode=1>(h, *)", IMAGE, 17),
    "statistics a run decides on": (
        "h = Conv(x, conv) y = BN(h, s, o, mean, v)",
        ("float[N,4,8,8] x, float[6] mean", IMAGE[1]),
        17,
    ),
    "an unknown rank": ("y = BN(x, *)", ("float x", "float y"), 17),
    "other floats": ("h = Cast<to=11>(x) n = BN(h, s, o, m, v) y = Cast<to=1>(n)", IMAGE, 17),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_folded_stays(name: str) -> None:
    body, ends, opset = LEFT[name]
    proto = model_of(body, ends, opset) if name not in ("an unknown rank", "other floats") else unchecked(body, ends)
    model = ir.from_proto(proto)
    before = ir.to_proto(model).SerializeToString()
    assert fold_batch_norms(model, {}).count == 0
    assert ir.to_proto(model).SerializeToString() == before


def unchecked(body: str, ends: tuple[str, str]) -> onnx.ModelProto:
    """Return a model whose types or shapes are not those of an image."""
    proto = model_of("y = BN(x, *)", ("float[N,6] x", "float[N,6] y"))
    if ends[0] == "float x":
        for each in (proto.graph.input[0], proto.graph.output[0]):
            each.type.tensor_type.ClearField("shape")
        return proto
    for each in proto.graph.initializer:
        each.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(each).astype("d"), each.name))
    for each in (proto.graph.input[0], proto.graph.output[0]):
        each.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return proto


def test_vectors_that_are_shared_are_no_gain() -> None:
    body = "g = Relu(x) h = BN(g, *) i = Relu(h) j = BN(i, *) k = Relu(j) y = BN(k, *)"
    proto = model_of(body, ("float[N,6] x", "float[N,6] y"))
    model = ir.from_proto(proto)
    assert fold_batch_norms(model, {}).count == 0


# Through the command line, in every form.

NET = """h = Conv(x, first) n = BatchNormalization(h, s64, o64, m64, v64) r = Relu(n)
g = GlobalAveragePool(r) f = Flatten(g) y = MatMul(f, last)"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[N,8,6,6] x) => (float[N,40] y) {{ {NET} }}'
    )
    rng = np.random.default_rng(1)
    arrays = {"first": numbers(64, 8, 3, 3), "last": numbers(64, 40)}
    arrays |= {name: rng.uniform(0.2, 2, 64).astype("f") for name in ("s64", "o64", "m64", "v64")}
    arrays["s64"] *= np.where(np.arange(64) % 3, 1, -1).astype("f")
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    path = tmp_path_factory.mktemp("net") / "m.onnx"
    onnx.save(proto, path)
    return path


FORMS = {
    "svd --rank 6": 0,
    "prune --sparsity 0.7 --lower standard": 0,
    "binary --bits 1": 0,
    "binary --bits 4 --lower standard": 1,  # four coefficients of 16 bits more are larger than a Mul
    "codebook --codewords 16": 1,
    "prune+svd --sparsity 0.8 --rank 4 --lower standard": 0,
    "svd+binary --rank 8 --bits 2": 0,
    "prune+binary --sparsity 0.5 --bits 2 --lower standard": 0,
}


@pytest.mark.parametrize("words", FORMS)
def test_a_form_takes_the_factors_where_it_can(dtc: Any, network: Path, tmp_path: Path, words: str) -> None:
    output = tmp_path / "o.onnx"
    status, out, err = dtc("compress", network, "--method", *words.split(), "--seconds", 0, "-o", output, "--json")
    assert status == 0, err
    report = json.loads(out)
    apart = " (1 into Mul and Add)" if FORMS[words] else ""
    assert any(note.startswith(f"folded 1 BatchNormalization{apart}, ") for note in report["notes"])
    assert report["fidelity"]["relative_l2"] < 1e-5
    assert report["sites"][0]["name"] == "first"
    assert report["sites"][0]["form"] is not None
    assert "BatchNormalization" not in op_types(onnx.load(output))


ALONE: dict[str, dict[str, Any]] = {name: dict(methods()[name].example) for name in sorted(methods())}
IN_GROUPS = [
    *ALONE.items(),
    ("uniform", {"bits": 8}),
    ("codebook", {"codewords": 16, "block": 3}),
    ("codebook", {"codewords": 8, "block": 2, "share": True}),
    ("codebook", {"index_bits": 2, "huffman": True}),
    ("prune+codebook", {"sparsity": 0.5, "codewords": 4}),
    ("prune+binary", {"sparsity": 0.5, "bits": 2}),
]


@pytest.mark.parametrize(("method", "options"), IN_GROUPS)
def test_channels_by_themselves_have_factors_of_their_own(tmp_path: Path, method: str, options: dict[str, Any]) -> None:
    net = "h = Conv<group=64>(x, depth) n = BatchNormalization(h, s, o, m, v) y = Relu(n)"
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[N,64,6,6] x) => (float[N,64,4,4] y) {{ {net} }}'
    )
    rng = np.random.default_rng(1)
    arrays = {"depth": numbers(64, 1, 3, 3)} | {name: rng.uniform(0.2, 2, 64).astype("f") for name in "somv"}
    arrays["s"] *= np.where(np.arange(64) % 3, 1, -1).astype("f")
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(proto, tmp_path / "m.onnx")
    recipe = Recipe(rules=(Rule(method=method, options=options),))
    done = compress(tmp_path / "m.onnx", recipe, Job(tmp_path / "o.onnx", seconds=0.0))
    assert done.report.fidelity is not None
    assert done.report.fidelity.relative_l2 < 1e-5


def test_it_stays_where_that_is_asked_for(dtc: Any, network: Path, tmp_path: Path) -> None:
    words = ("compress", network, "--method", "binary", "--bits", 1, "--no-fold-batch-norm", "--seconds", 0)
    status, out, err = dtc(*words, "-o", tmp_path / "o.onnx", "--save-recipe", tmp_path / "r.yaml")
    assert status == 0, err
    assert "folded" not in out
    assert "fold_batch_norm: false" in (tmp_path / "r.yaml").read_text()
    assert "BatchNormalization" in op_types(onnx.load(tmp_path / "o.onnx"))


def test_a_weight_that_no_method_takes_is_scaled_too(dtc: Any, network: Path, tmp_path: Path) -> None:
    words = ("compress", network, "--method", "binary", "--bits", 2, "--include", "last", "--seconds", 0)
    status, out, err = dtc(*words, "-o", tmp_path / "a.onnx", "--json")
    assert status == 0, err
    assert json.loads(out)["fidelity"]["relative_l2"] < 1e-5
    kept = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(tmp_path / "a.onnx").graph.initializer}
    before = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(network).graph.initializer}
    factor = before["s64"] / np.sqrt(before["v64"] + 1e-5)
    np.testing.assert_allclose(kept["first"], before["first"] * factor[:, None, None, None], rtol=1e-6)
    np.testing.assert_allclose(kept["o64"], before["o64"] - factor * before["m64"], rtol=1e-5, atol=1e-6)
