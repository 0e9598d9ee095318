"""Metrics against values worked out by hand, SciPy and scikit-learn."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mean_squared_error, top_k_accuracy_score

from dtc.errors import DataError, UsageError
from dtc.metrics import default_metric, make_metric


def measure(name: str, outputs: np.ndarray, labels: np.ndarray) -> float:
    metric = make_metric(name)
    metric.update(outputs, labels)
    return metric.value()


def logits(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 3


def test_accuracy_by_hand() -> None:
    outputs = np.array([[1, 2, 3], [9, 0, 0], [0, 5, 4], [0, 1, 2]], np.float32)
    assert measure("accuracy", outputs, np.array([2, 0, 2, 1])) == 0.5


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k_is_scikit_learns(k: int) -> None:
    outputs = logits((200, 10))
    labels = np.random.default_rng(1).integers(0, 10, 200)
    expected = top_k_accuracy_score(labels, outputs, k=k, labels=np.arange(10))
    assert measure(f"top-{k}", outputs, labels) == pytest.approx(expected, abs=1e-12)


def test_equal_scores_go_to_the_first_class() -> None:
    outputs = np.zeros((3, 4), np.float32)
    assert measure("accuracy", outputs, np.array([0, 1, 3])) == pytest.approx(1 / 3)
    assert measure("top-2", outputs, np.array([0, 1, 3])) == pytest.approx(2 / 3)


def test_a_model_that_answers_nan_is_wrong() -> None:
    outputs = np.full((4, 3), np.nan, np.float32)
    labels = np.array([0, 1, 2, 0])
    assert measure("accuracy", outputs, labels) == 0
    assert math.isnan(measure("perplexity", outputs, labels))
    assert math.isnan(measure("mse", outputs, np.zeros((4, 3), np.float32)))


def test_perplexity_is_that_of_scikit_learns_log_loss() -> None:
    outputs = logits((4, 25, 10))
    labels = np.random.default_rng(1).integers(0, 10, (4, 25))
    probabilities = scipy.special.softmax(outputs.reshape(100, 10).astype(np.float64), axis=1)
    expected = math.exp(log_loss(labels.ravel(), probabilities, labels=np.arange(10)))
    assert measure("perplexity", outputs, labels) == pytest.approx(expected, rel=1e-9)
    assert measure("perplexity", probabilities.reshape(4, 25, 10), labels) == pytest.approx(expected, rel=1e-9)
    as_float32 = probabilities.reshape(4, 25, 10).astype(np.float32)
    assert measure("perplexity", as_float32, labels) == pytest.approx(expected, rel=1e-5)


def test_a_uniform_model_is_as_perplexed_as_it_has_classes() -> None:
    assert measure("perplexity", np.zeros((5, 10000), np.float32), np.arange(5)) == pytest.approx(10000)


def test_perplexity_is_stable() -> None:
    outputs = np.array([[1e4, 0, -1e4], [3e38, 0, 0]], np.float32)
    assert measure("perplexity", outputs, np.array([0, 0])) == 1.0
    assert measure("perplexity", outputs, np.array([2, 1])) == math.inf
    assert measure("perplexity", np.array([[0.0, 1.0]]), np.array([0])) == math.inf
    assert measure("perplexity", outputs[:1].astype(np.float16), np.array([0])) == 1.0


@pytest.mark.parametrize("name", ["accuracy", "top-3", "perplexity"])
def test_padding_does_not_count(name: str) -> None:
    outputs = logits((6, 10))
    labels = np.array([1, -1, 3, -1, -1, 9])
    kept = labels >= 0
    assert measure(name, outputs, labels) == pytest.approx(measure(name, outputs[kept], labels[kept]), rel=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "top-3", "perplexity", "mse", "snr"])
@given(cuts=st.lists(st.integers(0, 40), max_size=5))
def test_batches_may_be_cut_anywhere(name: str, cuts: list[int]) -> None:
    outputs = logits((40, 10))
    labels = logits((40, 10), 5) if name in ("mse", "snr") else np.random.default_rng(2).integers(-1, 10, 40)
    metric = make_metric(name)
    for part, of in zip(np.split(outputs, sorted(cuts)), np.split(labels, sorted(cuts)), strict=True):
        metric.update(part, of)
    assert metric.value() == pytest.approx(measure(name, outputs, labels), rel=1e-12)


@given(hnp.arrays(np.float32, (7, 5), elements=st.floats(-(2.0**99), 2.0**99, width=32)), st.integers(1, 5))
def test_top_k_grows_with_k_and_ends_at_one(outputs: np.ndarray, k: int) -> None:
    labels = np.arange(7) % 5
    assert measure(f"top-{k}", outputs, labels) >= measure("accuracy", outputs, labels)
    assert measure("top-5", outputs, labels) == 1


def test_many_rows_do_not_change_the_value() -> None:
    outputs = np.tile(logits((40, 1000)), (220, 1))  # more than one block of the widening to float64
    labels = np.tile(np.arange(40), 220)
    assert measure("perplexity", outputs, labels) == pytest.approx(
        measure("perplexity", outputs[:40], labels[:40]), rel=1e-12
    )


def test_mse_and_snr() -> None:
    found, wanted = logits((8, 3)), logits((8, 3), 1)
    assert measure("mse", found, wanted) == pytest.approx(mean_squared_error(wanted, found), rel=1e-6)
    assert measure("snr", np.array([9.0, 0.0]), np.array([10.0, 0.0])) == pytest.approx(20)
    assert measure("snr", wanted, wanted) == math.inf
    assert measure("snr", np.ones(3), np.zeros(3)) == -math.inf


def test_directions() -> None:
    higher = {n: make_metric(n).higher_is_better for n in ("accuracy", "top-5", "perplexity", "mse", "snr")}
    assert higher == {"accuracy": True, "top-5": True, "perplexity": False, "mse": False, "snr": True}
    assert [make_metric(n).name for n in ("top-1", "top-5")] == ["accuracy", "top-5"]


@pytest.mark.parametrize("name", ["acuracy", "top-0", "top-", "top--1", "top-x", "", "top-٣"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UsageError, match=r"accuracy, top-K .*perplexity, label-error, mse, snr"):
        make_metric(name)


def test_default_metric() -> None:
    assert default_metric(np.zeros(3, np.int64)) == "accuracy"
    assert default_metric(np.zeros(3, np.float32)) == "mse"
    assert default_metric(np.zeros(3, np.int64), carries=True) == "perplexity"
    assert default_metric(None) == "snr"


@pytest.mark.parametrize(
    ("name", "outputs", "labels", "says"),
    [
        ("accuracy", np.zeros((4, 3)), np.zeros(5, int), r"\[4, 3\].*\[5\]"),
        ("perplexity", np.zeros((2, 4, 3)), np.zeros((4, 2), int), r"\[2, 4, 3\].*\[4, 2\]"),
        ("accuracy", np.zeros((4, 0)), np.zeros(4, int), r"\[4, 0\].*\[4\]"),
        ("accuracy", np.float32(3), np.zeros((), int), r"\[\]"),
        ("accuracy", np.zeros((4, 3)), np.zeros(4), "integer labels; these are float64"),
        ("accuracy", np.zeros((4, 3)), np.array([0, 1, 2, 3]), "label 3 is none of the 3 classes"),
        ("perplexity", np.zeros((4, 3)), np.array([0, 1, 2, -2]), "label -2 is none of the 3 classes"),
        ("mse", np.zeros((4, 3)), np.zeros((4, 1)), r"\[4, 3\].*\[4, 1\]"),
        ("snr", np.zeros((4, 3)), np.zeros(3), r"\[4, 3\].*\[3\]"),
    ],
)
def test_refusals(name: str, outputs: np.ndarray, labels: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        make_metric(name).update(outputs, labels)


@pytest.mark.parametrize("name", ["accuracy", "perplexity", "mse", "snr"])
def test_no_data_is_an_error(name: str) -> None:
    with pytest.raises(DataError, match="no labelled sample"):
        make_metric(name).value()
    if name in ("accuracy", "perplexity"):
        with pytest.raises(DataError, match="no labelled sample"):
            measure(name, np.zeros((2, 3)), np.array([-1, -1]))
