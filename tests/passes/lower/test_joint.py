"""Small sites decode together: bit for bit what their forms say, by one decoder, whatever the operator set."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from running import assign_dense, run

from dtc.graph import find_sites
from dtc.passes.lower import Lowered, find_target, lower
from dtc.passes.lower.codebook import coded_together
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

NET = """<ir_version: 8, opset_import: ["": %d]>
net (float[2,3,6,6] x, float[8,3,3,3] K, float[5,8,1,1] P, float[5,1,3,3] D, float[180,20] M, float[20,15] G)
  => (float[2,15] y) {
  a = Conv<pads=[1,1,1,1]>(x, K)
  b = Conv(a, P)
  c = Conv<pads=[1,1,1,1], group=5>(b, D)
  f = Flatten(c)
  h = MatMul(f, M)
  z = Constant<value = float[1] {0}>()
  y = Gemm(h, G, z)
}"""
BRANCHES = """<ir_version: 8, opset_import: ["": 17]>
branches (bool c, float[2,24] x, float[24,24] W, float[24,24] A, float[24,24] B, float[24,24] C, float[24,24] E)
  => (float[2,24] y) {
  h = MatMul(x, W)
  y = If (c) <
    then_branch = then () => (float[2,24] a) { t = MatMul(h, A) a = MatMul(t, B) },
    else_branch = other () => (float[2,24] b) { s = MatMul(h, C) b = MatMul(s, E) }
  >
}"""
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *(("uniform", {"bits": bits}) for bits in (2, 3, 4, 7, 8)),
    ("uniform", {"bits": 4, "group_size": 8}),
    ("uniform", {"bits": 8, "symmetric": False}),
    ("uniform", {"bits": 3, "symmetric": False, "group_size": 8}),
    ("binary", {"bits": 3}),
    ("binary", {"bits": 1, "group_size": 8}),
    ("binary", {"bits": 8}),
    ("codebook", {"codewords": 16, "block": 1}),
    ("codebook", {"codewords": 12, "block": 1, "codeword_bits": 4}),
    ("codebook", {"codewords": 16, "block": 4, "share": True}),
    ("codebook", {"codewords": 6, "block": 1, "share": True, "codeword_bits": 8}),
]


def parsed(text: str, inner: dict[str, str] | None = None) -> ir.Model:
    """Return a model written as text; inputs in capitals are weights, those in `inner` of the branch they name."""
    model, rng = ir.from_proto(onnx.parser.parse_model(text)), np.random.default_rng(0)
    graphs = {graph.name: graph for graph in model.graphs()}
    for value in [value for value in model.graph.inputs if str(value.name).isupper()]:
        name, shape = str(value.name), [int(str(size)) for size in value.shape or ()]
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(rng.standard_normal(shape, dtype=np.float32), name=name)
        graphs[(inner or {}).get(name, model.graph.name)].register_initializer(value)
    return model


def lowered(model: ir.Model, method: str, options: dict[str, Any], target: str) -> list[Lowered]:
    plan = make_plan(model, [Rule(method=method, options=options)])
    items = plan.compressed(plan.distort().forms)
    assign_dense(items)
    return lower(model, items, find_target(target))


@pytest.mark.parametrize("opset", [8, 12, 17])
@pytest.mark.parametrize(("method", "options"), SETTINGS)
def test_every_weight_is_the_dense_one_bit_for_bit(method: str, options: dict[str, Any], opset: int) -> None:
    model = parsed(NET % opset)
    weights = [site.value for site in find_sites(model)]
    model.graph.outputs.extend(weights)  # a weight that is an output is decoded, and so can be looked at
    told = {each.site.name: each for each in lowered(model, method, options, "standard")}
    assert len(told) >= 3
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 3, 6, 6)).astype(np.float32)}
    for value, found in zip(model.graph.outputs[1:], run(model, feeds)[1:], strict=True):
        if str(value.name) in told:
            each = told[str(value.name)]
            expected = each.site.restore(np.stack([form.dense() for form in each.forms]))
            np.testing.assert_array_equal(found, expected.reshape(found.shape))
    codes = [name for name in model.graph.initializers if name.split(".")[-1] in ("codes", "indices")]
    assert sum(name.startswith("joint.") for name in codes) == 1  # sites that are cut in another way have their own


CHAIN = """<ir_version: 8, opset_import: ["": %d]>
chain (float[2,60] x, float[60,60] A, float[60,60] B, float[60,60] C, float[60,60] E) => (float[2,60] y) {
  a = MatMul(x, A) b = MatMul(a, B) c = MatMul(b, C) y = MatMul(c, E)
}"""


@pytest.mark.parametrize("opset", [8, 17])
def test_sites_of_several_rates_have_one_stream_of_huffman_codes(opset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rate its own code; before operator set 12 indices have a fixed width, as where codes save too little."""
    model, stored = parsed(CHAIN % opset), []
    model.graph.outputs.extend(site.value for site in find_sites(model))
    rates = {1.5: ("C",), 3: ("A", "E"), 4.5: ("B",)}
    rules = [Rule(method="codebook", options={"index_bits": bits}, include=sites) for bits, sites in rates.items()]
    for nodes in (0, 1 << 20):
        monkeypatch.setattr(coded_together, "NODES", nodes)
        other = model.clone()
        plan = make_plan(other, rules)
        items = plan.compressed(plan.distort().forms)
        told = {each.site.name: each for each in lower(other, items, find_target("standard"))}
        for value, found in zip(
            other.graph.outputs[1:], run(other, {"x": np.zeros((2, 60), np.float32)})[1:], strict=True
        ):
            each = told[str(value.name)]
            np.testing.assert_array_equal(found, each.site.restore(np.stack([form.dense() for form in each.forms])))
        stored.append([name for name in other.graph.initializers if name.endswith(".stream")])
    assert stored == [["joint.indices.stream"] if opset == 17 else [], []]
    assert told["A"].nbytes < told["B"].nbytes


