"""Low-rank MatMul, Gemm, Conv and Gather against the dense weights in ONNX Runtime.

Tolerance everywhere: 1e-4 of the largest output (max norm), the two differ in the order of float32 sums alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from running import Feeds, checked_bytes, eager, lowered_error, random_feeds, random_low_rank, run, sites_by_name

from dtc.graph import all_nodes, find_sites
from dtc.passes.lower import lower
from dtc.passes.lower.low_rank.lowering import refuse

TOLERANCE = 1e-4


def model_of(text: str, weights: dict[str, tuple[int, ...]], dtype: type = np.float32) -> ir.Model:
    """Return the model written as ONNX text, with random initializers of the given shapes."""
    model = ir.from_onnx_text(text)
    rng = np.random.default_rng(7)
    for name, shape in weights.items():
        tensor = ir.tensor(rng.standard_normal(shape).astype(dtype), name=name)
        value = ir.val(name, const_value=tensor)
        _feed(model.graph, name, value)
    return model


def _feed(graph: ir.Graph, name: str, value: ir.Value) -> None:
    """Make an initializer of the graph input that stands for it in the text."""
    (standing,) = [known for known in graph.inputs if known.name == name]
    standing.replace_all_uses_with(value)
    graph.inputs.remove(standing)
    graph.register_initializer(value)


def lower_all(model: ir.Model, rank: int = 3) -> list[str]:
    """Lower every site, check the numbers; return the op types of the nodes that are left."""
    sites = find_sites(model)
    assert sites
    assert [refuse(site) for site in sites] == [None] * len(sites)
    items = [random_low_rank(site, rank, seed) for seed, site in enumerate(sites)]
    old = [site.name for site in sites]
    assert lowered_error(model, items, random_feeds(model)) <= TOLERANCE
    left = {name for graph in model.graphs() for name in graph.initializers}
    assert not left & set(old)
    return [node.op_type for node in all_nodes(model)]


@pytest.mark.parametrize("shape", ["10", "4,10", "2,3,10", "N,10", "2,3,4,10"])
def test_matmul_with_the_weight_on_the_right_becomes_two(shape: str) -> None:
    out = ",".join([*shape.split(",")[:-1], "12"])
    model = model_of(
        f'<ir_version: 8, opset_import: ["": 13]> g (float[{shape}] x, float[10,12] w) => (float[{out}] y) '
        "{ y = MatMul(x, w) }",
        {"w": (10, 12)},
    )
    assert lower_all(model) == ["MatMul", "MatMul"]
    assert {v.name: tuple(v.shape or ()) for v in model.graph.initializers.values()} == {
        "w.left": (3, 12),
        "w.right": (10, 3),
    }
    assert [value.name for value in model.graph.outputs] == ["y"]


@pytest.mark.parametrize("shape", ["10", "10,4", "2,10,4"])
def test_matmul_with_the_weight_on_the_left(shape: str) -> None:
    sizes = shape.split(",")
    out = ",".join(["12"] if len(sizes) == 1 else [*sizes[:-2], "12", sizes[-1]])
    model = model_of(
        f'<ir_version: 8, opset_import: ["": 13]> g (float[12,10] w, float[{shape}] x) => (float[{out}] y) '
        "{ y = MatMul(w, x) }",
        {"w": (12, 10)},
    )
    assert lower_all(model) == ["MatMul", "MatMul"]


@pytest.mark.parametrize(("text", "x", "w", "y"), [
    ("MatMul(x, w)", "5,10", (2, 10, 12), "2,5,12"),
    ("MatMul(x, w)", "2,5,10", (2, 10, 12), "2,5,12"),
    ("MatMul(x, w)", "3,2,5,10", (1, 2, 10, 12), "3,2,5,12"),
    ("MatMul(w, x)", "2,10,5", (2, 12, 10), "2,12,5"),
])  # fmt: skip
def test_stacked_matmul(text: str, x: str, w: tuple[int, ...], y: str) -> None:
    size = ",".join(map(str, w))
    model = model_of(
        f'<ir_version: 8, opset_import: ["": 13]> g (float[{x}] x, float[{size}] w) => (float[{y}] y) {{ y = {text} }}',
        {"w": w},
    )
    assert lower_all(model) == ["MatMul", "MatMul"]


def test_stacked_matmul_of_a_vector_is_refused_by_name() -> None:
    model = model_of(
        '<ir_version: 8, opset_import: ["": 13]> g (float[10] x, float[2,10,12] w) => (float[2,12] y) '
        "{ [the_node] y = MatMul(x, w) }",
        {"w": (2, 10, 12)},
    )
    (site,) = find_sites(model)
    assert "the_node" in str(refuse(site))


@pytest.mark.parametrize("opset", [9, 11, 13])
@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("bias", [None, "12", "1", "4,12"])
def test_gemm(opset: int, trans_a: int, trans_b: int, bias: str | None) -> None:
    if bias is None and opset < 11:
        bias = "1,12"  # C became optional with operator set 11
    x, w = ("10,4" if trans_a else "4,10"), ((12, 10) if trans_b else (10, 12))
    c, used = (f", float[{bias}] c", ", c") if bias else ("", "")
    model = model_of(
        f'<ir_version: 8, opset_import: ["": {opset}]> '
        f"g (float[{x}] x, float[{w[0]},{w[1]}] w{c}) => (float[4,12] y) "
        f"{{ y = Gemm <transA={trans_a}, transB={trans_b}, alpha=0.5, beta=2.0> (x, w{used}) }}",
        {"w": w},
    )
    assert [op for op in lower_all(model) if op != "Constant"] == ["Gemm", "Gemm"]


@pytest.mark.parametrize(("attributes", "x", "w"), [
    ("", "2,6,9", (8, 6, 3)),
    ("strides=[2,2], pads=[1,0,1,2], dilations=[2,1]", "2,6,11,12", (8, 6, 3, 2)),
    ('auto_pad="SAME_UPPER", strides=[2,2]', "2,6,11,12", (8, 6, 3, 3)),
    ("group=2", "2,6,9,9", (8, 3, 3, 3)),
    ("group=2, kernel_shape=[3,3]", "N,6,9,9", (8, 3, 3, 3)),
    ("", "1,6,5,5", (8, 6, 1, 1)),
    ("pads=[1,1,1,1,1,1]", "1,4,5,5,5", (8, 4, 3, 3, 3)),
])  # fmt: skip
@pytest.mark.parametrize("bias", [False, True])
def test_conv(attributes: str, x: str, w: tuple[int, ...], bias: bool) -> None:
    c, used = (", float[8] c", ", c") if bias else ("", "")
    rank = len(w)
    out = ",".join("abcde"[:rank])
    model = model_of(
        f'<ir_version: 8, opset_import: ["": 11]> '
        f"g (float[{x}] x, float[{','.join(map(str, w))}] w{c}) => (float[{out}] y) "
        f"{{ y = Conv <{attributes}> (x, w{used}) }}".replace("<>", ""),
        {"w": w},
    )
    assert lower_all(model, rank=2) == ["Conv", "Conv"]


@pytest.mark.parametrize("ids", ["", "4", "2,3"])
def test_embedding(ids: str) -> None:
    out = ",".join(filter(None, [ids, "8"]))
    model = model_of(
        f'<ir_version: 8, opset_import: ["": 13]> g (float[20,8] table, int64[{ids}] i) => (float[{out}] y) '
        "{ y = Gather(table, i) }".replace("int64[]", "int64"),
        {"table": (20, 8)},
    )
    assert lower_all(model) == ["Gather", "MatMul"]


TIED = {
    "transpose": "e = Gather(table, i) t = Transpose <perm=[1,0]> (table) y = MatMul(e, t)",
    "transpose first": "t = Transpose(table) z = MatMul(x, t) e = Gather(table, i) y = MatMul(e, t)",
    "gemm": "e = Gather(table, i) f = Reshape(e, s) g = Gemm <transB=1> (f, table) y = Reshape(g, s2)",
    "plain matmul": "t = Transpose(table) e = Gather(t, j) y = MatMul(e, table)",
}


@pytest.mark.parametrize("body", TIED.values(), ids=TIED.keys())
@pytest.mark.parametrize("opset", [9, 11, 13])
def test_tied_weights_keep_one_pair_of_factors(body: str, opset: int) -> None:
    feeds: Feeds = {"i": np.array([[1, 2, 19], [0, 5, 7]]), "j": np.array([3, 0, 7]), "x": np.ones((2, 8), np.float32)}
    if opset < 11 and "Gemm" in body:
        opset = 12  # a Gemm without bias came with 11
    plain = "t = Transpose(table) e" in body
    y = "float[3,8]" if plain else "float[2,3,20]"
    text = (
        f'<ir_version: 8, opset_import: ["": {opset}]> g (float[20,8] table, int64[2,3] i, int64[3] j, float[2,8] x, '
        f"int64[2] s, int64[3] s2) => ({y} y) {{ {body} }}"
    )
    model = model_of(text, {"table": (20, 8)})
    for name, shape in (("s", [-1, 8]), ("s2", [2, 3, 20])):
        _feed(model.graph, name, ir.val(name, const_value=ir.tensor(np.array(shape), name=name)))
    (site,) = find_sites(model)
    assert len(site.readers) >= 2
    assert refuse(site) is None
    assert lowered_error(model, [random_low_rank(site, 3)], feeds) <= TOLERANCE
    floats = [v.name for v in model.graph.initializers.values() if v.dtype == ir.DataType.FLOAT]
    assert sorted(map(str, floats)) == ["table.left", "table.right"]


def test_transposes_and_casts_of_the_weight_are_absorbed() -> None:
    model = model_of(
        '<ir_version: 8, opset_import: ["": 13]> g (float[4,10] x, float16[12,10] w) => (float[4,12] y) '
        "{ a = Cast <to=1> (w) b = Transpose <perm=[1,0]> (a) y = MatMul(x, b) }",
        {"w": (12, 10)},
        np.float16,
    )
    (site,) = find_sites(model)
    item = random_low_rank(site, 3)
    lower(model, [item], eager())
    assert [node.op_type for node in model.graph] == ["MatMul", "MatMul"]
    x = random_feeds(model)["x"]
    (found,) = run(model, {"x": x})
    np.testing.assert_allclose(found, x @ item.forms[0].dense().T, rtol=1e-4, atol=1e-4)


def test_half_precision_stays_half_precision() -> None:
    model = model_of(
        '<ir_version: 8, opset_import: ["": 13]> g (float16[4,10] x, float16[10,12] w) => (float16[4,12] y) '
        "{ y = MatMul(x, w) }",
        {"w": (10, 12)},
        np.float16,
    )
    (site,) = find_sites(model)
    # two roundings of 2^-11 each, at the factors and in between
    assert lowered_error(model, [random_low_rank(site, 3)], random_feeds(model)) <= 5e-3
    assert {value.dtype for value in model.graph.initializers.values()} == {ir.DataType.FLOAT16}


def test_a_weight_that_something_else_needs_whole_is_refused() -> None:
    model = model_of(
        '<ir_version: 8, opset_import: ["": 13]> g (float[4,10] x, float[10,12] w) => (float[4,12] y, float[10,12] z) '
        "{ y = MatMul(x, w) [doubles] z = Add(w, w) }",
        {"w": (10, 12)},
    )
    (site,) = find_sites(model)
    assert "doubles" in str(refuse(site))


def test_nodes_of_a_branch_are_lowered_in_it() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]>
    g (bool b, float[4,10] x, float[10,12] w) => (float[4,12] y) {
        y = If (b) <
            then_branch = t () => (float[4,12] p) { p = MatMul(x, w) },
            else_branch = e () => (float[4,12] q) { r = MatMul(x, w) q = Neg(r) }
        >
    }"""
    for flag in (True, False):
        model = model_of(text, {"w": (10, 12)})
        (site,) = find_sites(model)
        feeds: dict[str, Any] = {"b": np.array(flag), "x": random_feeds(model)["x"]}
        assert lowered_error(model, [random_low_rank(site, 3)], feeds) <= TOLERANCE
        assert set(model.graph.initializers) == {"w.left", "w.right"}
        assert [node.op_type for node in model.graph] == ["If"]


