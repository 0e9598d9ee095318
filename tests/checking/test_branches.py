"""Inputs are sought that take every branch, and what none takes is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from check_graphs import BY_RATE, IN_LOOP, NESTED, UNTAKEN, weight, written

from dtc.checking import CheckOptions, check
from dtc.checking.branches import assignments, watch_branches
from dtc.graph import load_model
from dtc.sample_inputs import compared_constants

W, V = weight(64, 48), weight(48, 48)
QUICK = CheckOptions(seconds=0, max_difference=1e-3)


@pytest.mark.parametrize("text", [BY_RATE, NESTED, IN_LOOP])
def test_every_branch_is_taken(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text, W=W, V=V)
    report = check(path, path, options=QUICK)
    assert report.verdict == "passed"
    assert report.caveats == ()


def test_a_difference_in_a_branch_that_no_usual_number_takes_fails(tmp_path: Path) -> None:
    reference = written(tmp_path, BY_RATE, W=W, V=V)
    candidate = written(tmp_path, BY_RATE, "other.onnx", W=W, V=V * np.float32(1.1))
    report = check(reference, candidate, options=QUICK)
    assert report.verdict == "failed"
    assert "for branches" in report.inputs


def test_a_branch_that_no_input_takes_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, UNTAKEN, W=W)
    report = check(path, path, options=QUICK)
    assert report.verdict == "passed"
    assert report.caveats == (
        "not compared, as no input took it: the then branch of If 'y'; --data or --input gives inputs that do",
    )


def test_what_sizes_decide_is_told_apart(tmp_path: Path) -> None:
    text = UNTAKEN.replace(
        "least = ReduceMin <keepdims = 0> (squared)", "ends = Shape (x) least = Cast <to = 1> (last)"
    )
    text = text.replace("least = Cast", "one = Constant <value_int = 1> () last = Gather (ends, one) least = Cast")
    path = written(tmp_path, text, W=W)
    assert check(path, path, options=QUICK).caveats == (
        "not compared, as no size of the inputs took it: the then branch of If 'y'",
    )


def test_an_input_that_is_held_fixed_stays(tmp_path: Path) -> None:
    path = written(tmp_path, BY_RATE, W=W, V=V)
    fixed = {"rate": np.array(8000)}
    report = check(path, path, options=CheckOptions(seconds=0, fixed=fixed))
    assert "the else branch of If 'y'" in report.caveats[0]


def test_branches_of_data_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, BY_RATE, W=W, V=V)
    watch = watch_branches(load_model(path), path)
    assert watch is not None
    low = {"x": np.zeros((1, 64), np.float32), "rate": np.array(8000)}
    assert [each.branch for each in watch.taken(low)] == ["then"]
    assert [each.branch for each in watch.taken(low | {"rate": np.array(1)})] == ["else"]


def test_constants_are_found_through_arithmetic(tmp_path: Path) -> None:
    found = compared_constants(load_model(written(tmp_path, NESTED, W=W)))
    assert found["rate"][0] == 8000
    assert found["mode"] == [2, 3, 4]


def test_strings_are_compared_too(tmp_path: Path) -> None:
    text = BY_RATE.replace('"": 17', '"": 19').replace("int64 rate", "string[1] rate")
    text = text.replace("c = Constant <value_int = 8000> ()", "").replace("Equal (rate, c)", "Equal (rate, L)")
    text = text.replace("is_low = Equal", "low1 = Equal").replace("y = If", "is_low = Squeeze (low1)\n    y = If")
    path = written(tmp_path, text, W=W, V=V, L=np.array(["de"], object))
    report = check(path, path, options=QUICK)
    assert report.caveats == ()


def test_few_inputs_are_held_first() -> None:
    tried = list(assignments({"a": [1, 2], "b": [3]}, 10))
    assert tried == [{"a": 1}, {"a": 2}, {"b": 3}, {"a": 1, "b": 3}, {"a": 2, "b": 3}]
    assert len(list(assignments({"a": list(range(50))}, 10))) == 10
