"""CIFAR-10, photos of 32 x 32 in ten classes, from the folder `cifar10` of the data folder."""

from __future__ import annotations

import io
import lzma
import zipfile
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from dtc.errors import DataError
from dtc.models.datasets.batches import Batches, Ids, Split, cut, order_of
from dtc.models.datasets.folder import data_file

HELD_OUT = 1000
"""Training images that are kept for evaluation."""

_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def cifar10(*, epoch: int = 0, seed: int = 0, batch_size: int = 100, split: Split = "train") -> Batches:
    """Yield CIFAR-10: x float32 `[N, 3, 32, 32]` normalised by ImageNet's mean and deviation, labels `[N]`.

    Of the 20,000 training images that the data folder holds, the last 1,000 are the evaluation split. In training an
    image is mirrored or not, and shifted by up to 4 pixels, as (seed, epoch) decide.
    """
    images, labels = _cifar10("train")
    held_out = len(labels) - HELD_OUT
    if split == "evaluate":
        yield from _normalised(images, labels, np.arange(held_out, len(labels)), batch_size)
        return
    rng = np.random.default_rng([seed, epoch, 1])
    for chosen in cut(order_of(held_out, epoch, seed, split), batch_size):
        moved = _mirrored_and_shifted(images[chosen], rng)
        yield {"x": _scaled(moved), "labels": labels[chosen]}


def cifar10_plain(*, batch_size: int = 100, split: Split = "train") -> Batches:
    """Yield CIFAR-10 as `cifar10` does, the training images in order and as they are."""
    images, labels = _cifar10("train")
    held_out = len(labels) - HELD_OUT
    order = np.arange(held_out, len(labels)) if split == "evaluate" else np.arange(held_out)
    yield from _normalised(images, labels, order, batch_size)


def cifar10_photos(*, epoch: int = 0, seed: int = 0, batch_size: int = 100, split: Split = "train") -> Batches:
    """Yield `cifar10` for models whose input is called `image`."""
    for batch in cifar10(epoch=epoch, seed=seed, batch_size=batch_size, split=split):
        yield {"image": batch["x"], "labels": batch["labels"]}


def cifar10_photos_test(*, batch_size: int = 200) -> Batches:
    """Yield `cifar10_test` for models whose input is called `image`."""
    for batch in cifar10_test(batch_size=batch_size):
        yield {"image": batch["x"], "labels": batch["labels"]}


def cifar10_test(*, batch_size: int = 200) -> Batches:
    """Yield the 10,000 test images of CIFAR-10 in order."""
    images, labels = _cifar10("test")
    yield from _normalised(images, labels, np.arange(len(labels)), batch_size)


def _normalised(images: npt.NDArray[np.uint8], labels: Ids, order: Ids, batch_size: int) -> Batches:
    for chosen in cut(order, batch_size):
        yield {"x": _scaled(images[chosen]), "labels": labels[chosen]}


def _scaled(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return images `[N, 32, 32, 3]` as `[N, 3, 32, 32]`, normalised."""
    scaled = (images.astype(np.float32) / np.float32(255) - _IMAGENET_MEAN) / _IMAGENET_DEVIATION
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def _mirrored_and_shifted(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    # [N, 32, 32, 3] -> [N, 40, 40, 3], black around; a corner (0..8, 0..8) of 32x32 is a shift of -4..4 each way.
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)])
    corners, mirrored = rng.integers(0, 9, size=(len(images), 2)), rng.random(len(images)) < 0.5
    moved = np.stack([padded[i, y : y + 32, x : x + 32] for i, (y, x) in enumerate(corners)])
    moved[mirrored] = moved[mirrored, :, ::-1]
    return moved


@cache
def _cifar10(part: Literal["train", "test"]) -> tuple[npt.NDArray[np.uint8], Ids]:
    folder = data_file("cifar10")
    names = ["x_train_1", "x_train_2"] if part == "train" else ["x_test"]
    try:
        images = np.concatenate([_unpacked(folder / f"{name}.npy.xz") for name in names])
        with (folder / "labels.npz").open("rb") as file, np.load(file, allow_pickle=False) as archive:
            labels = archive[f"y_{part}"][: len(images)].astype(np.int64)
    except (OSError, ValueError, KeyError, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder}: not CIFAR-10 as {', '.join(names)}.npy.xz and labels.npz ({error})") from error
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or len(labels) != len(images):
        raise DataError(f"{folder}: images are {images.dtype} {list(images.shape)}, which is not CIFAR-10's")
    return images, labels


def _unpacked(path: Path) -> npt.NDArray[np.uint8]:
    with lzma.open(path) as file:
        array: npt.NDArray[np.uint8] = np.load(io.BytesIO(file.read()), allow_pickle=False)
    return array
