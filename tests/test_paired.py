"""How certain the difference of two models is, against draws of many sets of samples, and against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dtc.checking import CheckOptions
from dtc.checking.metric import PairMetric
from dtc.metrics import make_metric
from dtc.paired import in_blocks, of_samples, of_streams, paired_error
from dtc.recipe import Objective


def test_samples_that_both_models_have_right_tell_nothing_of_the_difference() -> None:
    before = np.ones((100, 2))
    after = before.copy()
    after[:4, 0] = 0  # 4 of 100 are wrong now
    found = paired_error(make_metric("accuracy"), before, after, of_samples)
    # The variance of 0 and 1 of which 4 % are 1, and a sample as the finest that 100 of them tell.
    assert found.drop == pytest.approx(math.sqrt(0.04 * 0.96 / 99 + 0.01**2))
    assert found.share == pytest.approx(found.drop, rel=0.02)
    same = paired_error(make_metric("accuracy"), before, before, of_samples)
    assert (same.drop, same.samples) == (0.01, 100)
    assert paired_error(make_metric("accuracy"), before[:1], after[:1], of_samples).drop == math.inf


@pytest.mark.parametrize("name", ["accuracy", "perplexity", "mse", "snr"])
def test_the_error_is_the_spread_over_other_samples(name: str) -> None:
    rng = np.random.default_rng(0)
    drops, shares, errors = [], [], []
    for _ in range(150):
        logits = rng.normal(size=(300, 5))
        near = logits + 0.5 * rng.normal(size=logits.shape)
        labels = logits + rng.normal(size=logits.shape)
        classes = labels.argmax(axis=1) if name in ("accuracy", "perplexity") else labels
        metric = make_metric(name)
        terms = [metric.terms(outputs, classes) for outputs in (logits, near)]
        before, after = (metric.of(*each.sum(axis=0)) for each in terms)
        errors.append(paired_error(metric, *terms, of_samples))
        drops.append(after - before)
        shares.append(after / before)
    assert np.mean([each.drop for each in errors]) == pytest.approx(np.std(drops), rel=0.2)
    assert np.mean([each.share for each in errors]) == pytest.approx(np.std(shares), rel=0.2)


@pytest.mark.parametrize(
    ("steps", "beside", "alike"), [(128, 32, 40), (128, 32, 1), (4000, 1, 60), (1000, 4, 40), (2000, 1, 1)]
)
def test_the_error_of_a_stream_counts_that_neighbours_are_alike(steps: int, beside: int, alike: int) -> None:
    rng = np.random.default_rng(0)
    before, drops, errors = np.ones((steps * beside, 2)), [], []
    for _ in range(100):
        # What is wrong is so in a run of `alike` steps or so; streams lie side by side in a batch.
        runs = rng.random((beside, steps // alike + 2)) < 0.05
        starts = rng.integers(alike, size=beside)
        streams = [np.repeat(run, alike)[start:][:steps] for run, start in zip(runs, starts, strict=True)]
        after = before.copy()
        after[:, 0] = 1 - np.stack(streams, axis=1).ravel()
        errors.append(paired_error(make_metric("accuracy"), before, after, of_streams([beside] * steps)).drop)
        drops.append(1 - after[:, 0].mean())
    assert 0.85 < np.sqrt(np.mean(np.square(errors))) / np.std(drops) < 1.35


def test_terms_of_neighbours_are_summed_and_steps_of_a_sequence_count_once() -> None:
    terms = np.random.default_rng(0).random((640, 2))
    assert in_blocks(terms, 64).shape == (64, 2)
    assert in_blocks(terms, 64).sum() == pytest.approx(terms.sum())
    assert in_blocks(terms[:5], 64).shape == (5, 2)
    # Two sequences of 3 and 1 steps: two samples, and what is behind the second one's end does not count.
    metric = PairMetric(CheckOptions(objective=Objective(lengths="lengths", metric="mse")))
    outputs, labels = {"y": np.ones((3, 2, 1))}, np.zeros((3, 2, 1))
    labels[1:, 1] = 9
    metric.update(outputs, {"y": np.full((3, 2, 1), 2.0)}, {"labels": labels, "lengths": np.array([3, 1])})
    change = metric.change("")
    assert (change.before, change.after, change.count) == (1, 4, 2)


def test_one_score_a_sample_is_a_class_or_its_absence() -> None:
    scores = np.array([[0.9], [0.2], [0.6], [0.4]], np.float32)
    for labels in (np.array([1, 0, 0, 1]), np.array([[1], [0], [0], [1]])):
        metric = make_metric("accuracy")
        metric.update(scores, labels)
        assert metric.value() == 0.5
    above = make_metric("accuracy@0.5")
    above.update(scores[:, 0], np.array([1, 0, 1, -1]))
    assert (above.value(), above.name) == (1, "accuracy@0.5")
    with pytest.raises(Exception, match=r"say --metric accuracy@0 for scores"):
        make_metric("accuracy").update(scores - 1, np.array([1, 0, 0, 1]))
    # Without labels: how often both are on the same side.
    pair = PairMetric(CheckOptions(objective=Objective(metric="accuracy")))
    pair.update({"p": scores}, {"p": np.array([[0.8], [0.7], [0.6], [0.1]], np.float32)}, {})
    assert pair.change("").after == 0.75
