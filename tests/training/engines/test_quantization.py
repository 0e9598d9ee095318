"""Training through quantized activations against the formulas in NumPy: rounding has no finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from engine_process import Results


@pytest.fixture
def results(cases):
    return Results(cases("quantization_cases.py"))


ALL = ["A", "B", "s"]
TRAINED = {
    "straight-through": ALL,
    "scaled": ALL,
    "four bits": ALL,
    "two bits from zero": ALL,
    "signed": ALL,
    "scale of shape [1]": ALL,
    "two readers": ALL,
    "frozen scale": ["A", "B"],
    "frozen weight before it": ["B", "s"],
}


@pytest.mark.parametrize("case", TRAINED)
def test_gradients_are_those_of_the_formulas(results, case):
    found = results[case]
    assert sorted(found["gradients"]) == TRAINED[case]
    for gradient, wanted in found["gradients"].values():
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", TRAINED)
def test_training_and_evaluation_round_alike(results, case):
    stepped, evaluated, wanted = results[case]["loss"]
    assert stepped == pytest.approx(wanted, rel=1e-5)
    assert evaluated == pytest.approx(wanted, rel=1e-5)


def test_scaling_changes_the_gradient_before_the_rounding_alone(results):
    plain, scaled = (results[case]["gradients"] for case in ("straight-through", "scaled"))
    assert plain["B"] == scaled["B"]
    assert plain["s"] == scaled["s"]
    assert not np.allclose(plain["A"][0], scaled["A"][0], rtol=1e-5)


def test_scales_are_parameters_that_stay_positive(results):
    assert results["scaled"]["positive"] == ["s"]
    assert results["frozen scale"]["positive"] == []
    assert results["frozen scale"]["frozen"] == {"s": "frozen by the option 's'"}


def test_a_scale_of_two_quantizers_has_the_sum_of_their_gradients(results):
    shared, apart = results["shared scale"]
    assert shared == pytest.approx(apart, rel=1e-5)


def test_a_quantizer_beside_the_loss_does_no_harm(results):
    assert results["beside"] == ["A", "B", "s"]
