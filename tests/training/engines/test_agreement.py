"""Engines that take the same step: the losses of a training, and the gradient of every parameter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

ENGINES = ("ort", "torch")
MODELS = ("language", "lenet", "resnet", "mobilenet", "speech", "transformer")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where an engine leaves its gradients."""
    return {name: tmp_path_factory.mktemp(name) for name in ENGINES}


@pytest.fixture
def told(fake_engine_found, engine_process, data_dir, folders):
    """Return what an engine says of each model."""
    script = Path(__file__).with_name("agreement_cases.py")
    return lambda name: engine_process(name).run(script, str(data_dir), str(folders[name]))


@pytest.fixture
def both(told, folders):
    """What `ort` and `torch` say of each model, and the folders of their gradients."""
    return {name: (told(name), folders[name]) for name in ENGINES}


@pytest.mark.parametrize("model", ["language", "resnet", "speech"])
@pytest.mark.parametrize("name", ENGINES)
def test_a_step_computes_what_an_evaluation_does_and_twice_the_same(told, name, model):
    found = told(name)[model]
    assert found["losses"][0] == pytest.approx(found["evaluated"], rel=1e-4)
    assert found["same"] is True


@pytest.mark.parametrize("name", ENGINES)
def test_loss_is_the_cross_entropy_of_the_outputs(told, name):
    found = told(name)["language"]
    assert found["evaluated"] == pytest.approx(found["by hand"], rel=1e-5)
    assert found["frozen"] == {}


@pytest.mark.parametrize("name", ENGINES)
def test_every_weight_behind_an_if_is_trained(told, name):
    found = told(name)["speech"]
    assert (found["parameters"], found["frozen"]) == (88, {})


@pytest.mark.parametrize("model", MODELS)
def test_losses_of_fifty_steps(both, model):
    first, second = (both[name][0][model]["losses"] for name in ENGINES)
    assert len(first) == 50
    np.testing.assert_allclose(first, second, rtol=1e-4)
    assert first[-1] < first[0]


@pytest.mark.parametrize("model", MODELS)
def test_gradients_of_every_parameter(both, model):
    first, second = (dict(np.load(both[name][1] / f"{model}.npz")) for name in ENGINES)
    noises = [dict(np.load(both[name][1] / f"{model}.noise.npz")) for name in ENGINES]
    assert sorted(first) == sorted(second)
    apart = {}
    for name, gradient in first.items():
        # A gradient that is zero but for rounding (a bias before a normalization) has no relative error, and one that
        # jumps with rounding may jump between engines as well.
        allowed = 1e-4 * np.linalg.norm(gradient) + 1e-6 + 2 * max(noise[name] for noise in noises)
        apart[name] = np.linalg.norm(gradient - second[name]) / allowed
    assert {name: distance for name, distance in apart.items() if distance > 1} == {}
