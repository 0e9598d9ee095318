"""The engine on models of the field beside those of test_agreement: a step lowers the loss, twice is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

TRAINED = ("dtln_model_1", "mnist-8", "kws_dnn_s", "gtcrn_simple")


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


def test_every_weight_behind_transposed_convolutions_is_trained(results):
    found = results["gtcrn_simple.onnx"]
    assert (found["parameters"], found["frozen"]) == (146, {})


def test_a_model_inside_an_if_is_refused_with_the_node(results):
    assert "nothing can be trained" in results["silero_vad_v4.onnx"]
    assert "If has no gradient" in results["silero_vad_v4.onnx"]
