"""What a method declares of itself is so, for every method that is found."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from dtc.cli.app import app
from dtc.errors import UsageError
from dtc.passes.method import Method, Skip, Weights, make_method, methods
from dtc.passes.options import Compensation, flag, tried, tried_alone

NAMES = sorted(methods())
HEEDING = [name for name in NAMES if methods()[name].heeds_mask]
COMPENSATING = [name for name in NAMES if methods()[name].compensates]
RNG = np.random.default_rng(5)
MATRICES = RNG.normal(size=(2, 48, 40)).astype(np.float32)
NEIGHBOURS = np.triu(0.8 ** np.abs(np.subtract.outer(np.arange(40), np.arange(40))))
INPUTS = RNG.normal(size=(2, 400, 40)) @ NEIGHBOURS
"""Inputs that go with their neighbours, as pixels and features do: some can make up for others."""


def example(name: str, **options: object) -> Method:
    return make_method(name, {**methods()[name].example, **options})


def dense(name: str, weights: Weights, **options: object) -> np.ndarray:
    outcome = example(name, **options).distort([weights])["w"]
    assert not isinstance(outcome, Skip)
    return np.stack([form.dense() for form in outcome])


@pytest.mark.parametrize("name", NAMES)
def test_a_method_gives_the_form_that_it_says(name: str) -> None:
    outcome = example(name).distort([Weights("w", MATRICES, "node")])["w"]
    assert not isinstance(outcome, Skip)
    assert {type(form) for form in outcome} == {methods()[name].gives}


@pytest.mark.parametrize("name", HEEDING)
def test_pruned_weights_stay_zero_and_count_for_nothing(name: str) -> None:
    mask = RNG.random(MATRICES.shape) > 0.6
    kept = dense(name, Weights("w", np.where(mask, MATRICES, np.float32(0)), "node", mask=mask))
    assert (kept[~mask] == 0).all()
    loud = dense(name, Weights("w", np.where(mask, MATRICES, np.float32(100)), "node", mask=mask))
    np.testing.assert_allclose(kept, loud, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", COMPENSATING)
def test_errors_are_made_up_for_at_the_outputs(name: str) -> None:
    grams = np.stack([x.T @ x / len(x) for x in INPUTS])
    weights = Weights("w", MATRICES, "node", gram=lambda: grams)
    plain, made_up = (dense(name, weights, compensate=told) for told in (False, True))
    errors = [np.square(INPUTS @ (found - MATRICES).transpose(0, 2, 1)).sum() for found in (plain, made_up)]
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("name", COMPENSATING)
def test_making_up_for_errors_needs_samples_but_not_where_nothing_is_summed(name: str) -> None:
    method = example(name, compensate=True)
    assert "gram" in method.needs
    with pytest.raises(UsageError, match=r"--compensate needs samples of the inputs of 'node': give --data"):
        method.distort([Weights("w", MATRICES, "node")])
    # Unasked it is done where there are samples, and not where it would take minutes.
    unasked = example(name)
    assert "gram" in unasked.needs
    assert not isinstance(unasked.distort([Weights("w", MATRICES, "node")])["w"], Skip)
    asked_for = list[str]()

    def grams() -> np.ndarray:
        asked_for.append(name)
        return np.stack([np.eye(40)] * 2)

    unasked.distort([Weights("w", MATRICES, "node", gram=grams)])
    assert asked_for
    asked_for.clear()
    example(name, compensate=False).distort([Weights("w", MATRICES, "node", gram=grams)])
    wide = np.broadcast_to(np.float32(0.5), (1, 2, 10_000))
    assert unasked.moments(Weights("w", wide, "node", gram=grams)) is None
    assert not asked_for
    table = Weights("w", MATRICES, "node", is_table=True)
    np.testing.assert_array_equal(dense(name, table, compensate=True), dense(name, table))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_told_by_an_option_is_an_option(name: str) -> None:
    method = methods()[name]
    known = method.options_type.model_fields
    assert issubclass(method.options_type, Compensation) == bool(method.compensates)
    assert method.latent_option is None or method.latent_option in known
    assert set(method.options_type.one_of) <= set(known)
    assert method.paper


@pytest.mark.parametrize("name", NAMES)
def test_every_value_that_is_worth_trying_is_accepted(name: str) -> None:
    method = methods()[name]
    rates = {option: tried(field) for option, field in method.options_type.model_fields.items() if tried(field)}
    assert rates
    for option, values in rates.items():
        assert len(set(values)) == len(values) > 1
        rivals = method.options_type.one_of if option in method.options_type.one_of else ()
        by_itself = option in tried_alone(method.options_type)
        others = {} if by_itself else {key: value for key, value in method.example.items() if key not in rivals}
        for value in values:
            made = make_method(name, {**others, option: value}).options
            assert getattr(made, option) == value


@pytest.mark.parametrize("name", NAMES)
def test_the_help_page_tells_all_that_a_method_declares(name: str) -> None:
    method = methods()[name]
    told = CliRunner().invoke(app, ["methods", name])
    assert told.exit_code == 0
    page = " ".join(told.output.split())
    for words in (method.title, method.paper, method.gives.kind, *(method.compensates or "").split("\n")):
        assert words in page
    for option, field in method.options_type.model_fields.items():
        assert f"{flag(option)} " in page
        assert field.description is not None
        assert field.description in page
    command = page[page.index("dtc compress model.onnx") :].split()
    assert command[3:5] == ["--method", name]
    words = command[5:]
    assert dict(zip(words[::2], words[1::2], strict=True)) == {flag(k): str(v) for k, v in method.example.items()}


@pytest.mark.parametrize("name", NAMES)
def test_sites_that_are_taken_one_at_a_time_become_the_same_as_together(name: str) -> None:
    method = example(name)
    assert method.by_site  # as they are in their examples; others are given all at once
    sites = [Weights("w", MATRICES[:1], "a"), Weights("v", 2 * MATRICES[1:, :24], "b"), Weights("u", MATRICES[1:], "c")]
    together = method.distort(sites)
    for site in sites:
        alone = method.distort([site])[site.site]
        assert [form.pack().keys() for form in alone] == [form.pack().keys() for form in together[site.site]]
        for form, wanted in zip(alone, together[site.site], strict=True):
            np.testing.assert_array_equal(form.dense(), wanted.dense())
