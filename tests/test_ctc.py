"""What steps spell, its likelihood over all ways to spell it, and how far it is from what was to be spelt."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtc.ctc import checked_sequences, decode, edit_distance, log_likelihood, steps_needed
from dtc.errors import DataError

RNG = np.random.default_rng(3)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    """What a path spells, by the rule: equal neighbours are one, then blanks go."""
    return tuple(label for label, _ in itertools.groupby(path) if label)


def padded(*sequences: tuple[int, ...]) -> np.ndarray:
    labels = np.full((len(sequences), max(map(len, sequences))), -1)
    for row, each in zip(labels, sequences, strict=True):
        row[: len(each)] = each
    return labels


def test_steps_spell_what_the_rule_says() -> None:
    paths = [(0, 1, 1, 0, 1), (2, 2, 2, 2, 2), (0, 0, 0, 0, 0), (1, 2, 1, 1, 2)]
    scores = np.eye(3, dtype=np.float32)[np.array(paths).T]
    assert [each.tolist() for each in decode(scores)] == [[1, 1], [2], [], [1, 2, 1, 2]]
    scores[2, 1, 1] = np.nan  # a blank amid the label: it is there twice
    assert decode(scores)[1].tolist() == [2, 2]


def test_the_likelihood_is_the_sum_over_all_paths() -> None:
    sequences = [(), (1,), (1, 2), (2, 2), (1, 1, 1)]
    logits = RNG.normal(size=(4, len(sequences), 3)).astype(np.float32)
    odds = np.exp(logits.astype(np.float64))
    odds /= odds.sum(axis=-1, keepdims=True)
    expected = []
    for number, sequence in enumerate(sequences):
        paths = [path for path in itertools.product(range(3), repeat=4) if collapsed(path) == sequence]
        total = sum(math.prod(odds[step, number, each] for step, each in enumerate(path)) for path in paths)
        expected.append(math.log(total) if total else -math.inf)
    assert expected[-1] == -math.inf  # three equal labels and the blanks between them take five steps
    np.testing.assert_allclose(log_likelihood(logits, padded(*sequences)), expected, rtol=1e-9)
    np.testing.assert_allclose(log_likelihood(odds, padded(*sequences)), expected, rtol=1e-9)


def test_how_many_steps_labels_need() -> None:
    assert steps_needed(padded((), (1, 2), (2, 2), (1, 1, 1))).tolist() == [0, 2, 3, 5]


@given(st.lists(st.integers(1, 3), max_size=6), st.lists(st.integers(1, 3), max_size=6))
def test_edit_distance_is_levenshteins(found: list[int], right: list[int]) -> None:
    table = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(right) + 1)] for i in range(len(found) + 1)]
    for i, j in itertools.product(range(1, len(found) + 1), range(1, len(right) + 1)):
        replaced = table[i - 1][j - 1] + (found[i - 1] != right[j - 1])
        table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, replaced)
    assert edit_distance(np.array(found, np.int64), np.array(right, np.int64)) == table[-1][-1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([1, 2]), r"sequences need integer labels \[N, L\]; these are int64 \[2\]"),
        (np.zeros((1, 2), np.float32), "these are float32"),
        (np.array([[1, 0]]), "0, which is the blank"),
        (np.array([[-2, 1]]), "below -1"),
        (np.array([[-1, 1]]), "behind padding"),
    ],
)
def test_labels_that_are_no_sequences_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked_sequences(labels)


def test_scores_and_labels_have_to_fit() -> None:
    scores = np.zeros((4, 2, 3), np.float32)
    with pytest.raises(DataError, match=r"outputs of shape \[4, 2, 3\] do not fit labels of shape \[1, 2\]"):
        log_likelihood(scores, np.array([[1, 2]]))
    with pytest.raises(DataError, match="label 3 is none of the 3 classes"):
        log_likelihood(scores, np.array([[1, 2], [3, -1]]))
