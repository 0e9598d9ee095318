"""Engines that take the same step: the losses of a training, and the gradient of every parameter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import _process

from dtc.training.engine_kind import engines

MODELS = ("language", "lenet", "resnet", "mobilenet", "speech", "transformer")


@pytest.fixture(scope="module")
def both(tmp_path_factory, data_dir):
    """What `ort` and `torch` say of each model, and the folders of their gradients."""
    found = {}
    for name in ("ort", "torch"):
        if reason := engines()[name].unavailable():
            pytest.skip(reason)
        folder = tmp_path_factory.mktemp(name)
        script = Path(__file__).with_name("agreement_cases.py")
        found[name] = _process(name).run(script, str(data_dir), str(folder)), folder
    return found


@pytest.mark.parametrize("model", MODELS)
def test_losses_of_fifty_steps(both, model):
    first, second = (both[name][0][model] for name in ("ort", "torch"))
    assert len(first) == 50
    np.testing.assert_allclose(first, second, rtol=1e-4)
    assert first[-1] < first[0]


@pytest.mark.parametrize("model", MODELS)
def test_gradients_of_every_parameter(both, model):
    first, second = (dict(np.load(both[name][1] / f"{model}.npz")) for name in ("ort", "torch"))
    noises = [dict(np.load(both[name][1] / f"{model}.noise.npz")) for name in ("ort", "torch")]
    assert sorted(first) == sorted(second)
    apart = {}
    for name, gradient in first.items():
        # A gradient that is zero but for rounding (a bias before a normalization) has no relative error, and one that
        # jumps with rounding may jump between engines as well.
        allowed = 1e-4 * np.linalg.norm(gradient) + 1e-6 + 2 * max(noise[name] for noise in noises)
        apart[name] = np.linalg.norm(gradient - second[name]) / allowed
    assert {name: distance for name, distance in apart.items() if distance > 1} == {}
