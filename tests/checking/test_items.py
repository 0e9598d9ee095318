"""Sequences, maps, strings and optionals are compared item by item, and generated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from check_graphs import HEAD, weight, written

from dtc.checking import CheckOptions, check
from dtc.checking.differences import Comparison, interface_differences
from dtc.checking.items import items
from dtc.cli.parse import fixed_inputs
from dtc.errors import UsageError
from dtc.graph.signature import TensorSpec

W = weight(64, 48)
QUICK = CheckOptions(seconds=0, max_difference=1e-3)
SEQUENCE_OUT = (
    HEAD + "(float[N, 64] x) => (seq(float[N, 48]) y) { h = MatMul (x, W) n = Neg (h) y = SequenceConstruct (h, n) }"
)
SEQUENCE_IN = (
    HEAD
    + """(seq(float[2, 64]) xs, optional(float[2, 64]) o) => (float[2, 48] y, seq(float[2, 64]) zs) {
    k = Constant <value_int = 0> ()
    a = SequenceAt (xs, k)
    b = OptionalGetElement (o)
    s = Add (a, b)
    y = MatMul (s, W)
    zs = Identity (xs)
}"""
)
STRINGS = HEAD + "(float[N, 64] x, string[2] s) => (float[N, 48] y, string[2] t) { y = MatMul (x, W) t = Identity (s) }"


@pytest.mark.parametrize("text", [SEQUENCE_OUT, SEQUENCE_IN, STRINGS])
def test_all_kinds_are_generated_and_compared(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text, W=W)
    assert check(path, path, options=QUICK).verdict == "passed"
    other = written(tmp_path, text, "other.onnx", W=W * np.float32(1.1))
    report = check(path, other, options=QUICK)
    assert [failure.split()[1] for failure in report.failures] == ["'y'"]


def test_items_are_named_by_their_place() -> None:
    value = [{"a": np.zeros(2), "b": 1.0}, None, ["x", np.ones(1)]]
    assert [place for place, _ in items(value)] == ["[0]['a']", "[0]['b']", "[1]", "[2][0]", "[2][1]"]


def test_maps_are_compared_by_key() -> None:
    comparison = Comparison()
    comparison.update({"p": [{0: 0.5, 1: 0.5}]}, {"p": [{0: 0.5, 1: 0.25}]})
    assert comparison.differences()[0].max_abs == 0.25
    comparison.update({"p": [{0: 0.5}]}, {"p": [{2: 0.5}]})
    assert "is in one of them alone" in comparison.problems[0]


def test_strings_are_compared_for_equality() -> None:
    comparison = Comparison()
    comparison.update({"s": np.array(["a", "b", "c", "d"], object)}, {"s": np.array(["a", "b", "c", "e"], object)})
    (difference,) = comparison.differences()
    assert (difference.agreement, difference.relative_l2) == (0.75, 0.5)


def test_an_optional_that_is_missing_is_a_difference() -> None:
    comparison = Comparison()
    comparison.update({"o": None}, {"o": None})
    assert comparison.problems == []
    comparison.update({"o": None}, {"o": np.zeros(2)})
    assert comparison.problems == ["output 'o' is there, unlike the reference's"]


def test_strings_and_sequences_can_be_given(tmp_path: Path) -> None:
    told = fixed_inputs(['s=["a","b"]', "rate=16000", "lang=de", "xs=[[1,2],[3]]"])
    assert told["s"].tolist() == ["a", "b"]
    assert told["rate"] == 16000
    assert told["lang"] == "de"
    assert [each.tolist() for each in told["xs"]] == [[1, 2], [3]]
    for wrong in ('s=["a",1]', "x=[1,", "x={}"):
        with pytest.raises(UsageError, match="write a number, a string, or a JSON list"):
            fixed_inputs([wrong])
    path = written(tmp_path, STRINGS, W=W)
    options = CheckOptions(seconds=0, max_difference=0.0, fixed={"s": told["s"], "x": np.ones((1, 64))})
    assert check(path, path, options=options).verdict == "passed"
    both = {"xs": np.ones((3, 2, 64)), "o": np.ones((2, 64))}
    path = written(tmp_path, SEQUENCE_IN, W=W)
    assert check(path, path, options=CheckOptions(seconds=0, max_difference=0.0, fixed=both)).verdict == "passed"


def test_the_memory_of_models_with_strings_is_measured(tmp_path: Path) -> None:
    path = written(tmp_path, STRINGS, W=W)
    report = check(path, path, options=CheckOptions(seconds=0.02))
    assert report.failures == ()
    path = written(tmp_path, SEQUENCE_IN, W=W)
    assert check(path, path, options=CheckOptions(seconds=0.02)).reference.memory is None


def test_sizes_that_only_one_graph_tells_are_no_difference(tmp_path: Path) -> None:
    fixed, free = TensorSpec("y", "float32", (1, 64)), TensorSpec("y", "float32", (None, 64))
    assert interface_differences("output", [fixed], [free]) == []
    assert interface_differences("output", [fixed], [TensorSpec("y", "float32", (2, 64))]) != []
    assert interface_differences("input", [fixed], [free]) != []


def test_sizes_written_as_minus_one_are_free(tmp_path: Path) -> None:
    text = HEAD + "(float[-1, 3, -1, -1] x) => (float[-1, 8, -1, -1] y) { y = Conv <pads = [1, 1, 1, 1]> (x, K) }"
    path = written(tmp_path, text, K=weight(8, 3, 3, 3))
    assert check(path, path, options=QUICK).verdict == "passed"
