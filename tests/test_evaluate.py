"""Evaluation against published figures, and what it says of data that does not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dtc.evaluate
from dtc.errors import DataError
from dtc.evaluate import evaluate
from dtc.graph.signature import TensorSpec, zero_state
from dtc.metrics import make_metric
from dtc.models import datasets
from dtc.recipe import Objective
from dtc.session import runner, session, signature

CARRY = Objective(carry={"hn": "h0"})
STATE = (TensorSpec("x", "float32", ("N", 2)), TensorSpec("h0", "float32", (3, "N")))


ALONE = """
import sys, types
package = types.ModuleType("dtc")
package.__path__ = sys.argv[1:]
sys.modules["dtc"] = package
import dtc.evaluate, dtc.metrics
sys.exit("onnxruntime" in sys.modules)
"""


def test_evaluation_needs_no_runtime() -> None:
    """The training worker evaluates too, in an environment whose ONNX Runtime is another one."""
    folder = str(Path(dtc.evaluate.__file__).parent)
    assert subprocess.run([sys.executable, "-c", ALONE, folder], check=False).returncode == 0


def test_penn_treebank_test_perplexity(data_dir: Path) -> None:
    running = session(data_dir / "onnx" / "ptb_rnnlm_lstm100_derived.onnx", threads=2)
    objective = Objective(carry={"hn": "h0", "cn": "c0"})
    inputs, _ = signature(running)
    value = evaluate(runner(running), datasets.ptb_test(), objective, make_metric("perplexity"), inputs=inputs)
    assert round(value, 2) == 135.84


def test_mnist_8_accuracy(data_dir: Path) -> None:
    """Published: 98.91 % with pixels 0..255, one image a run."""

    def pixels() -> Iterator[dict[str, np.ndarray]]:
        for batch in datasets.mnist_test(batch_size=1):
            yield {"Input3": np.round(batch["image"] * 255), "labels": batch["labels"]}

    run = runner(session(data_dir / "onnx" / "mnist-8.onnx", threads=1))
    assert evaluate(run, pixels(), Objective(), make_metric("accuracy")) == pytest.approx(0.9891, abs=1e-9)


def test_state_goes_from_batch_to_batch_and_starts_anew() -> None:
    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": inputs["h0"].T, "hn": inputs["h0"] + inputs["x"].sum()}

    x, labels = np.ones((1, 2), np.float32), np.zeros((1, 3), np.float32)
    batches = [{"x": x, "labels": labels}] * 3
    # y is 0, 2, 4: the mean of the squares is 20 / 3
    for _ in range(2):
        assert evaluate(run, batches, CARRY, make_metric("mse"), inputs=STATE) == pytest.approx(20 / 3)
    given = [batches[0] | {"h0": np.full((3, 1), 2, np.float32)}, *batches]
    assert evaluate(run, given, CARRY, make_metric("mse")) == pytest.approx((4 + 16 + 36 + 64) / 4)


def test_a_batch_without_labels_is_named() -> None:
    with pytest.raises(DataError, match="no 'target', only 'x', 'labels'"):
        evaluate(dict, [{"x": np.zeros(1), "labels": np.zeros(1)}], Objective(labels="target"), make_metric("mse"))
    with pytest.raises(DataError, match="no labelled sample"):
        evaluate(dict, [], Objective(), make_metric("mse"))


def test_an_output_that_is_not_there_is_named() -> None:
    batch = {"x": np.zeros((1, 2), np.float32), "labels": np.zeros(1)}
    with pytest.raises(DataError, match="no output 'hn'; it has x"):
        evaluate(dict, [batch], CARRY, make_metric("mse"), inputs=STATE)
    with pytest.raises(DataError, match="no output 'y'; it has x"):
        evaluate(dict, [batch], Objective(output="y"), make_metric("mse"))


def test_zero_state_takes_its_sizes_from_the_batch() -> None:
    batch = {"x": np.zeros((4, 2), np.float32)}
    state = zero_state(STATE, ["h0"], batch)
    assert state["h0"].shape == (3, 4)
    assert state["h0"].dtype == np.float32
    assert not state["h0"].any()
    assert zero_state(STATE, ["h0"], batch | {"h0": np.ones((3, 4))}) == {}
    with pytest.raises(DataError, match="no input 'c0'"):
        zero_state(STATE, ["c0"], batch)
    with pytest.raises(DataError, match="no other input tells its size"):
        zero_state((TensorSpec("h0", "float32", (3, None)),), ["h0"], {})
    # A size that nothing names is that of the samples in a batch, where one alone is missing.
    streaming = (TensorSpec("x", "float32", (None, 2)), TensorSpec("h0", "float32", (3, None, 5)))
    assert zero_state(streaming, ["h0"], batch)["h0"].shape == (3, 4, 5)
    with pytest.raises(DataError, match="no other input tells its size"):
        zero_state((streaming[0], TensorSpec("h0", "float32", (None, "M"))), ["h0"], batch)


def test_padded_steps_do_not_count() -> None:
    objective = Objective(lengths="lengths")
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    outputs = np.array([[right, right], [right, wrong], [wrong, wrong]])  # [T, N, C]
    batch = {"x": outputs, "lengths": np.array([3, 1], np.int32), "labels": np.ones((3, 2), np.int64)}
    assert evaluate(lambda given: {"y": given["x"]}, [batch], objective, make_metric("accuracy")) == 3 / 4
    noise = batch | {"labels": np.zeros((3, 2, 2))}
    value = evaluate(lambda given: {"y": given["x"]}, [noise], objective, make_metric("mse"))
    assert value == pytest.approx(4 / 8)


def test_padded_steps_do_not_count_where_samples_come_first() -> None:
    outputs = np.zeros((2, 5, 3))  # [N, T, C]: class 0 everywhere
    batch = {"x": outputs, "lengths": np.array([5, 1]), "labels": np.array([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])}
    objective = Objective(lengths="lengths")
    assert evaluate(lambda given: {"y": given["x"]}, [batch], objective, make_metric("accuracy")) == 3 / 6


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lengths": np.array([1, 2, 3])}, r"lengths \[3\] do not fit outputs \[3, 2, 2\] and labels \[3, 2\]"),
        ({"labels": np.ones(2, np.int64)}, r"lengths \[2\] do not fit outputs \[3, 2, 2\] and labels \[2\]"),
    ],
)
def test_lengths_that_do_not_fit_are_named(changes: dict[str, np.ndarray], says: str) -> None:
    batch = {"x": np.zeros((3, 2, 2)), "lengths": np.array([3, 1]), "labels": np.ones((3, 2), np.int64)} | changes
    with pytest.raises(DataError, match=says):
        evaluate(lambda given: {"y": given["x"]}, [batch], Objective(lengths="lengths"), make_metric("accuracy"))
    del batch["lengths"]
    with pytest.raises(DataError, match="no 'lengths', which the objective names"):
        evaluate(lambda given: {"y": given["x"]}, [batch], Objective(lengths="lengths"), make_metric("accuracy"))


def test_one_label_a_sequence_needs_no_cutting() -> None:
    batch = {"x": np.zeros((4, 3, 2), np.float32), "lengths": np.array([4, 1, 2]), "labels": np.array([1, 0, 1])}
    scores = np.array([[0, 1], [1, 0], [1, 0]], np.float32)
    found = evaluate(lambda _: {"y": scores}, [batch], Objective(lengths="lengths"), make_metric("accuracy"))
    assert found == pytest.approx(2 / 3)
