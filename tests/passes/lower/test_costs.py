"""Whether a product is computed on a compressed weight: where that is clearly faster than the dense product."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from dtc.forms import BinaryCode, Codebook, Codewords, Form
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


def every(speed: float) -> costs.Speeds:
    return ((speed,) * 3, (speed,) * 3)


def test_the_rows_decide_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(costs.SPEEDS, "binary 1", ((4.0, 4.0, 4.0), (0.5, 0.5, 0.5)))
    form = binary(300, 1)
    speeds = [speed_of(form, rows) for rows in (1, 2, 8, 20, 100)]
    assert speeds[0] == 4
    assert speeds[-2:] == [0.5, 0.5]
    assert speeds == sorted(speeds, reverse=True)
    assert choose(form, 1).on_codes
    assert not choose(form, 20).on_codes
    monkeypatch.setitem(costs.SPEEDS, "binary 1", every(1.1))
    assert not choose(form, 1).on_codes  # the table is no more exact than that
    monkeypatch.setitem(costs.SPEEDS, "binary 1", ((4.0, 4.0, 4.0), (0.5, 0.5, 0.5)))
    assert "of 20 rows" in choose(form, 20).reason
    assert speeds[1] > speed_of(form) > speeds[2]


def test_indices_of_widths_that_no_operator_reads_cost_what_bytes_cost():
    def codebook(count: int) -> Codebook:
        words = Codewords.encode(np.arange(count, dtype=np.float32)[:, None], 32)
        indices = np.random.default_rng(0).integers(0, count, (64, 512)).astype(np.uint16)
        return Codebook(indices, words, 512)

    assert speed_of(codebook(16)) > speed_of(codebook(8)) == speed_of(codebook(256))
    assert speed_of(replace(codebook(16), huffman=True)) == speed_of(codebook(256))


@pytest.mark.parametrize(
    ("op", "attributes", "shapes", "weight", "rows"),
    [
        ("MatMul", {}, [(3, 5, 8), (8, 6)], 1, 15),
        ("MatMul", {}, [("n", 5, 8), (8, 6)], 1, None),
        ("MatMul", {}, [(6, 8), (8, 7)], 0, 7),
        ("Gemm", {}, [(4, 8), (8, 6)], 1, 4),
        ("Gemm", {"transA": 1}, [(8, 4), (8, 6)], 1, 4),
        ("LSTM", {"hidden_size": 2}, [(7, 3, 8), (1, 8, 8), (1, 8, 2)], 1, 21),
        ("LSTM", {"hidden_size": 2}, [(7, 3, 8), (1, 8, 8), (1, 8, 2)], 2, 3),
        ("LSTM", {"hidden_size": 2}, [("t", 3, 8), (1, 8, 8), (1, 8, 2)], 2, 3),
        ("GRU", {"hidden_size": 2}, [("t", 1, 8), (1, 6, 8), (1, 6, 2)], 1, None),
    ],
)
def test_a_site_knows_how_many_rows_it_is_multiplied_with(
    op: str, attributes: dict[str, int], shapes: list[tuple[int | str, ...]], weight: int, rows: int | None
):
    values = []
    for index, shape in enumerate(shapes):
        value = ir.Value(name=f"v{index}", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
        if index > 0 or weight == 0:
            value.const_value = ir.tensor(np.zeros(shape, np.float32), name=value.name)
        if index != weight and value.const_value is not None and weight == 0:
            value.const_value = None
        values.append(value)
    node = ir.node(op, values, attributes, name="reader")
    free = [value for value in values if value.const_value is None]
    graph = ir.Graph(
        free,
        list(node.outputs),
        nodes=[node],
        initializers=[value for value in values if value.const_value is not None],
        opset_imports={"": 17},
        name="g",
    )
    (site,) = [site for site in find_sites(ir.Model(graph, ir_version=8)) if site.name == f"v{weight}"]
    assert site.rows == rows


@pytest.mark.parametrize(("bits", "operators"), [(1, ["BinaryMatMul"]), (8, [])])
def test_lowering_follows_the_choice(bits: int, operators: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(costs.SPEEDS, "binary 1", every(2.0))
    monkeypatch.setitem(costs.SPEEDS, "binary 8", every(0.3))
    model = small_matmul(64)
    item = Compressed(find_sites(model)[0], (binary(64, bits),))
    lower(model, [item], "compute")
    told = explain(model, [item], "compute")["W"]
    assert [key[1] for key in model.functions] == operators
    assert ("decoded when a session loads" in told) == (not operators)


def test_a_report_does_not_claim_an_operator_that_no_reader_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(costs.SPEEDS, "binary 1", every(2.0))
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