def test_a_branch_keeps_its_own_factors() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]>
    g (bool b, float[4,10] x) => (float[4,12] y) {
        y = If (b) <
            then_branch = t () => (float[4,12] p) { z = Identity(x) p = MatMul(z, w) },
            else_branch = e () => (float[4,12] q) { q = MatMul(x, v) }
        >
    }"""
    model = ir.from_onnx_text(text.replace("float[4,10] x)", "float[4,10] x, float[10,12] w, float[10,12] v)"))
    rng = np.random.default_rng(0)
    for branch, name in zip(model.graph.subgraphs(), ("w", "v"), strict=True):
        (standing,) = [value for value in model.graph.inputs if value.name == name]
        value = ir.val(name, const_value=ir.tensor(rng.standard_normal((10, 12)).astype(np.float32), name=name))
        standing.replace_all_uses_with(value)
        model.graph.inputs.remove(standing)
        branch.register_initializer(value)
    items = [random_low_rank(site, 3) for site in find_sites(model)]
    feeds: dict[str, Any] = {"b": np.array(True), "x": random_feeds(model)["x"]}
    assert lowered_error(model, items, feeds) <= TOLERANCE
    assert not model.graph.initializers
    assert [set(branch.initializers) for branch in model.graph.subgraphs()] == [
        {"w.left", "w.right"},
        {"v.left", "v.right"},
    ]


def test_names_that_are_taken_are_not_taken_again() -> None:
    model = model_of(
        '<ir_version: 8, opset_import: ["": 13]> g (float[4,10] x, float[10,12] w) => (float[4,12] y) '
        "{ t = Relu(x) y = MatMul(t, w) }",
        {"w": (10, 12)},
    )
    first, second = model.graph
    first.outputs[0].name, second.name = "w.left", "product"
    lower_all(model)
    checked_bytes(model)
    assert "w.left" not in model.graph.initializers
    assert [node.name for node in model.graph][1:] == ["product/low_rank_1", "product/low_rank_2"]


@pytest.mark.parametrize("mode", ["compute", "standard", "storage"])
def test_every_mode_computes_the_same(mode: Any) -> None:
    model = model_of(
        '<ir_version: 8, opset_import: ["": 13]> g (float[4,10] x, float[12,10] w) => (float[4,12] y) '
        "{ y = Gemm <transB=1> (x, w) }",
        {"w": (12, 10)},
    )
    (item,) = [random_low_rank(site, 3) for site in find_sites(model)]
    x = random_feeds(model)["x"]
    lower(model, [item], eager(mode))
    (found,) = run(model, {"x": x})
    np.testing.assert_allclose(found, x @ item.forms[0].dense().T, rtol=1e-4, atol=1e-4)
    assert "w" not in sites_by_name(model) if mode != "storage" else "w.left" in model.graph.initializers
