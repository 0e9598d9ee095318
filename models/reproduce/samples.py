"""Samples of tables and small experiments, functions for `--data`: the training engine imports them in its process."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from dtc.models import datasets
from dtc.models.datasets.penn_treebank import EVALUATION_STEPS

IMAGES, IMAGE_BATCH = 1024, 64
COLUMNS, CHUNKS = 32, 16
TEST_IMAGES, TEST_WORDS = 2000, 20_000
TEXT_FIFTH = 309
"""Batches of a fifth of the training text, 20 columns of 30 words."""

SEARCHED_IMAGES = 6000
"""Test images that a search decides by, 2,000, and is judged on: by 4,000 a loss of half a point is told to 0.3."""

STREAMS, FRAME, CONTEXT = 32, 512, 64
FRAMES = {"train": (0, 16), "searched": (16, 528), "rest": (528, 1040)}
"""Frames of each stream of speech: from where to where; frames of one stream are alike, so that streams are many. What
is searched is as long as the rest, as what a model loses grows along a stream."""


def images(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield the first 1,024 training images as they are; to evaluate, a batch that `cifar10` holds out."""
    count = IMAGES // IMAGE_BATCH if split == "train" else 1
    yield from islice(datasets.cifar10_plain(batch_size=IMAGE_BATCH, split=split), count)


def text(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield 16 chunks of 35 words of the training text, 32 columns side by side; to evaluate, the next one."""
    chunks = datasets.ptb(batch_size=COLUMNS)
    yield from islice(chunks, CHUNKS) if split == "train" else islice(chunks, CHUNKS, CHUNKS + 1)


def first_words() -> datasets.Batches:
    """Yield the first 20,000 validation words as one stream of one column."""
    yield from islice(datasets.ptb_valid(), TEST_WORDS // EVALUATION_STEPS)


def fifths_of_text(*, epoch: int = 0, batch_size: int = 20, split: datasets.Split = "train") -> datasets.Batches:
    """Yield a fifth of `ptb_30` an epoch, the one behind it in the next; to evaluate, the first validation words."""
    if split == "evaluate":
        yield from first_words()
        return
    begin = epoch % 5 * TEXT_FIFTH
    yield from islice(datasets.ptb_30(batch_size=batch_size), begin, begin + TEXT_FIFTH)


def test_images() -> datasets.Batches:
    """Yield the first 2,000 test images."""
    yield from islice(datasets.cifar10_test(batch_size=200), TEST_IMAGES // 200)


def searched_images(*, batch_size: int = 64) -> datasets.Batches:
    """Yield the first 6,000 test images of CIFAR-10."""
    yield from islice(datasets.cifar10_test(batch_size=batch_size), SEARCHED_IMAGES // batch_size)


def unsearched_images() -> datasets.Batches:
    """Yield the test images of CIFAR-10 behind the first 6,000."""
    yield from islice(datasets.cifar10_test(batch_size=200), SEARCHED_IMAGES // 200, None)


def searched_photos() -> datasets.Batches:
    """Yield `searched_images` for a model whose input is called `image`."""
    yield from (_renamed(batch) for batch in searched_images())


def unsearched_photos() -> datasets.Batches:
    """Yield `unsearched_images` for a model whose input is called `image`."""
    yield from (_renamed(batch) for batch in unsearched_images())


def photos(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield `images` for a model whose input is called `image`."""
    yield from (_renamed(batch) for batch in images(split=split))


def digits(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield 1,024 training images of MNIST; to evaluate, a batch that `mnist` holds out."""
    yield from islice(
        datasets.mnist(batch_size=IMAGE_BATCH, split=split), IMAGES // IMAGE_BATCH if split == "train" else 1
    )


def searched_digits(*, batch_size: int = 64) -> datasets.Batches:
    """Yield the first 6,000 test images of MNIST."""
    yield from islice(datasets.mnist_test(batch_size=batch_size), SEARCHED_IMAGES // batch_size)


def unsearched_digits() -> datasets.Batches:
    """Yield the test images of MNIST behind the first 6,000."""
    yield from islice(datasets.mnist_test(batch_size=200), SEARCHED_IMAGES // 200, None)


def commands(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield 128 training clips of spoken digits; to evaluate, a batch that `spoken_digits` holds out."""
    yield from islice(datasets.spoken_digits(batch_size=64, split=split), 2 if split == "train" else 1)


def sequences(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield 128 sequences of spoken digits of the training set; to evaluate, a batch that it holds out."""
    yield from islice(datasets.spoken_sequences(batch_size=64, split=split), 2 if split == "train" else 1)


def speech(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield frames of speech in 32 streams side by side, as Silero's detector takes them at 16 kHz, without labels."""
    if split == "train":
        yield from _frames("train")
    else:
        yield from islice(_frames("searched"), 1)


def searched_speech() -> datasets.Batches:
    """Yield the next 512 frames of each stream."""
    yield from _frames("searched")


def unsearched_speech() -> datasets.Batches:
    """Yield the 512 frames behind these."""
    yield from _frames("rest")


def _frames(part: str) -> datasets.Batches:
    """Yield `input` float32 `[32, 64 + 512]`, each frame behind the end of the last one, and the rate."""
    start, end = FRAMES[part]
    streams = _streams(max(end for _, end in FRAMES.values()))
    padded = np.pad(streams, ((0, 0), (CONTEXT, 0)))
    for frame in range(start, end):
        at = frame * FRAME
        yield {"input": padded[:, at : at + CONTEXT + FRAME], "sr": np.array(16_000, np.int64)}


def _streams(frames: int) -> Any:
    """Return spoken digits `[32, samples]` at 16 kHz, each clip behind a pause, in faint noise."""
    with np.load(datasets.data_file("fsdd_8khz.npz")) as data:
        samples, offsets = data["samples"].astype(np.float32) / 2**15, data["offsets"]
    rng = np.random.default_rng(0)
    clips = iter(rng.permutation(len(offsets) - 1))
    return np.stack([_stream(samples, offsets, clips, frames * FRAME, rng) for _ in range(STREAMS)])


def _stream(samples: Any, offsets: Any, clips: Iterator[int], length: int, rng: np.random.Generator) -> Any:
    # It takes seconds to import, and no other samples need it.
    from scipy.signal import resample_poly

    parts: list[Any] = []
    while sum(map(len, parts)) < length:
        clip = next(clips)
        pause = np.zeros(int(rng.integers(800, 8000)), np.float32)
        parts += [pause, resample_poly(samples[offsets[clip] : offsets[clip + 1]], 2, 1)]
    stream = np.concatenate(parts)[:length]
    return (stream + 1e-3 * rng.normal(size=length)).astype(np.float32)


def _renamed(batch: dict[str, Any]) -> dict[str, Any]:
    return {"image" if name == "x" else name: array for name, array in batch.items()}


def rest_images() -> datasets.Batches:
    """Yield the other 8,000 test images."""
    yield from islice(datasets.cifar10_test(batch_size=200), TEST_IMAGES // 200, None)


def rest_text() -> datasets.Batches:
    """Yield the test text behind its first 20,000 words, and what follows each."""
    seen = 0
    for batch in datasets.ptb_test():
        if seen >= TEST_WORDS:
            yield batch
        seen += len(batch["ids"])


def test_text() -> datasets.Batches:
    """Yield the first 20,000 words of the test text and what follows each."""
    left = TEST_WORDS
    for batch in datasets.ptb_test():
        yield {name: array[:left] for name, array in batch.items()}
        left -= len(batch["ids"])
        if left <= 0:
            return
