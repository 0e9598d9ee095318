"""A comparison in which nothing finite was compared is no pass: numbers are sought, else it says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from check_graphs import FIVE_TO_TEN, HEAD, LOG, NEVER_FINITE, TWO_DOMAINS, weight, written

from dtc.checking import CheckOptions, CheckReport, check
from dtc.checking.differences import Comparison

W = weight(64, 48)


def compared(folder: Path, text: str, factor: float = 1.0, **options: object) -> CheckReport:
    reference = written(folder, text, W=W)
    candidate = written(folder, text, "other.onnx", W=W * np.float32(factor))
    return check(reference, candidate, options=CheckOptions(seconds=0, max_difference=1e-3, **options))  # type: ignore[arg-type]


def test_numbers_are_sought_that_a_logarithm_has(tmp_path: Path) -> None:
    report = compared(tmp_path, LOG)
    assert report.verdict == "passed"
    assert report.inputs == "generated, 4 draws, one of positive numbers"
    wrong = compared(tmp_path, LOG, factor=1.1)
    assert wrong.verdict == "failed"
    assert wrong.differences[0].relative_l2 == pytest.approx(0.1, rel=1e-3)


def test_the_smallest_set_of_inputs_makes_all_outputs_finite(tmp_path: Path) -> None:
    report = compared(tmp_path, TWO_DOMAINS)
    assert report.inputs == "generated, 4 draws, one of positive numbers, one of negative numbers"
    assert {each.name for each in report.differences} == {"y", "u"}
    assert len(compared(tmp_path, TWO_DOMAINS, factor=1.1).failures) == 2


def test_where_nothing_is_finite_it_says_what_to_give(tmp_path: Path) -> None:
    report = compared(tmp_path, NEVER_FINITE)
    assert report.verdict == "failed"
    assert report.differences == ()
    (failure,) = report.failures
    assert failure.startswith("output 'y': nothing could be compared")
    assert failure.endswith("(--data or --input)")


def test_a_given_input_makes_numbers(tmp_path: Path) -> None:
    assert compared(tmp_path, FIVE_TO_TEN).verdict == "failed"
    high = {"x": np.full((2, 64), 600, np.float32)}
    assert compared(tmp_path, FIVE_TO_TEN, fixed=high).verdict == "passed"
    assert compared(tmp_path, FIVE_TO_TEN, examples=(high,)).verdict == "passed"
    assert compared(tmp_path, FIVE_TO_TEN, factor=1.1, examples=(high,)).verdict == "failed"


def test_infinities_are_compared_for_equality(tmp_path: Path) -> None:
    mask = np.array([[0.0, -np.inf], [-np.inf, 0.0]], np.float32)
    same = Comparison()
    same.update({"mask": mask, "all": np.full(3, np.inf)}, {"mask": mask, "all": np.full(3, np.inf)})
    assert same.vacuous() == ()
    assert [each.relative_l2 for each in same.differences()] == [0, 0]
    other = Comparison()
    other.update({"all": np.full(3, np.inf)}, {"all": np.full(3, np.nan)})
    assert other.vacuous() == ("all",)


def test_an_output_that_is_always_empty_is_named(tmp_path: Path) -> None:
    text = HEAD + "(float[N, 64] x) => (float[N, 48] y, float[0, 48] none) { y = MatMul (x, W) none = Identity (E) }"
    path = written(tmp_path, text, W=W, E=np.zeros((0, 48), np.float32))
    report = check(path, path, options=CheckOptions(seconds=0))
    assert report.failures == ()
    assert report.caveats == ("output 'none' was empty in all runs",)


def test_without_a_limit_nothing_has_passed(tmp_path: Path) -> None:
    path = written(tmp_path, LOG, W=W)
    assert check(path, path, options=CheckOptions(seconds=0)).verdict == "not judged"
    assert check(path, path, options=CheckOptions(seconds=0, max_difference=0.0)).verdict == "passed"


def test_positions_that_hold_nan_do_not_agree() -> None:
    comparison = Comparison()
    scores = np.array([[1.0, 2.0], [np.nan, np.nan]])
    comparison.update({"y": scores}, {"y": np.array([[2.0, 1.0], [np.nan, np.nan]])})
    assert comparison.differences()[0].agreement == 0.0
