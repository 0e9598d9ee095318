"""Optimizers against the closed formulas of PyTorch's documentation in float64, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from dtc.errors import TrainingError
from dtc.recipe import Optimizer
from dtc.training.optimizer import BLOCK, global_norm, make_optimizer

SHAPES = {"W": (BLOCK // 100 + 3, 230), "b": (7,), "scalar": ()}
RATE = 0.01


def tensors(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def reference(kind, p, gradients, *, momentum=0.0, decay=0.0, betas=(0.9, 0.999), epsilon=1e-8):
    """The loops of torch.optim's documentation, in float64."""
    p, buffer, m, v = p.astype(np.float64), 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        g = g.astype(np.float64)
        if kind == "adamw":
            p = p - RATE * decay * p
        else:
            g = g + decay * p
        if kind == "sgd":
            buffer = g if t == 1 else momentum * buffer + g
            p = p - RATE * (buffer if momentum else g)
        else:
            m = betas[0] * m + (1 - betas[0]) * g
            v = betas[1] * v + (1 - betas[1]) * g * g
            p = p - RATE * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + epsilon)
    return p


def trained(options: Optimizer, gradients: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    parameters = tensors(0)
    optimizer = make_optimizer(options, parameters)
    for t, gradient in enumerate(gradients, 1):
        optimizer.step(parameters, gradient, rate=RATE, t=t)
    return parameters


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("kind", "momentum"), [("sgd", 0.0), ("sgd", 0.9), ("adam", 0.0), ("adamw", 0.0)])
def test_five_steps_are_those_of_the_formulas(kind, momentum, decay):
    gradients = [tensors(seed) for seed in range(1, 6)]
    found = trained(Optimizer(kind=kind, momentum=momentum, weight_decay=decay), gradients)
    for name, start in tensors(0).items():
        wanted = reference(kind, start, [g[name] for g in gradients], momentum=momentum, decay=decay)
        np.testing.assert_allclose(found[name], wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_twenty_steps_are_those_of_scikit_learn(kind):
    start, gradients = tensors(0)["W"], [tensors(seed)["W"] for seed in range(1, 21)]
    theirs = [start.astype(np.float64)]
    if kind == "adam":
        other = AdamOptimizer(theirs, learning_rate_init=RATE, epsilon=1e-12)
    else:
        other = SGDOptimizer(theirs, learning_rate_init=RATE, momentum=0.9, nesterov=False)
    for gradient in gradients:
        other.update_params(theirs, [gradient.astype(np.float64)])
    ours = trained(
        Optimizer(kind=kind, momentum=0.9 if kind == "sgd" else 0.0, epsilon=1e-12), [{"W": g} for g in gradients]
    )
    np.testing.assert_allclose(ours["W"], theirs[0], rtol=2e-5, atol=2e-6)


def test_clipping_scales_all_gradients_by_their_common_norm():
    gradient = tensors(1)
    norm = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradient.values()))
    found = trained(Optimizer(kind="sgd", clip_norm=0.25), [gradient])
    for name, start in tensors(0).items():
        np.testing.assert_allclose(found[name], start - RATE * gradient[name] * 0.25 / (norm + 1e-6), atol=1e-7)


def test_a_small_gradient_is_not_clipped_and_the_norm_is_the_one_before_clipping():
    gradient = {name: array * np.float32(1e-3) for name, array in tensors(1).items()}
    parameters = tensors(0)
    optimizer = make_optimizer(Optimizer(kind="sgd", clip_norm=1e3), parameters)
    assert optimizer.step(parameters, gradient, rate=RATE, t=1) == pytest.approx(global_norm(gradient))
    np.testing.assert_allclose(parameters["b"], tensors(0)["b"] - np.float32(RATE) * gradient["b"], rtol=1e-6)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_gradients_are_left_as_they_are(kind):
    gradient = tensors(1)
    trained(Optimizer(kind=kind, weight_decay=0.1, clip_norm=0.1), [gradient])
    for name, array in tensors(1).items():
        assert np.array_equal(gradient[name], array)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad):
    parameters, gradient = tensors(0), tensors(1)
    gradient["W"][3, 3] = bad
    optimizer = make_optimizer(Optimizer(), parameters)
    with pytest.raises(TrainingError, match="step 4: the gradient is not finite"):
        optimizer.step(parameters, gradient, rate=RATE, t=4)
    for name, array in tensors(0).items():
        assert np.array_equal(parameters[name], array)


@given(seed=st.integers(0, 99), kind=st.sampled_from(["sgd", "adam", "adamw"]), at=st.integers(1, 4))
def test_the_state_is_all_that_a_step_remembers(seed, kind, at):
    """Stopping after any step and going on with copies of the arrays gives the same bits."""
    options = Optimizer(kind=kind, momentum=0.5, weight_decay=0.01, clip_norm=1.0)
    gradients = [{"b": tensors(seed + k)["b"]} for k in range(5)]
    whole, parts = {"b": tensors(seed)["b"]}, {"b": tensors(seed)["b"]}
    one, two = make_optimizer(options, whole), make_optimizer(options, parts)
    for t, gradient in enumerate(gradients, 1):
        one.step(whole, gradient, rate=RATE, t=t)
        two.step(parts, gradient, rate=RATE, t=t)
        if t == at:
            fresh = make_optimizer(options, parts)
            for name, array in two.state.items():
                fresh.state[name][...] = array.copy()
            two = fresh
    assert np.array_equal(whole["b"], parts["b"])


KINDS = ["sgd", "adam", "adamw"]


def stepped(scale: float, gradient: float, options: Optimizer, *, rate: float = RATE, steps: int = 1) -> float:
    """A parameter that must stay positive, after some steps with the same gradient."""
    parameters = {"s": np.array(scale, np.float32)}
    optimizer = make_optimizer(options, parameters, {"s"})
    for t in range(1, steps + 1):
        optimizer.step(parameters, {"s": np.array(gradient, np.float32)}, rate=rate, t=t)
    return float(parameters["s"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gradient", [1e3, -1e-3])
def test_what_must_stay_positive_does(kind: str, gradient: float) -> None:
    found = stepped(0.01, gradient, Optimizer(kind=kind), rate=0.1, steps=30)
    assert (0 < found < 0.01) if gradient > 0 else 0.01 < found < math.inf


@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0])
def test_adam_takes_a_share_of_what_must_stay_positive(scale: float) -> None:
    assert stepped(scale, 0.3, Optimizer(kind="adam")) == pytest.approx(scale * math.exp(-RATE), rel=1e-5)


def test_a_small_step_of_sgd_is_the_usual_one() -> None:
    assert stepped(2.0, 0.1, Optimizer(kind="sgd")) == pytest.approx(2.0 - RATE * 0.1, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_must_stay_positive_does_not_decay(kind: str) -> None:
    assert stepped(0.5, 0.0, Optimizer(kind=kind, weight_decay=0.5), steps=5) == pytest.approx(0.5)
