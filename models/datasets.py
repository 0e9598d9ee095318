"""The public data sets of the reference models, as functions of batches for `--data dtc.models.datasets:NAME`.

A function here takes keyword arguments of its choice among `epoch`, `seed`, `batch_size` and `split` ("train" or
"evaluate") and yields dicts of arrays named like the inputs of the model, the labels under "labels". MNIST and the Penn
Treebank are read from the folder that the environment variable DTC_DATA names; the digits come with scikit-learn.
"""

from __future__ import annotations

import io
import lzma
import os
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dtc.errors import DataError
from dtc.models.speech_features import BANDS, log_mel

Batches: TypeAlias = "Iterator[dict[str, npt.NDArray[np.generic]]]"
Ids: TypeAlias = npt.NDArray[np.int64]
Split: TypeAlias = Literal["train", "evaluate"]

MNIST_HELD_OUT = 5000
"""Training images of MNIST that are kept for evaluation."""

CIFAR_HELD_OUT = 1000
"""Training images of CIFAR-10 that are kept for evaluation."""

_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

SPOKEN_FRAMES = 48
"""Frames of a spoken digit: 0.98 seconds; 99 % of the clips are shorter."""

LETTERS, LETTERS_HELD_OUT = 40_000, 5_000
"""Letters of the training text that `ptb_letters` trains on, and of the other two that it is evaluated on."""

EVALUATION_STEPS = 256
"""Words of a chunk where nothing is trained; state is carried, so the size does not change the result."""


def mnist(*, epoch: int = 0, seed: int = 0, batch_size: int = 50, split: Split = "train") -> Batches:
    """Yield MNIST: image float32 `[N, 1, 28, 28]` in 0..1, labels `[N]`; 55,000 for training, shuffled each epoch.

    The evaluation split is the last 5,000 of the training images, in order, so that nothing is chosen by the test set.
    """
    data = _mnist(data_file("mnist.npz"))
    held_out = len(data["y_train"]) - MNIST_HELD_OUT
    order = np.arange(held_out, len(data["y_train"])) if split == "evaluate" else _order(held_out, epoch, seed, split)
    yield from _images(data["x_train"], data["y_train"], order, batch_size)


def mnist_test(*, batch_size: int = 500) -> Batches:
    """Yield the 10,000 test images of MNIST in order."""
    data = _mnist(data_file("mnist.npz"))
    yield from _images(data["x_test"], data["y_test"], np.arange(len(data["y_test"])), batch_size)


def cifar10(*, epoch: int = 0, seed: int = 0, batch_size: int = 100, split: Split = "train") -> Batches:
    """Yield CIFAR-10: x float32 `[N, 3, 32, 32]` normalised by ImageNet's mean and deviation, labels `[N]`.

    Of the 20,000 training images that the data folder holds, the last 1,000 are the evaluation split. In training an
    image is mirrored or not, and shifted by up to 4 pixels, as (seed, epoch) decide.
    """
    images, labels = _cifar10("train")
    held_out = len(labels) - CIFAR_HELD_OUT
    if split == "evaluate":
        yield from _normalised(images, labels, np.arange(held_out, len(labels)), batch_size)
        return
    rng = np.random.default_rng([seed, epoch, 1])
    for chosen in _cut(_order(held_out, epoch, seed, split), batch_size):
        moved = _mirrored_and_shifted(images[chosen], rng)
        yield {"x": _scaled(moved), "labels": labels[chosen]}


def cifar10_plain(*, batch_size: int = 100, split: Split = "train") -> Batches:
    """Yield CIFAR-10 as `cifar10` does, the training images in order and as they are."""
    images, labels = _cifar10("train")
    held_out = len(labels) - CIFAR_HELD_OUT
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


def digits(*, epoch: int = 0, seed: int = 0, batch_size: int = 32, split: Split = "train") -> Batches:
    """Yield scikit-learn's digits: image float32 `[N, 1, 8, 8]` in 0..1, labels `[N]`.

    Every fifth of the 1,797 is held out for evaluation.
    """
    images, labels = _digits(split)
    for chosen in _cut(_order(len(labels), epoch, seed, split), batch_size):
        yield {"image": images[chosen][:, None], "labels": labels[chosen]}


def digits_test(*, batch_size: int = 360) -> Batches:
    """Yield the held-out digits in order."""
    yield from digits(batch_size=batch_size, split="evaluate")


