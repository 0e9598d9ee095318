"""What an engine promises beyond gradients: dropout, masks, carried state, frozen weights, bit-identical repetition."""

from __future__ import annotations

import pytest
from engine_process import Results, refused


@pytest.fixture
def results(cases):
    return Results(cases("promise_cases.py"))


def test_dropout_keeps_the_mean_and_drops_the_share(results):
    found = results["dropout"]
    # 4000 draws: the share dropped is within five standard deviations of 0.3.
    assert found["dropped"] == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / 4000) ** 0.5)
    assert found["values"] == pytest.approx([0, 1 / 0.7])


def test_the_seed_alone_decides_on_dropout(results):
    assert results["dropout"]["same"] is True
    # Independent masks agree with probability 0.3 * 0.3 + 0.7 * 0.7.
    assert results["dropout"]["agreement"] == pytest.approx(0.58, abs=0.04)


def test_no_dropout_in_evaluation(results):
    assert results["dropout"]["predicted"] == 4000
    assert results["dropout"]["evaluated"] == pytest.approx(3999.5**2, rel=1e-5)


@pytest.mark.parametrize("case", ["steps first", "steps first, square", "samples first", "samples first, square"])
def test_steps_beyond_a_length_do_not_count(results, case):
    found = results[case]
    assert found["evaluated"] == pytest.approx(found["expected"], rel=1e-5)
    assert found["stepped"] == pytest.approx([found["expected"]] * 2, rel=1e-5)


def test_carried_state_joins_chunks(results):
    found = results["carry"]
    assert found["halves"] == pytest.approx(found["whole"], rel=1e-5)
    assert found["state"] < 1e-5 < found["moved"]


def test_freeze_takes_globs(results):
    assert results["freeze"]["parameters"] == ["fc1.weight", "fc2.bias", "fc2.weight"]
    assert results["freeze"]["frozen"]["conv2.bias"] == "frozen by the option 'conv*'"


def test_distillation_compares_with_the_teacher_given(results):
    assert results["teacher"] == {"taught": 4000.0**2, "before": 0, "after": 2000.0**2}


@pytest.mark.parametrize("case", ["labels and teacher, classes", "labels and teacher, numbers"])
def test_the_teacher_beside_labels_is_added_in_training_alone(results, case):
    found = results[case]
    alone, distilled, both = found["losses"]
    assert distilled > 0.1
    assert both == pytest.approx(alone + 0.25 * distilled, rel=1e-5)
    assert found["apart"] < 1e-4
    assert found["evaluated"] == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("model", ["language", "lenet", "lookup"])
def test_some_steps_at_two_threads_are_the_same_bits(results, model):
    first, second = results["deterministic"][model]
    assert len(set(first)) == 8
    assert first == second


def test_float16_is_trained_or_refused_with_the_weight(cases):
    found = cases("promise_cases.py")["float16"]
    assert found == ["w"] or (refused(found) and ("'w'" in found or "'out'" in found))
