"""The digits of 8 x 8 that come with scikit-learn, as images and column by column."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtc.errors import DataError
from dtc.models.datasets.batches import Batches, Ids, Split, cut, order_of


def digits(*, epoch: int = 0, seed: int = 0, batch_size: int = 32, split: Split = "train") -> Batches:
    """Yield scikit-learn's digits: image float32 `[N, 1, 8, 8]` in 0..1, labels `[N]`.

    Every fifth of the 1,797 is held out for evaluation.
    """
    images, labels = _digits(split)
    for chosen in cut(order_of(len(labels), epoch, seed, split), batch_size):
        yield {"image": images[chosen][:, None], "labels": labels[chosen]}


def digits_test(*, batch_size: int = 360) -> Batches:
    """Yield the held-out digits in order."""
    yield from digits(batch_size=batch_size, split="evaluate")


def digit_columns(*, epoch: int = 0, seed: int = 0, batch_size: int = 32, split: Split = "train") -> Batches:
    """Yield the digits column by column: x float32 `[8, N, 8]`, lengths int32 `[N]`, labels `[N]`.

    The empty columns on both sides are left out, so that a narrow digit is a short sequence; zeros follow its end.
    """
    images, labels = _digits(split)
    for chosen in cut(order_of(len(labels), epoch, seed, split), batch_size):
        x, lengths = _columns(images[chosen])
        yield {"x": x, "lengths": lengths, "labels": labels[chosen]}


def digit_columns_test(*, batch_size: int = 360) -> Batches:
    """Yield the columns of the held-out digits in order."""
    yield from digit_columns(batch_size=batch_size, split="evaluate")


def digit_column_tags(*, epoch: int = 0, seed: int = 0, batch_size: int = 32, split: Split = "train") -> Batches:
    """Yield the batches of `digit_columns` with a label at each step, the digit: labels `[8, N]`, padding -1."""
    for batch in digit_columns(epoch=epoch, seed=seed, batch_size=batch_size, split=split):
        # lengths [2, 1] of two digits in 3 steps -> [[1, 1], [1, 0], [0, 0]], [steps, N]; labels [N] broadcast.
        inside = np.arange(len(batch["x"]))[:, None] < batch["lengths"].astype(np.int64)
        yield batch | {"labels": np.where(inside, batch["labels"], -1)}


def digit_column_tags_test(*, batch_size: int = 360) -> Batches:
    """Yield the tagged columns of the held-out digits in order."""
    yield from digit_column_tags(batch_size=batch_size, split="evaluate")


def _columns(images: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Return the columns `[8, N, 8]` of images `[N, 8, 8]` without the empty ones at both ends, and the lengths."""
    # A 1 fills columns 3 and 4 of 8: first 3, length 2, moved 3 4 5 6 7 7 7 7. Indices beyond the image read its last
    # column, and everything behind the length is zeroed.
    filled = np.any(images, axis=1, keepdims=True)[:, 0]  # [N, 8]
    first = np.argmax(filled, axis=1)
    # argmax of the reversed row: how many empty columns stand at the right end.
    lengths = images.shape[2] - np.argmax(filled[:, ::-1], axis=1) - first
    moved = np.minimum(np.arange(images.shape[2]) + first[:, None], images.shape[2] - 1)  # [N, 8]: taken from where
    columns = np.take_along_axis(images.transpose(0, 2, 1), moved[:, :, None], axis=1)
    columns[np.arange(images.shape[2]) >= lengths[:, None]] = 0
    return np.ascontiguousarray(columns.transpose(1, 0, 2)), lengths.astype(np.int32)


@cache
def _digits(split: Split) -> tuple[npt.NDArray[np.float32], Ids]:
    table = np.loadtxt(_digits_file(), delimiter=",", dtype=np.uint8)
    held_out = np.arange(len(table)) % 5 == 4
    chosen = table[held_out if split == "evaluate" else ~held_out]
    return (chosen[:, :-1].reshape(-1, 8, 8) / 16).astype(np.float32), chosen[:, -1].astype(np.int64)


def _digits_file() -> Path:
    """Return the file behind `sklearn.datasets.load_digits`; importing scikit-learn would take seconds."""
    package = find_spec("sklearn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return path
    raise DataError("the digits come with scikit-learn, which is missing: pip install 'dtc[examples]'")
