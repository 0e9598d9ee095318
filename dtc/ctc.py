"""Connectionist temporal classification: sequences of labels that the steps of an output spell.

A. Graves, S. Fernandez, F. Gomez, J. Schmidhuber, Connectionist temporal classification, ICML 2006. Class 0 is the
blank; a label is spelt by one step or several in a row, and two of the same label stand apart by a blank. A model that
is given padded sequences spells blanks behind their ends: every step of its output counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dtc.errors import DataError
from dtc.forms import AnyArray
from dtc.labels import PADDING

Doubles: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]

BLANK = 0
"""The class of a step that spells nothing."""


def checked_sequences(labels: AnyArray) -> Labels:
    """Return the labels of sequences, int64 `[N, L]`: classes from 1 on, -1 behind the last one of a sequence.

    Raises:
        DataError: They are none.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise DataError(f"sequences need integer labels [N, L]; these are {labels.dtype} {list(labels.shape)}")
    found: Labels = labels.astype(np.int64)
    if found.min(initial=1) < PADDING or (found == BLANK).any():
        raise DataError("a label of a sequence is 0, which is the blank, or below -1: classes are from 1 on")
    if (found[:, :-1] < found[:, 1:])[found[:, :-1] == PADDING].any():
        raise DataError("a label of a sequence stands behind padding (-1), which is to fill it up at its end alone")
    return found


def check_scores(shape: Sequence[int], labels: Labels) -> None:
    """Make sure that scores of a shape `[T, N, C]` are of the sequences that the labels `[N, L]` belong to.

    Raises:
        DataError: They are not.
    """
    if len(shape) != 3 or shape[1] != len(labels):
        raise DataError(
            f"outputs of shape {list(shape)} do not fit labels of shape {list(labels.shape)}; outputs "
            "[steps, N, classes] need labels [N, L]"
        )
    if labels.max(initial=BLANK) >= shape[2]:
        raise DataError(f"label {labels.max()} is none of the {shape[2]} classes")


def steps_needed(labels: Labels) -> Labels:
    """Return how many steps each sequence takes at the least, `[N]`: one a label, and a blank between equal ones."""
    told = labels != PADDING
    return np.asarray(told.sum(axis=1) + ((labels[:, 1:] == labels[:, :-1]) & told[:, 1:]).sum(axis=1))


def decode(scores: AnyArray) -> list[Labels]:
    """Return the labels that the best class of each step spells, one array a sequence; scores `[T, N, C]`.

    A step with NaN is a blank.
    """
    best = np.where(np.isnan(scores).any(axis=-1), BLANK, scores.argmax(axis=-1)).astype(np.int64)
    # Steps 0 3 3 0 3 5: a label begins where a class is no blank, and not the one before it: 3 3 5.
    before = np.concatenate([np.full((1, best.shape[1]), BLANK), best[:-1]])
    begins = (best != BLANK) & (best != before)
    return [best[begins[:, n], n] for n in range(best.shape[1])]


def edit_distance(found: Labels, right: Labels) -> int:
    """Return how many labels at the least are inserted, deleted or replaced to make `right` of `found`."""
    places = np.arange(len(right) + 1)
    # Distances of the first labels found from each beginning of the right ones; without any, all of them are inserted.
    row = places
    for label in found:
        replaced = row[:-1] + (right != label)
        best = np.concatenate([[row[0] + 1], np.minimum(row[1:] + 1, replaced)])
        # Insertions go on from any place before at 1 each: a running minimum, once the places are taken off.
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def log_likelihood(scores: AnyArray, labels: AnyArray) -> Doubles:
    """Return the log-likelihood of each sequence, `[N]`, in nats: of all ways to spell it, in float64.

    Scores `[T, N, C]` are logits, or probabilities (non-negative with sum 1 within 1e-3); labels integer `[N, L]`, as
    `checked_sequences` has them. It is minus infinity where the steps are too few.

    Raises:
        DataError: The two do not belong together.
    """
    wanted = checked_sequences(labels)
    check_scores(scores.shape, wanted)
    # 1. What is walked through: blank, first label, blank, ..., last label, blank; [N, S], padding is never reached.
    states = np.full((len(wanted), 2 * wanted.shape[1] + 1), BLANK)
    states[:, 1::2] = np.maximum(wanted, BLANK)
    # A blank is left out between labels that differ.
    leaps = (states[:, 2:] != BLANK) & (states[:, 2:] != states[:, :-2])
    emitted = np.take_along_axis(_log_probabilities(scores), states[None], axis=2)
    # 2. Likelihood of all beginnings that end in each state, step by step: from it, the one before, or two before.
    reached = np.full(states.shape, -np.inf)
    for step, each in enumerate(emitted):
        if step == 0:
            reached[:, :2] = each[:, :2]
            continue
        found = reached.copy()
        found[:, 1:] = np.logaddexp(found[:, 1:], reached[:, :-1])
        found[:, 2:] = np.where(leaps, np.logaddexp(found[:, 2:], reached[:, :-2]), found[:, 2:])
        reached = found + each
    # 3. The end is the last label, or the blank behind it.
    count = (wanted != PADDING).sum(axis=1)
    rows = np.arange(len(wanted))
    with_label = np.where(count > 0, reached[rows, np.maximum(2 * count - 1, 0)], -np.inf)
    return np.asarray(np.logaddexp(with_label, reached[rows, 2 * count]))


def _log_probabilities(scores: AnyArray) -> Doubles:
    wide = scores.astype(np.float64)
    with np.errstate(divide="ignore"):
        if wide.size and wide.min() >= 0 and np.all(np.abs(wide.sum(axis=-1) - 1) <= 1e-3):
            return np.asarray(np.log(wide))
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
