"""Sequences of spoken digits: clips of the Free Spoken Digits, joined end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dtc.forms import Array
from dtc.models.datasets.batches import Batches, Ids, Split, cut, order_of
from dtc.models.datasets.folder import data_file
from dtc.models.datasets.recordings import RECORDINGS, Part, Recordings, read_recordings
from dtc.models.speech_features import BANDS, log_mel

SHORTEST, LONGEST = 2, 5
"""Digits of a sequence."""

_ROUNDS = 4
"""How often each clip is in the sequences to evaluate and to test by: beside other ones."""


class _Spoken(NamedTuple):
    """A sequence: features `[frames, 40]`, and the digits."""

    frames: Array
    digits: Ids


def spoken_sequences(*, epoch: int = 0, seed: int = 0, batch_size: int = 32, split: Split = "train") -> Batches:
    """Yield sequences of two to five digits by one speaker: x float32 `[N, 1, T, 40]`, log-mel features.

    T is the longest of the batch, and lengths int32 `[N]` tell where each ends. labels `[N, 5]` are the digits plus 1,
    because 0 is the blank, and -1 behind the last. An epoch has each training clip once; (seed, epoch) decide which
    clips are joined. Those to evaluate by are always the same, each clip in four of them. Clips are split as those of
    `spoken_digits` are.
    """
    recorded = read_recordings(data_file(RECORDINGS), split)
    found = (
        [_spoken(recorded, each) for each in _joined(recorded, [seed, epoch])] if split == "train" else _fixed(split)
    )
    yield from _batches(found, order_of(len(found), epoch, seed, split), batch_size)


def spoken_sequences_test(*, batch_size: int = 100) -> Batches:
    """Yield sequences of the 300 test clips, each clip in four of them, in order."""
    found = _fixed("test")
    yield from _batches(found, np.arange(len(found)), batch_size)


def _fixed(part: Part) -> Sequence[_Spoken]:
    return _fixed_of(data_file(RECORDINGS), part)


@cache
def _fixed_of(path: Path, part: Part) -> Sequence[_Spoken]:
    recorded = read_recordings(path, part)
    return [_spoken(recorded, each) for number in range(_ROUNDS) for each in _joined(recorded, [number])]


def _joined(recorded: Recordings, seed: Sequence[int]) -> Iterator[Ids]:
    """Yield which clips are joined: each once, but for a last one that a speaker has left."""
    rng = np.random.default_rng(seed)
    for speaker in np.unique(recorded.speakers):
        clips = rng.permutation(np.flatnonzero(recorded.speakers == speaker))
        while len(clips) >= SHORTEST:
            size = int(rng.integers(SHORTEST, LONGEST + 1))
            yield clips[:size]
            clips = clips[size:]


def _spoken(recorded: Recordings, clips: Ids) -> _Spoken:
    return _Spoken(log_mel(np.concatenate([recorded.clips[i] for i in clips])), recorded.digits[clips])


def _batches(found: Sequence[_Spoken], order: Ids, batch_size: int) -> Batches:
    for chosen in cut(order, batch_size):
        lengths = np.array([len(found[i].frames) for i in chosen], np.int32)
        x = np.zeros((len(chosen), 1, lengths.max(), BANDS), np.float32)
        labels = np.full((len(chosen), LONGEST), -1)
        for row, i in enumerate(chosen):
            x[row, 0, : lengths[row]] = found[i].frames
            labels[row, : len(found[i].digits)] = found[i].digits + 1
        yield {"x": x, "lengths": lengths, "labels": labels}
