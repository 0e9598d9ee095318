"""Whether a reader computes with two factors, or with their product: whichever is faster."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir
import pytest
from running import lowered_and_run, random_feeds, random_low_rank
from test_low_rank_feedforward import model_of

from dtc.graph import find_sites
from dtc.passes.lower import Lowered, Target, find_target
from dtc.passes.lower.costs import default_costs

COMPUTE = find_target("compute")


def told_of(model: ir.Model, rank: int, target: Target = COMPUTE) -> Lowered:
    """Lower the last site of a model, hold it to its dense weight, and return what is told of it."""
    item = random_low_rank(find_sites(model)[-1], rank)
    far, told = lowered_and_run(model, [item], random_feeds(model), target)
    assert far <= 1e-4
    return told[item.site.name]


def matmul(rows: str, inner: int, out: int) -> ir.Model:
    return model_of(
        f'<ir_version: 8, opset_import: ["": 13]> g (float[{rows},{inner}] x, float[{inner},{out}] w)'
        f" => (float[{rows},{out}] y) {{ y = MatMul(x, w) }}",
        {"w": (inner, out)},
    )


def conv(out: int, side: str) -> ir.Model:
    return model_of(
        f'<ir_version: 8, opset_import: ["": 13]> g (float[1,16,{side},{side}] x, float[{out},16,3,3] w)'
        f" => (float[1,{out},{side},{side}] y) {{ y = Conv <pads=[1,1,1,1]> (x, w) }}",
        {"w": (out, 16, 3, 3)},
    )


def gru(hidden: int, opset: int) -> ir.Model:
    size = 3 * hidden
    return model_of(
        f'<ir_version: 8, opset_import: ["": {opset}]> g (float[T,1,4] x, float[1,{size},4] w, '
        f"float[1,{size},{hidden}] r) => (float[T,1,1,{hidden}] y) {{ y = GRU <hidden_size={hidden}> (x, w, r) }}",
        {"w": (1, size, 4), "r": (1, size, hidden)},
    )


@pytest.mark.parametrize(
    ("model", "rank", "how"),
    [
        (matmul("1", 400, 600), 20, "factors"),
        (matmul("1", 40, 60), 2, "decoded"),  # a node takes longer than what it saves
        (matmul("50", 80, 120), 4, "factors"),  # of many rows it saves more
        (matmul("N", 80, 120), 4, "decoded"),  # who has one row is not to pay for it
        (conv(64, "20"), 8, "factors"),
        (conv(64, "2"), 8, "decoded"),
        (conv(64, "H"), 8, "factors"),  # of unknown sizes: a convolution has many
        (conv(16, "20"), 4, "decoded"),  # four channels take as long as sixteen
        (gru(100, 13), 8, "factors"),  # an operator
        (gru(100, 11), 8, "decoded"),  # a Scan
    ],
)
def test_a_reader_has_factors_where_they_are_faster(model: ir.Model, rank: int, how: str) -> None:
    told = told_of(model, rank)
    assert told.how == how
    assert ("the speed of the dense product" in told.reason) == (how == "decoded")


def test_the_costs_decide() -> None:
    free = replace(COMPUTE, costs=default_costs().model_copy(update={"node": 0.0}))
    assert told_of(matmul("1", 40, 60), 2).how == "decoded"
    assert told_of(matmul("1", 40, 60), 2, free).how == "factors"


def test_files_for_other_runtimes_keep_factors_which_take_less_room_in_a_program() -> None:
    assert told_of(matmul("1", 40, 60), 2, find_target("standard")).how == "factors"


def test_a_table_that_is_looked_up_keeps_its_factors() -> None:
    model = model_of(
        '<ir_version: 8, opset_import: ["": 13]> g (int64[3] x, float[40,20] w) => (float[3,20] y) '
        "{ y = Gather(w, x) }",
        {"w": (40, 20)},
    )
    assert told_of(model, 2).how == "factors"
