"""The Penn Treebank, word by word and letter by letter, from the folder `ptb` of the data folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from dtc.errors import DataError
from dtc.models.datasets.batches import Batches, Ids, Split
from dtc.models.datasets.folder import data_file

LETTERS, LETTERS_HELD_OUT = 40_000, 5_000
"""Letters of the training text that `ptb_letters` trains on, and of the other two that it is evaluated on."""

EVALUATION_STEPS = 256
"""Words of a chunk where nothing is trained; state is carried, so the size does not change the result."""


def ptb(*, batch_size: int = 20, split: Split = "train") -> Batches:
    """Yield the Penn Treebank in chunks of 35 words: ids and labels (the next words) int64 `[T, N]`.

    The text is one stream, cut into `batch_size` columns that are read side by side: state must be carried from batch
    to batch, and the order is the same in every epoch. Words at the end that fill no chunk are left out. The evaluation
    split is `ptb_valid`.
    """
    yield from _training_text(35, batch_size, split)


def ptb_30(*, batch_size: int = 20, split: Split = "train") -> Batches:
    """Yield the Penn Treebank as `ptb` does, in chunks of 30 words."""
    yield from _training_text(30, batch_size, split)


def ptb_20(*, batch_size: int = 20, split: Split = "train") -> Batches:
    """Yield the Penn Treebank as `ptb` does, in chunks of 20 words."""
    yield from _training_text(20, batch_size, split)


def ptb_valid() -> Batches:
    """Yield the validation text as one stream of one column, whole: ids and labels `[T, 1]`; state must be carried."""
    yield from _chunks(_ptb(data_file("ptb"), "valid"), EVALUATION_STEPS, 1)


def ptb_test() -> Batches:
    """Yield the test text as one stream of one column, whole: ids and labels `[T, 1]`; state must be carried."""
    yield from _chunks(_ptb(data_file("ptb"), "test"), EVALUATION_STEPS, 1)


def ptb_letters(*, batch_size: int = 20, split: Split = "train") -> Batches:
    """Yield the first letters of the Penn Treebank in chunks of 20, as `ptb` does its words; there are 50 letters.

    The evaluation split is the beginning of the validation text, whole, as one column.
    """
    if split == "evaluate":
        yield from _chunks(_letters(data_file("ptb"), "valid")[:LETTERS_HELD_OUT], EVALUATION_STEPS, 1)
    else:
        yield from _chunks(_letters(data_file("ptb"), "train")[:LETTERS], 20, batch_size)


def ptb_letters_test() -> Batches:
    """Yield the first letters of the test text as one stream of one column; state must be carried."""
    yield from _chunks(_letters(data_file("ptb"), "test")[:LETTERS_HELD_OUT], EVALUATION_STEPS, 1)


def _training_text(steps: int, batch_size: int, split: Split) -> Batches:
    if split == "evaluate":
        yield from ptb_valid()
        return
    words = _ptb(data_file("ptb"), "train")
    if len(words) // batch_size <= steps:
        raise DataError(f"a batch size of {batch_size} leaves columns of {len(words) // batch_size} words; too few")
    # The last chunk is left out where it is short, so that every training step has the same weight.
    yield from (batch for batch in _chunks(words, steps, batch_size) if len(batch["ids"]) == steps)


def _chunks(words: Ids, steps: int, columns: int) -> Batches:
    """Cut a text into columns and yield chunks of rows, the last one as short as it comes."""
    # Words 0 ... 10 in 2 columns: length 5, words beyond 2 * 5 are left out; stream [5, 2] is [[0, 5], [1, 6], ..., [4,
    # 9]]. Chunks of 3 steps: ids are rows 0..2 with labels rows 1..3, then row 3 with label row 4. A column goes on
    # where the chunk before it stopped, which is why state may be carried.
    length = len(words) // columns
    stream = words[: length * columns].reshape(columns, length).T
    for start in range(0, length - 1, steps):
        end = min(start + steps, length - 1)
        ids, labels = stream[start:end], stream[start + 1 : end + 1]
        yield {"ids": np.ascontiguousarray(ids), "labels": np.ascontiguousarray(labels)}


@cache
def _ptb(folder: Path, part: str) -> Ids:
    """Return a text as word numbers; the vocabulary is the words of the training text as they first appear."""
    # Validation and test texts use the numbers of the training text, and hold no other words (10,000 in all).
    numbers = {word: index for index, word in enumerate(dict.fromkeys(_words(folder, "train")))}
    try:
        return np.array([numbers[word] for word in _words(folder, part)], np.int64)
    except KeyError as error:
        raise DataError(f"{folder}: ptb.{part}.txt holds the word {error}, which ptb.train.txt does not") from error


@cache
def _letters(folder: Path, part: str) -> Ids:
    """Return a text as numbers of letters, which are in the order of their codes."""
    known, letters = (np.frombuffer(_text(folder, each).encode(), np.uint8) for each in ("train", part))
    # Counted by code, not sorted: the text has five million letters of fifty kinds.
    is_known, is_there = (np.bincount(each, minlength=256) > 0 for each in (known, letters))
    if strangers := np.flatnonzero(is_there & ~is_known).tolist():
        raise DataError(
            f"{folder}: ptb.{part}.txt holds the letter {chr(strangers[0])!r}, which ptb.train.txt does not"
        )
    return (np.cumsum(is_known) - 1)[letters]


@cache
def _words(folder: Path, part: str) -> list[str]:
    return _text(folder, part).replace("\n", " <eos> ").split()


def _text(folder: Path, part: str) -> str:
    path = folder / f"ptb.{part}.txt"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