def digit_columns(*, epoch: int = 0, seed: int = 0, batch_size: int = 32, split: Split = "train") -> Batches:
    """Yield the digits column by column: x float32 `[8, N, 8]`, lengths int32 `[N]`, labels `[N]`.

    The empty columns on both sides are left out, so that a narrow digit is a short sequence; zeros follow its end.
    """
    images, labels = _digits(split)
    for chosen in _cut(_order(len(labels), epoch, seed, split), batch_size):
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


def _images(x: npt.NDArray[np.uint8], y: npt.NDArray[np.uint8], order: Ids, batch_size: int) -> Batches:
    for chosen in _cut(order, batch_size):
        image = x[chosen].astype(np.float32)[:, None] / np.float32(255)
        yield {"image": image, "labels": y[chosen].astype(np.int64)}


def _spoken(
    epoch: int, seed: int, batch_size: int, split: Split | Literal["test"]
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], Ids]]:
    """Yield features `[N, 48, 40]`, their lengths and the labels."""
    x, lengths, labels = _spoken_clips(data_file("fsdd_8khz.npz"), split)
    rng = np.random.default_rng([seed, epoch, 1])
    order = _order(len(labels), epoch, seed, "train" if split == "train" else "evaluate")
    for chosen in _cut(order, batch_size):
        late = rng.integers(0, 9, len(chosen)) if split == "train" else np.zeros(len(chosen), np.int64)
        yield (
            _delayed(x[chosen], late),
            np.minimum(lengths[chosen] + late, SPOKEN_FRAMES).astype(np.int32),
            labels[chosen],
        )


def _delayed(x: npt.NDArray[np.float32], late: Ids) -> npt.NDArray[np.float32]:
    # Frames 0 1 2 3, 1 late: 0 0 1 2, where the first of them is silence.
    places = np.arange(x.shape[1]) - late[:, None]
    moved = np.take_along_axis(x, np.maximum(places, 0)[:, :, None], axis=1)
    moved[places < 0] = 0
    return moved


def _normalised(images: npt.NDArray[np.uint8], labels: Ids, order: Ids, batch_size: int) -> Batches:
    for chosen in _cut(order, batch_size):
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


def _cut(order: Ids, batch_size: int) -> Iterator[Ids]:
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _order(count: int, epoch: int, seed: int, split: Split) -> Ids:
    """Return the order of the samples: for training a permutation that (seed, epoch) alone decide on."""
    return np.arange(count) if split == "evaluate" else np.random.default_rng([seed, epoch]).permutation(count)


def data_file(name: str) -> Path:
    """Return a file or folder of the data folder.

    Raises:
        DataError: It is not there, or DTC_DATA is not set.
    """
    folder = os.environ.get("DTC_DATA")
    if not folder:
        raise DataError(f"the environment variable DTC_DATA is not set; it must name the folder that holds {name}")
    path = Path(folder) / name
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; put {name} there or set DTC_DATA to where it is")
    return path


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


@cache
def _spoken_clips(
    path: Path, split: Split | Literal["test"]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], Ids]:
    """Return the features of all clips of a split `[clips, 48, 40]`, zeros behind their ends, lengths and labels."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            samples, offsets, labels, takes = (archive[name] for name in ("samples", "offsets", "label", "index"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: not spoken digits as .npz with samples, offsets, label and index ({error})"
        ) from error
    wanted = {"test": takes < 5, "evaluate": (takes >= 5) & (takes < 10), "train": takes >= 10}[split]
    chosen = np.flatnonzero(wanted)
    clips = [log_mel(samples[offsets[i] : offsets[i + 1]].astype(np.float32) / 2**15)[:SPOKEN_FRAMES] for i in chosen]
    x = np.zeros((len(clips), SPOKEN_FRAMES, BANDS), np.float32)
    for row, clip in zip(x, clips, strict=True):
        row[: len(clip)] = clip
    return x, np.array([len(clip) for clip in clips], np.int32), labels[chosen].astype(np.int64)


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
    known = np.unique(np.frombuffer(_text(folder, "train").encode(), np.uint8))
    letters = np.frombuffer(_text(folder, part).encode(), np.uint8)
    if strangers := np.setdiff1d(letters, known).tolist():
        raise DataError(
            f"{folder}: ptb.{part}.txt holds the letter {chr(strangers[0])!r}, which ptb.train.txt does not"
        )
    return np.searchsorted(known, letters).astype(np.int64)


@cache
def _words(folder: Path, part: str) -> list[str]:
    return _text(folder, part).replace("\n", " <eos> ").split()


def _text(folder: Path, part: str) -> str:
    path = folder / f"ptb.{part}.txt"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
