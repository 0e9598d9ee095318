"""Whether a product is computed on a compressed weight: where that is clearly faster than the dense product."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
import pytest

from dtc.cost_measurement import measure_costs
from dtc.errors import UsageError
from dtc.forms import BinaryCode, Codebook, Codewords, Form
from dtc.forms.sparse import Sparse
from dtc.graph import find_sites
from dtc.passes.lower import Compressed, Target, find_target, lower
from dtc.passes.lower.costs import Choice, Costs, choose, default_costs, load_costs
from dtc.passes.lower.kinds import choose_for, kind_of

COSTS = default_costs()

Speeds: TypeAlias = tuple[tuple[tuple[float, ...], ...], ...]


def with_speeds(**speeds: Speeds) -> Costs:
    """Return the usual table with other speeds of some forms; `binary_1` stands for "binary 1"."""
    named = {name.replace("_", " "): table for name, table in speeds.items()}
    return COSTS.model_copy(update={"speeds": {**COSTS.speeds, **named}})


def computing(**speeds: Speeds) -> Target:
    return replace(find_target("compute"), costs=with_speeds(**speeds))


def choice(form: Form, rows: int | None = None, costs: Costs = COSTS) -> Choice:
    return choose_for(form, rows, costs)


def speed_of(form: Form, rows: int | None = None, costs: Costs = COSTS) -> float:
    speed = choice(form, rows, costs).speed
    assert speed is not None
    return speed


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
    speeds = [speed_of(binary(2048, bits), 1) for bits in range(1, 9)]
    assert speeds == sorted(speeds, reverse=True)
    speeds = [speed_of(sparse(512, every)) for every in (3, 7, 20, 60)]
    assert speeds == sorted(speeds)


def test_a_large_weight_is_computed_on_and_a_tiny_one_decoded():
    assert choice(binary(2048, 1)).pays
    tiny = choice(binary(16, 8))
    assert not tiny.pays
    assert "the speed of the dense product" in tiny.reason


def every(*speeds: float) -> Speeds:
    """Return a table that tells the rows apart alone: 1, 4 and 20."""
    return tuple(((speed,) * 3,) * 3 for speed in (speeds * 3)[:3])


def test_the_rows_decide_too():
    costs = with_speeds(binary_1=every(4.0, 2.0, 0.5))
    form = binary(300, 1)
    speeds = [speed_of(form, rows, costs) for rows in (1, 2, 8, 20, 100)]
    assert speeds[0] == 4
    assert speeds[-2:] == [0.5, 0.5]
    assert speeds == sorted(speeds, reverse=True)
    assert choice(form, 1, costs).pays
    assert not choice(form, 20, costs).pays
    assert "of 20 rows" in choice(form, 20, costs).reason
    assert speed_of(form, None, costs) == 0.5  # of open rows, where it gains least
    assert not choice(form, 1, with_speeds(binary_1=every(1.1))).pays  # the table is no more exact than that


def test_both_sides_of_a_matrix_decide():
    by_shape = (((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0)),) * 3  # [out, in] of 128, 512 and 2048
    costs = with_speeds(binary_1=by_shape)

    def of(out: int, inner: int) -> float:
        form = BinaryCode(np.zeros((1, out, inner // 8), np.uint8), np.ones((1, out, 1), np.float32), inner)
        return speed_of(form, 1, costs)

    assert [of(128, 2048), of(2048, 128), of(512, 512), of(256, 512)] == [3.0, 7.0, 5.0, 3.5]
    assert [of(64, 64), of(96, 9600), of(9600, 96)] == [1.0, 3.0, 7.0]  # beyond the ends their values hold


def test_a_long_product_is_computed_on_codes_only_where_that_is_faster():
    form = BinaryCode(np.zeros((1, 100, 1250), np.uint8), np.ones((1, 100, 1), np.float32), 10_000)
    assert choice(form, 20).pays == (speed_of(form, 20) >= COSTS.worth)
    assert speed_of(form, 20) < speed_of(binary(2048, 1), 20)


def test_what_no_one_measured_is_computed_on_and_said_so():
    assert choose(None, 4, COSTS) == Choice(True, "computed on as it is; how fast was not measured", None)
    whole_lines = Sparse.whole(np.ones((4, 4), np.float32))
    assert kind_of(whole_lines).measured(whole_lines) is None
    unknown = COSTS.model_copy(update={"speeds": {}})
    assert choice(binary(300, 1), 1, unknown).speed is None


def test_a_table_of_costs_is_read_and_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "costs.json"
    path.write_text(with_speeds(binary_1=every(3.0)).model_dump_json())
    assert load_costs(path).speeds["binary 1"] == every(3.0)
    for text in (
        "no json",
        '{"machine": "m", "sides": [1], "rows": [1], "speeds": {"a": [[[1, 2]]]}}',
        '{"machine": "m", "sides": [2, 1], "rows": [1], "speeds": {}}',
        '{"machine": "m", "sides": [1], "rows": [1], "speeds": {"a": [[[0]]]}}',
        '{"format": 1, "machine": "m", "sides": [1], "rows": [1], "speeds": {"a": [[1]]}}',
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"costs\.json: is no table of costs \(.*measure-costs"):
            load_costs(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_costs(tmp_path / "none.json")
    for shipped in ("amx", "avx512"):
        assert speed_of(binary(2048, 2), 20, load_costs(tmp_path / shipped)) > speed_of(binary(2048, 2), 20)


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
def test_lowering_follows_the_choice(bits: int, operators: list[str]):
    model = small_matmul(64)
    item = Compressed(find_sites(model)[0], (binary(64, bits),))
    (told,) = lower(model, [item], computing(binary_1=every(2.0), binary_8=every(0.3)))
    assert [key[1] for key in model.functions] == operators
    assert told.how == ("operator" if operators else "decoded")
    assert ("decoded when a session loads" in told.reason) == (not operators)
    assert told.speed == (2.0 if operators else None)


def test_a_report_does_not_claim_an_operator_that_no_reader_has():
    model = small_matmul(64)
    (node,) = model.graph
    x, weight = node.inputs
    node.replace_input_with(0, weight)
    node.replace_input_with(1, x)
    x.shape = None
    item = Compressed(find_sites(model)[0], (binary(64, 1),))
    (told,) = lower(model, [item], computing(binary_1=every(2.0)))
    assert not model.functions
    assert (
        told.reason
        == "decoded when a session loads: the weight is the left factor, and the rank of the other one is unknown"
    )


def test_costs_are_measured_for_every_form_that_has_samples_and_can_be_used(tmp_path: Path):
    measured = measure_costs(seconds=0, sides=(16,))
    assert set(measured.speeds) == set(COSTS.speeds)
    assert measured.sides == (16,)
    path = tmp_path / "costs.json"
    path.write_text(measured.model_dump_json())
    assert find_target("compute", path).costs == measured
