"""Factors in a form of their own, and sums: the lowered graph computes what the forms' `dense()` says, in every mode.

Tolerance: 1e-4 of the largest output (max norm); float32 sums in another order, fed back over a few steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from needed import unless
from recurrent_graphs import Options, recurrent_model
from running import assign_dense, eager, lowered_error, random_low_rank, relative_error, run, session

from dtc.deploy.ops.library import library_path
from dtc.forms import stored_bytes
from dtc.graph import all_nodes
from dtc.passes.lower import Compressed, lower
from dtc.passes.plan import make_plan
from dtc.recipe import Rule
from dtc.session import runner
from dtc.session import session as native_session

METHODS: dict[str, dict[str, Any]] = {
    "svd+binary": {"rank": 4, "bits": 3},
    "svd+uniform": {"rank": 4, "bits": 4},
    "svd+codebook": {"rank": 4, "codewords": 8, "block": 1, "gradient_weight": 0},
    "svd+bins": {"rank": 4, "bins": 6},
    "svd+prune": {"rank": 4, "sparsity": 0.5},
    "prune+svd": {"rank": 4, "sparsity": 0.8},
}
MODES: tuple[str, ...] = ("compute", "standard", "storage")


def compressed(model: ir.Model, method: str, *sites: str) -> list[Compressed]:
    plan = make_plan(model, [Rule(method=method, options=METHODS[method], include=sites or ("*",))])
    items = plan.compressed(plan.distort().forms)
    assert not sites or sorted(item.site.name for item in items) == sorted(sites)
    return items


SITES = ("W", "R", "WR")
DIRECTIONS = ("forward", "reverse", "bidirectional")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sites", SITES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_recurrent_weights(op: str, direction: str, sites: str, method: str) -> None:
    # Any three of operator, direction, sites, method and mode meet; not all five, which would take three times as long.
    turn = (op == "GRU") + SITES.index(sites) + DIRECTIONS.index(direction) + list(METHODS).index(method)
    mode = MODES[turn % len(MODES)]
    options = Options(op=op, direction=direction, inputs=24, hidden=16, lengths=True, clip=0.9)
    model, feeds = recurrent_model(options)
    assert lowered_error(model, compressed(model, method, *sites), feeds, mode) <= 1e-4
    domains = {node.domain for node in all_nodes(model)}
    assert mode != "standard" or domains == {""}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("coded", ["W", "R"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_coded_factors_beside_plain_ones(op: str, direction: str, coded: str, mode: str) -> None:
    model, feeds = recurrent_model(Options(op=op, direction=direction, inputs=24, hidden=16))
    items = [
        item if item.site.name == coded else random_low_rank(item.site, 3)
        for item in compressed(model, "svd+binary", "W", "R")
    ]
    assert lowered_error(model, items, feeds, mode) <= 1e-4
    operators = {node.op_type for node in model.graph if node.domain == "dtc"}
    assert (f"{op}_dense_low_rank" in operators or f"{op}_binary_low_rank" in operators) == (
        coded == "W" and mode == "compute"
    )


@pytest.mark.parametrize("linear_before_reset", [0, 1])
@pytest.mark.parametrize("method", METHODS)
def test_both_kinds_of_reset_gate(method: str, linear_before_reset: int) -> None:
    options = Options(op="GRU", inputs=24, hidden=16, linear_before_reset=linear_before_reset)
    model, feeds = recurrent_model(options)
    assert lowered_error(model, compressed(model, method, "R"), feeds) <= 1e-4


@pytest.mark.parametrize("method", ["svd+binary", "svd+uniform", "svd+codebook"])
def test_gates_of_a_gru_are_multiplied_as_codes_in_the_scan(method: str) -> None:
    model, _ = recurrent_model(Options(op="GRU", inputs=24, hidden=16))
    lower(model, compressed(model, method, "R"), eager("compute"))
    (scan,) = [node for node in model.graph if node.op_type == "Scan"]
    products = [node.op_type for node in scan.attributes["body"].as_graph() if node.domain == "dtc"]
    # right of h, left of its gates z and r; right of what the reset leaves, left of the candidate
    assert len(products) == 4
    assert set(products) == {"CodebookMatMul" if method == "svd+codebook" else "BinaryMatMul"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["svd+binary", "svd+uniform", "svd+prune", "prune+svd"])
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_the_forms_are_all_that_is_stored(op: str, method: str, mode: str) -> None:
    options = Options(op=op, inputs=64, hidden=48, bias=False, states=False, direction="bidirectional")
    model, _ = recurrent_model(options)
    items = compressed(model, method, "W", "R")
    lower(model, items, eager(mode))
    arrays = {n: v.const_value.nbytes for n, v in model.graph.initializers.items() if v.const_value is not None}
    stored = sum(size for name, size in arrays.items() if name.split(".")[0] in ("W", "R", "joint"))
    assert stored <= 1.05 * stored_bytes(form for item in items for form in item.forms)
    assert sum(arrays.values()) - stored < 4000  # shared constants


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", MODES)
def test_feedforward_weights(method: str, mode: str) -> None:
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["": 17]>
        g (float[2, 3, 24] x, int64[3] ids, float[1, 8, 9, 9] image)
        => (float[2, 3, 20] y, float[3, 32] rows, float[1, 16, 7, 7] z)
        {
            a = MatMul(x, A)
            y = MatMul(a, B)
            rows = Gather(E, ids)
            z = Conv(image, K)
        }
    """)
    rng = np.random.default_rng(0)
    shapes = {"A": (24, 40), "B": (40, 20), "E": (30, 32), "K": (16, 8, 3, 3)}
    for value in [value for node in model.graph for value in node.inputs if value is not None and value.name in shapes]:
        array = rng.standard_normal(shapes[value.name or ""]).astype(np.float32)
        value.const_value, value.dtype, value.shape = ir.tensor(array), ir.DataType.FLOAT, ir.Shape(array.shape)
        model.graph.register_initializer(value)
    feeds = {
        "x": rng.standard_normal((2, 3, 24)).astype(np.float32),
        "ids": np.array([0, 29, 7]),
        "image": rng.standard_normal((1, 8, 9, 9)).astype(np.float32),
    }
    items = compressed(model, method)
    assert len(items) == 4
    assert lowered_error(model, items, feeds, mode) <= 1e-4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", MODES)
