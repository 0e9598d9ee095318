"""The engine on models of the field: one step of plain gradient descent lowers the loss, twice the same is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

TRAINED = ("ptb_rnnlm_lstm100_derived", "dtln_model_1", "resnet20_cifar10_derived", "mnist-8", "kws_dnn_s",
           "gtcrn_simple", "silero_vad_v3")  # fmt: skip


@pytest.fixture
def results(ort, data_dir):
    return ort.run(Path(__file__).with_name("real_model_cases.py"), str(data_dir / "onnx"))


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_lowers_the_loss(results, name):
    found = results[f"{name}.onnx"]
    assert found["loss"] == pytest.approx(found["evaluated"], rel=1e-4)
    assert found["after"] < found["loss"]


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_is_deterministic(results, name):
    assert results[f"{name}.onnx"]["same"] is True


@pytest.mark.parametrize(("name", "count"), [("gtcrn_simple", 146), ("silero_vad_v3", 88)])
def test_every_weight_is_trained(results, name, count):
    """Transposed convolutions in the one, an If before all weights of the other."""
    found = results[f"{name}.onnx"]
    assert (found["parameters"], found["frozen"]) == (count, {})


def test_loss_is_the_cross_entropy_of_the_outputs(results):
    found = results["ptb_rnnlm_lstm100_derived.onnx"]
    assert found["loss"] == pytest.approx(found["numpy"], rel=1e-5)
    assert found["frozen"] == {}


def test_a_model_inside_an_if_is_refused_with_the_node(results):
    assert "nothing can be trained" in results["silero_vad_v4.onnx"]
    assert "If has no gradient" in results["silero_vad_v4.onnx"]
