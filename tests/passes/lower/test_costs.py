"""Whether a product is computed on a compressed weight: where it is faster, or saves memory at a fair price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from dtc.forms import BinaryCode, Form
from dtc.forms.sparse import Sparse
from dtc.graph import find_sites
from dtc.passes.lower import Compressed, costs, lower
from dtc.passes.lower.costs import choose, speed_of
from dtc.passes.lower.explain import explain

pytestmark = pytest.mark.measured_costs


def small_matmul(side: int) -> ir.Model:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, side]))
    tensor = ir.tensor(np.zeros((side, side), np.float32), name="W")
    weight = ir.Value(name="W", const_value=tensor, type=x.type, shape=ir.Shape([side, side]))
    node = ir.node("MatMul", [x, weight], name="product")
    output = node.outputs[0]
    output.name, output.type, output.shape = "y", x.type, x.shape
    graph = ir.Graph([x], [output], nodes=[node], initializers=[weight], opset_imports={"": 17}, name="g")
    return ir.Model(graph, ir_version=10)


def binary(side: int, bits: int) -> BinaryCode:
    codes = np.zeros((bits, side, -(-side // 8)), dtype=np.uint8)
    return BinaryCode(codes, np.ones((bits, side, 1), dtype=np.float32), side)


def sparse(side: int, every: int) -> Form:
    dense = np.zeros((side, side), dtype=np.float32)
    dense.reshape(-1)[::every] = 1
    return Sparse.of(dense)


def test_more_planes_and_more_values_are_slower():
    speeds = [speed_of(binary(2048, bits)) for bits in range(1, 9)]
    assert speeds == sorted(speeds, reverse=True)
    speeds = [speed_of(sparse(512, every)) for every in (3, 7, 20, 60)]
    assert speeds == sorted(speeds)


def test_a_large_weight_is_computed_on_and_a_tiny_one_decoded():
    assert choose(binary(2048, 1)).on_codes
    tiny = choose(binary(16, 8))
    assert not tiny.on_codes
    assert "the speed of the dense product" in tiny.reason


def test_memory_is_worth_up_to_twice_the_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(costs.SPEEDS, "binary 8", (0.6, 0.6, 0.6))
    assert choose(binary(1024, 8)).on_codes
    assert "MB less memory" in choose(binary(1024, 8)).reason
    assert not choose(binary(256, 8)).on_codes
    monkeypatch.setitem(costs.SPEEDS, "binary 8", (0.4, 0.4, 0.4))
    assert not choose(binary(1024, 8)).on_codes


@pytest.mark.parametrize(("bits", "operators"), [(1, ["BinaryMatMul"]), (8, [])])
def test_lowering_follows_the_choice(bits: int, operators: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(costs.SPEEDS, "binary 1", (2.0, 2.0, 2.0))
    monkeypatch.setitem(costs.SPEEDS, "binary 8", (0.3, 0.3, 0.3))
    model = small_matmul(64)
    item = Compressed(find_sites(model)[0], (binary(64, bits),))
    lower(model, [item], "compute")
    told = explain(model, [item], "compute")["W"]
    assert [key[1] for key in model.functions] == operators
    assert ("decoded when a session loads" in told) == (not operators)


def test_a_report_does_not_claim_an_operator_that_no_reader_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(costs.SPEEDS, "binary 1", (2.0, 2.0, 2.0))
    model = small_matmul(64)
    (node,) = model.graph
    x, weight = node.inputs
    node.replace_input_with(0, weight)
    node.replace_input_with(1, x)
    item = Compressed(find_sites(model)[0], (binary(64, 1),))
    lower(model, [item], "compute")
    assert not model.functions
    assert explain(model, [item], "compute")["W"] == "decoded when a session loads: no operator fits its reader"


def test_a_compression_says_what_it_chose(dtc: Any, data_dir: Path, tmp_path: Path):
    model, output = data_dir / "onnx" / "ptb_rnnlm_lstm100_derived.onnx", tmp_path / "small.onnx"
    status, out, _ = dtc(
        *("compress", model, "--method", "binary", "--bits", "2", "--seconds", "0", "--json", "-o", output)
    )
    assert status == 0
    assert '"lowered": "rows decoded as they are looked up"' in out
    assert "the speed of the dense product" in out