def test_a_float16_weight(method: str, mode: str) -> None:
    """Its factors are stored in float16, or in their form, which is exact: to 1e-3, as the products are rounded too."""
    rng = np.random.default_rng(0)
    x, half = ir.val("x", ir.DataType.FLOAT16, [3, 24]), ir.TensorType(ir.DataType.FLOAT16)
    weight = ir.val("W", const_value=ir.tensor(rng.standard_normal((24, 40)).astype(np.float16), name="W"))
    node = ir.node("MatMul", [x, weight], name="product")
    (y,) = node.outputs
    y.name, y.type, y.shape = "y", half, ir.Shape([3, 40])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[weight], opset_imports={"": 17}, name="g")
    model = ir.Model(graph, ir_version=10)
    feeds = {"x": rng.standard_normal((3, 24)).astype(np.float16)}
    assert lowered_error(model, compressed(model, method, "W"), feeds, mode) <= 1e-3


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_a_sum_is_joined_for_a_recurrent_node_and_the_report_says_so(op: str) -> None:
    model, _ = recurrent_model(Options(op=op, inputs=24, hidden=16))
    items = compressed(model, "prune+svd", "W", "R")
    told = lower(model, items, eager("compute"))
    assert [node.op_type for node in model.graph][-1] == op
    assert all(each.reason.startswith("joined of its parts when a session loads") for each in told)


@unless("the native library of the operators is not built" if library_path() is None else None)
@pytest.mark.parametrize("mode", ["compute", "storage"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_native_kernels_compute_the_same(op: str, method: str, mode: str, tmp_path: Any) -> None:
    model, feeds = recurrent_model(Options(op=op, inputs=24, hidden=16, direction="bidirectional"))
    items = compressed(model, method, "W", "R")
    assign_dense(items)
    expected = run(model, feeds)
    lower(model, items, eager(mode))
    path = tmp_path / "lowered.onnx"
    session(model)  # the checker has read it
    ir.save(model, path)
    found = runner(native_session(path, threads=1))(feeds)
    for ours, theirs in zip(found.values(), expected, strict=True):
        assert relative_error(ours, theirs) <= 5e-4
