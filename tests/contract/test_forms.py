"""Every registered method, form and lowering keeps the same promises, however new it is."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from dtc.deploy.ops import operators
from dtc.deploy.ops.recurrent.weights import FORMS
from dtc.forms import Form, bits_per_weight, pack_form, scaled, stored_bytes, unpack_form
from dtc.forms.registry import forms
from dtc.passes.compose import make_methods
from dtc.passes.lower import find_target, lower
from dtc.passes.lower.kinds import kinds
from dtc.passes.method import DistortionStep, Method, Skip, Weights, make_method, methods

PRIMITIVE = sorted(set(forms()) - {"product", "sum"})


def example(name: str) -> Method:
    return make_method(name, dict(methods()[name].example))


def weights(shape: tuple[int, ...] = (2, 48, 40), seed: int = 0) -> Weights:
    matrices = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Weights("w", matrices, "node")


@pytest.mark.parametrize("name", sorted(methods()))
def test_a_method_is_documented_and_its_options_too(name: str) -> None:
    method = methods()[name]
    assert method.title
    assert method.__doc__
    assert all(field.description for field in method.options_type.model_fields.values())
    assert method.estimate(2600, 650)


@pytest.mark.parametrize("name", sorted(methods()))
def test_a_method_is_a_pure_function(name: str) -> None:
    given = weights()
    before = given.matrices.copy()
    first = example(name).distort([given], DistortionStep(seed=3))["w"]
    second = example(name).distort([given], DistortionStep(seed=3))["w"]
    np.testing.assert_array_equal(given.matrices, before)
    assert not isinstance(first, Skip)
    assert not isinstance(second, Skip)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.dense(), other.dense())


@pytest.mark.parametrize("name", sorted(methods()))
def test_a_method_gives_one_smaller_form_a_matrix(name: str) -> None:
    given = weights()
    outcome = example(name).distort([given])["w"]
    assert not isinstance(outcome, Skip)
    assert len(outcome) == len(given.matrices)
    for form, matrix in zip(outcome, given.matrices, strict=True):
        assert isinstance(form, Form)
        assert form.shape == matrix.shape
        assert form.dense().dtype == np.float32
        assert form.nbytes < matrix.nbytes
        assert np.square(form.dense() - matrix).sum() < np.square(matrix).sum()


@pytest.mark.parametrize("name", sorted(methods()))
def test_what_is_stored_gives_back_the_same_matrix_bit_for_bit(name: str) -> None:
    outcome = example(name).distort([weights()])["w"]
    assert not isinstance(outcome, Skip)
    for form in outcome:
        parts = pack_form(form)
        again = unpack_form(parts)
        np.testing.assert_array_equal(again.dense(), form.dense())
        assert again.nbytes == form.nbytes
        assert bits_per_weight(form) == 8 * form.nbytes / np.prod(form.shape)
        assert stored_bytes([form, form]) == 2 * form.nbytes - sum(form.shared.values())


@pytest.mark.parametrize("name", [*sorted(methods()), "svd+binary", "prune+svd", "prune+binary", "prune+codebook"])
def test_rows_of_a_form_are_those_of_its_matrix(name: str) -> None:
    options = {option: value for part in name.split("+") for option, value in methods()[part].example.items()}
    outcome = make_methods(name, options).distort([weights()])["w"]
    assert not isinstance(outcome, Skip)
    for form in outcome:
        assert isinstance(form, Form)
        some = form.rows(3, 20)
        assert type(some) is type(form)
        assert some.nbytes < form.nbytes
        np.testing.assert_allclose(some.dense(), form.dense()[3:20], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [*sorted(methods()), "svd+binary", "prune+svd", "prune+binary", "prune+codebook"])
def test_a_form_takes_a_factor_a_row_or_says_that_it_cannot(name: str) -> None:
    options = {option: value for part in name.split("+") for option, value in methods()[part].example.items()}
    outcome = make_methods(name, options).distort([weights()])["w"]
    assert not isinstance(outcome, Skip)
    several, one = np.linspace(-2, 1, 48, dtype=np.float32), np.full(48, -3, dtype=np.float32)
    before = [form.dense() for form in outcome]
    for factors in ([several, one], [one, one]):
        found = scaled(outcome, np.stack(factors))
        if found is None:
            assert several in factors
            continue
        for form, new, dense, row in zip(outcome, found, before, factors, strict=True):
            assert type(new) is type(form)
            np.testing.assert_allclose(new.dense(), row[:, None] * dense, rtol=2e-6, atol=1e-6)
            np.testing.assert_array_equal(unpack_form(pack_form(new)).dense(), new.dense())
    np.testing.assert_array_equal(np.stack([form.dense() for form in outcome]), np.stack(before))


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_form_that_a_method_gives_can_be_lowered(name: str) -> None:
    outcome = example(name).distort([weights()])["w"]
    assert not isinstance(outcome, Skip)
    assert {form.kind for form in outcome} <= set(kinds())


@pytest.mark.parametrize("kind", PRIMITIVE)
def test_damaged_parts_are_refused(kind: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        forms()[kind].unpack({"left": np.zeros((3, 4), np.float32)})


def test_a_kind_that_nobody_knows_is_refused() -> None:
    parts = {"kind": np.frombuffer(b"mystery", dtype=np.uint8)}
    with pytest.raises(ValueError, match="no form is called 'mystery'"):
        unpack_form(parts)


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_a_form_is_spelled_the_same_everywhere(kind: str) -> None:
    row = kinds()[kind]
    assert forms()[kind] is row.form
    assert set(row.operators) <= set(operators())
    assert set(row.recurrent) <= set(FORMS)
    assert not row.recurrent or kind in row.recurrent


def test_lowering_nothing_changes_nothing() -> None:
    model = ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 17}), ir_version=9)
    assert lower(model, [], find_target("int2")) == []
    assert len(model.graph) == 0
    assert model.opset_imports[""] == 17
