"""The Free Spoken Digits one by one, as log-mel features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtc.models.datasets.batches import Batches, Ids, Split, cut, order_of
from dtc.models.datasets.folder import data_file
from dtc.models.datasets.recordings import RECORDINGS, Part, read_recordings
from dtc.models.speech_features import BANDS, log_mel

FRAMES = 48
"""Frames of a spoken digit: 0.98 seconds; 99 % of the clips are shorter."""


def spoken_digits(*, epoch: int = 0, seed: int = 0, batch_size: int = 32, split: Split = "train") -> Batches:
    """Yield the Free Spoken Digits: image float32 `[N, 1, 48, 40]`, log-mel features, labels `[N]`.

    Of the fifty takes of each digit by each speaker the first five are the test set, as is usual, and the next five
    the evaluation split. In training a clip begins up to 8 frames late, as (seed, epoch) decide.
    """
    for x, _, labels in _spoken(epoch, seed, batch_size, split):
        yield {"image": np.ascontiguousarray(x[:, None]), "labels": labels}


def spoken_digits_test(*, batch_size: int = 100) -> Batches:
    """Yield the 300 test clips in order."""
    for x, _, labels in _spoken(0, 0, batch_size, "test"):
        yield {"image": np.ascontiguousarray(x[:, None]), "labels": labels}


def spoken_frames(*, epoch: int = 0, seed: int = 0, batch_size: int = 32, split: Split = "train") -> Batches:
    """Yield the clips of `spoken_digits` frame by frame: x float32 `[48, N, 40]`, lengths int32 `[N]`, labels `[N]`."""
    for x, lengths, labels in _spoken(epoch, seed, batch_size, split):
        yield {"x": np.ascontiguousarray(x.transpose(1, 0, 2)), "lengths": lengths, "labels": labels}


def spoken_frames_test(*, batch_size: int = 100) -> Batches:
    """Yield the 300 test clips frame by frame, in order."""
    for x, lengths, labels in _spoken(0, 0, batch_size, "test"):
        yield {"x": np.ascontiguousarray(x.transpose(1, 0, 2)), "lengths": lengths, "labels": labels}


def _spoken(
    epoch: int, seed: int, batch_size: int, split: Part
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], Ids]]:
    """Yield features `[N, 48, 40]`, their lengths and the labels."""
    x, lengths, labels = _spoken_clips(data_file(RECORDINGS), split)
    rng = np.random.default_rng([seed, epoch, 1])
    order = order_of(len(labels), epoch, seed, "train" if split == "train" else "evaluate")
    for chosen in cut(order, batch_size):
        late = rng.integers(0, 9, len(chosen)) if split == "train" else np.zeros(len(chosen), np.int64)
        yield (
            _delayed(x[chosen], late),
            np.minimum(lengths[chosen] + late, FRAMES).astype(np.int32),
            labels[chosen],
        )


def _delayed(x: npt.NDArray[np.float32], late: Ids) -> npt.NDArray[np.float32]:
    # Frames 0 1 2 3, 1 late: 0 0 1 2, where the first of them is silence.
    places = np.arange(x.shape[1]) - late[:, None]
    moved = np.take_along_axis(x, np.maximum(places, 0)[:, :, None], axis=1)
    moved[places < 0] = 0
    return moved


@cache
def _spoken_clips(path: Path, part: Part) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], Ids]:
    """Return the features of all clips of a part `[clips, 48, 40]`, zeros behind their ends, lengths and labels."""
    recorded = read_recordings(path, part)
    clips = [log_mel(clip)[:FRAMES] for clip in recorded.clips]
    x = np.zeros((len(clips), FRAMES, BANDS), np.float32)
    for row, clip in zip(x, clips, strict=True):
        row[: len(clip)] = clip
    return x, np.array([len(clip) for clip in clips], np.int32), recorded.digits
