"""Fixing inputs: what they decide is folded, branches that are never taken go, and the rest computes what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from running import random_feeds, relative_error, run

from dtc.graph import all_nodes, load_model
from dtc.passes.prepare.fix_inputs import FixInputsPass, fix_inputs, fold_sizes

RATES = """<ir_version: 8, opset_import: ["": 17]>
rates (float[1,4] x, int64 sr, bool loud, float[4,4] A, float[4,4] B, float[4,4] C)
  => (float[1,4] y, int64 doubled, float[1,4] same)
<int64 high = {16000}, int64 two = {2}> {
  doubled = Mul(sr, two)
  is_high = Equal(sr, high)
  is_low = Not(is_high)
  y = If (is_low) <
    then_branch = low () => (float[1,4] a) { h = MatMul(x, A) a = Relu(h) },
    else_branch = top () => (float[1,4] b) {
      h = MatMul(x, B)
      b = If (loud) <
        then_branch = on () => (float[1,4] p) { k = MatMul(h, C) p = Tanh(k) },
        else_branch = off () => (float[1,4] q) { k = Sigmoid(h) q = Neg(k) }
      >
    }
  >
  same = If (is_high) <
    then_branch = as_is () => (float[1,4] e) { e = Identity(x) },
    else_branch = never () => (float[1,4] f) { h = MatMul(x, A) f = Identity(h) }
  >
}"""
"""Both branches call what they compute h; a branch decides within a branch; one only hands an outer value on."""


def rates() -> ir.Model:
    model = ir.from_proto(onnx.parser.parse_model(RATES))
    rng = np.random.default_rng(0)
    for value in [value for value in model.graph.inputs if str(value.name) in "ABC"]:
        value.const_value = ir.tensor(rng.standard_normal((4, 4), dtype=np.float32), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


def feeds(**fixed: Any) -> dict[str, Any]:
    x = np.random.default_rng(1).standard_normal((1, 4)).astype(np.float32)
    return {"x": x, "sr": np.array(16000), "loud": np.array(True)} | fixed


@pytest.mark.parametrize("rate", [16000, 8000])
@pytest.mark.parametrize("loud", [None, True, False])
def test_a_fixed_input_is_gone_with_all_that_it_decides(rate: int, loud: bool | None) -> None:
    model = rates()
    fixed: dict[str, Any] = {"sr": np.array(rate)} | ({} if loud is None else {"loud": np.array(loud)})
    given = feeds(**fixed)
    expected = run(rates(), given)
    fix_inputs(model, fixed)
    found = run(model, {name: value for name, value in given.items() if name not in fixed})
    for left, right in zip(found, expected, strict=True):
        assert relative_error(left, right) <= 1e-6
    assert [value.name for value in model.graph.inputs] == [n for n in ("x", "sr", "loud") if n not in fixed]
    assert [value.name for value in model.graph.outputs] == ["y", "doubled", "same"]
    weights = {name for name in model.graph.initializers if name in "ABC"}
    assert weights == ({"A"} if rate == 8000 else {"B"} if loud is False else {"B", "C"})
    branchings = sum(node.op_type == "If" for node in all_nodes(model))
    assert branchings == (1 if rate == 16000 and loud is None else 0)


def test_nothing_changes_where_no_such_input_is_named() -> None:
    model = rates()
    assert not FixInputsPass({"other": np.array(1)})(model).modified
    assert len(model.graph.inputs) == 3


def test_what_is_large_or_random_stays_computed() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    large (float[2] x, int64[1] count) => (float y, float[2] z) <float[2] w = {1.0, 2.0}> {
      many = ConstantOfShape(count)
      y = ReduceSum<keepdims=0>(many)
      cast = Cast<to=1>(count)
      noise = RandomUniformLike<low=2.0, high=3.0>(cast)
      z = Mul(x, noise)
    }"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    fix_inputs(model, {"count": np.array([2**20])})
    assert {node.op_type for node in all_nodes(model)} >= {"ConstantOfShape", "RandomUniformLike"}
    assert sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value) < 2**16


def test_a_voice_detector_keeps_one_sample_rate(data_dir: Path) -> None:
    path = data_dir / "onnx" / "silero_vad_v4.onnx"
    model, given = load_model(path), random_feeds(load_model(path))
    (told,) = fix_inputs(model, {"sr": np.array(16000)})
    assert told.startswith("With sr=16000 fixed ")
    found = run(model, {key: value for key, value in given.items() if key != "sr"})
    for left, right in zip(found, run(load_model(path), given), strict=True):
        assert relative_error(left, right) <= 1e-6
    nodes = [sum(1 for _ in all_nodes(each)) for each in (model, load_model(path))]
    assert nodes[0] < 0.6 * nodes[1]


SIZED = """<ir_version: 8, opset_import: ["": 17]>
sized (float[2,N] x) => (float y, int64[2] sizes)
<int64[1] axis = {1}, int64[1] count = {2}, int64 four = {4}, int64 place = {1}, int64 rank = {1}> {
  front = ConstantOfShape <value = int64[1] {0}> (count)
  behind = Concat <axis = 0> (axis, axis)
  pads = Concat <axis = 0> (front, behind)
  padded = Pad (x, pads)
  sizes = Shape (padded)
  width = Gather (sizes, place)
  is_four = Equal (width, four)
  short = If (is_four) <
    then_branch = as_is () => (float[3,4] a) { a = Relu (padded) },
    else_branch = summed () => (float[3] b) { b = ReduceSum <keepdims = 0> (padded, axis) }
  >
  shape = Shape (short)
  axes = Size (shape)
  is_line = Equal (axes, rank)
  y = If (is_line) <
    then_branch = one () => (float c) { c = ReduceMax <keepdims = 0> (short) },
    else_branch = two () => (float d) { d = ReduceMin <keepdims = 0> (short) }
  >
}"""
"""A branch is taken by a size that pads of constants alone make, and one by the axes of what that gives."""


@pytest.mark.parametrize(("width", "left"), [(3, "ReduceMin"), (5, "ReduceMax")])
def test_branches_that_sizes_decide_are_taken(width: int, left: str) -> None:
    free = ir.from_proto(onnx.parser.parse_model(SIZED))
    told = fold_sizes(free)
    assert sum(node.op_type == "If" for node in all_nodes(free)) == 2
    assert "2 branchings 2" in told[0]
    model = ir.from_proto(onnx.parser.parse_model(SIZED.replace("N", str(width))))
    before = model.clone()
    told = fold_sizes(model)
    found = [node.op_type for node in all_nodes(model)]
    assert "2 branchings 0" in told[0]
    assert left in found
    assert not {"If", "Concat", "ConstantOfShape"} & set(found)
    feeds = {"x": np.arange(2 * width, dtype=np.float32).reshape(2, width)}
    for now, then in zip(run(model, feeds), run(before, feeds), strict=True):
        np.testing.assert_array_equal(now, then)


def test_sizes_do_not_unpack_what_is_coded() -> None:
    """A weight whose codes integers of the file decode, as compressed ones are: 64 kB that 16 kB make."""
    text = """<ir_version: 8, opset_import: ["": 17]>
    coded (float[1,128] x) => (float[1,128] y, int64[2] sizes) <int32 last = {255}> {
      wide = Cast <to = 6> (codes)
      back = Sub (last, wide)
      w = Gather (table, back)
      y = MatMul (x, w)
      sizes = Shape (y)
    }"""
    model = ir.from_proto(
        onnx.parser.parse_model(
            text.replace("float[1,128] x", "float[1,128] x, uint8[128,128] codes, float[256] table")
        )
    )
    rng = np.random.default_rng(0)
    for name, array in (
        ("codes", rng.integers(0, 256, (128, 128)).astype(np.uint8)),
        ("table", rng.standard_normal(256, dtype=np.float32)),
    ):
        value = next(value for value in model.graph.inputs if value.name == name)
        value.const_value = ir.tensor(array, name=name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    fold_sizes(model)
    assert (
        max(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value) == 128 * 128
    )
