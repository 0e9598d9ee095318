"""MNIST, handwritten digits of 28 x 28, from `mnist.npz` in the data folder."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dtc.errors import DataError
from dtc.models.datasets.batches import Batches, Ids, Split, cut, order_of
from dtc.models.datasets.folder import data_file

HELD_OUT = 5000
"""Training images that are kept for evaluation."""


def mnist(*, epoch: int = 0, seed: int = 0, batch_size: int = 50, split: Split = "train") -> Batches:
    """Yield MNIST: image float32 `[N, 1, 28, 28]` in 0..1, labels `[N]`; 55,000 for training, shuffled each epoch.

    The evaluation split is the last 5,000 of the training images, in order, so that nothing is chosen by the test set.
    """
    data = _mnist(data_file("mnist.npz"))
    held_out = len(data["y_train"]) - HELD_OUT
    order = np.arange(held_out, len(data["y_train"])) if split == "evaluate" else order_of(held_out, epoch, seed, split)
    yield from _images(data["x_train"], data["y_train"], order, batch_size)


def mnist_test(*, batch_size: int = 500) -> Batches:
    """Yield the 10,000 test images of MNIST in order."""
    data = _mnist(data_file("mnist.npz"))
    yield from _images(data["x_test"], data["y_test"], np.arange(len(data["y_test"])), batch_size)


def _images(x: npt.NDArray[np.uint8], y: npt.NDArray[np.uint8], order: Ids, batch_size: int) -> Batches:
    for chosen in cut(order, batch_size):
        image = x[chosen].astype(np.float32)[:, None] / np.float32(255)
        yield {"image": image, "labels": y[chosen].astype(np.int64)}


@cache
def _mnist(path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    wanted = {"x_train": 3, "y_train": 1, "x_test": 3, "y_test": 1}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in wanted}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not MNIST as .npz with {', '.join(wanted)} ({error})") from error
    for name, rank in wanted.items():
        # Labels have no sides; 28x28 stands in, so that one condition serves images and labels.
        sides = arrays[name].shape[1:] if rank == 3 else (28, 28)
        matching = len(arrays[name]) == len(arrays[name.replace("x_", "y_")])
        if arrays[name].dtype != np.uint8 or arrays[name].ndim != rank or sides != (28, 28) or not matching:
            raise DataError(f"{path}: {name} is {arrays[name].dtype} {list(arrays[name].shape)}, which is not MNIST's")
    return arrays