@pytest.mark.parametrize("body", ["MatMul(x, W)", "Gemm<transB=1>(x, W)"])
@pytest.mark.parametrize(
    "options", [{"bits": 4}, {"bits": 3, "symmetric": True}, {"bits": 8}, {"bits": 4, "group_size": 32}]
)
def test_evenly_spaced_levels_of_a_large_weight(body: str, options: dict[str, Any]) -> None:
    shape = "264,250" if "MatMul" in body else "250,264"
    head = f"g (float[2,264] x, float[{shape}] W) => (float[2,250] y)"
    model = parsed(f'<ir_version: 8, opset_import: ["": 17]> {head} {{ y = {body} }}')
    model.graph.outputs.append(model.graph.initializers["W"])
    (told,) = lowered(model, "uniform", options, "standard")
    found = run(model, {"x": np.zeros((2, 264), np.float32)})[1]
    np.testing.assert_array_equal(found, told.site.restore(np.stack([form.dense() for form in told.forms])))


def test_a_site_more_costs_two_nodes() -> None:
    nodes = {}
    for count in (2, 6):
        chain = " ".join(f"x{i + 1} = MatMul(x{i}, W{'ABCDEF'[i]})" for i in range(count))
        weights = "".join(f", float[24,24] W{'ABCDEF'[i]}" for i in range(count))
        model = parsed(
            f'<ir_version: 8, opset_import: ["": 17]> g (float[2,24] x0{weights}) => (float[2,24] x{count}) {{{chain}}}'
        )
        lowered(model, "codebook", {"codewords": 60, "block": 1}, "standard")
        nodes[count] = len(model.graph) - count
    assert nodes[6] - nodes[2] == 4 * 2


def test_what_a_branch_needs_is_decoded_in_the_branch() -> None:
    model = parsed(BRANCHES, {"A": "then", "B": "then", "C": "other", "E": "other"})
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 24)).astype(np.float32)}
    told = {each.site.name: each for each in lowered(model, "uniform", {"bits": 4}, "standard")}
    assert set(told) == set("WABCE")
    stored = {graph.name: [str(name) for name in graph.initializers] for graph in model.graphs()}
    assert [any("codes" in name for name in stored[graph]) for graph in ("branches", "then", "other")] == [True] * 3
    dense = {name: each.site.restore(np.stack([form.dense() for form in each.forms])) for name, each in told.items()}
    for taken, weights in ((True, "WAB"), (False, "WCE")):
        (found,) = run(model, feeds | {"c": np.array(taken)})
        expected = feeds["x"]
        for name in weights:
            expected = expected @ dense[name]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
