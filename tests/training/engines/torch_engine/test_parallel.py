"""Several processes that share each batch: what they train is what one process trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dtc.cli.app import app
from dtc.graph import save_model
from dtc.models import build


@pytest.fixture
def results(torch_engine):
    return torch_engine.run(Path(__file__).with_name("parallel_cases.py"))


@pytest.fixture
def two(results):
    assert isinstance(results["two"], dict), results["two"]
    return results["two"]


def test_two_processes_train_as_one_does(two):
    (losses, norms, state), (by_two, norms_of_two, state_of_two) = two["sides"]
    np.testing.assert_allclose(by_two, losses, rtol=1e-4)
    np.testing.assert_allclose(norms_of_two, norms, rtol=1e-4)
    np.testing.assert_allclose(state_of_two, state, atol=1e-5)
    assert losses[-1] != losses[0]
    assert {name: far for name, far in two["apart"].items() if far > 1e-4} == {}


def test_a_run_of_two_processes_goes_on_bit_for_bit(two):
    assert two["resumed"] is True


def test_a_batch_of_fewer_samples_than_processes_is_run_by_one(two):
    assert two["single"][1] == pytest.approx(two["single"][0], rel=1e-4)


def test_what_goes_wrong_in_another_process_is_told(two):
    assert two["wrong"].startswith("TrainingError: process 1: ")
    assert "77" in two["wrong"]
    assert two["died"].startswith("TrainingError: process 1 has died (status -9); resume the run")


def test_samples_are_what_the_names_of_sizes_tell_before_axes_do(results):
    assert results["places"]["images"][0] == {"image": 0, "labels": 0}
    assert results["places"]["words"][0] == {"ids": 1, "h0": 1, "labels": 1}


def test_more_processes_than_devices_are_refused_in_one_line(results):
    assert results["cuda"].startswith("EngineError: --device cuda:")


def test_an_engine_of_one_process_refuses_more(tmp_path):
    save_model(build("digits-mlp"), tmp_path / "m.onnx")
    told = ["compress", str(tmp_path / "m.onnx"), "--method", "uniform", "--bits", "4", "--retrain", "--processes", "2"]
    done = CliRunner().invoke(app, [*told, "--engine", "ort", "--data", "d.npz"])
    assert str(done.exception) == "--processes 2: the engine ort trains in one process"
