"""Samples of the one-shot table, functions for `--data`: the training engine imports them in a process of its own."""

from __future__ import annotations

from itertools import islice

from dtc.models import datasets

IMAGES, IMAGE_BATCH = 1024, 64
COLUMNS, CHUNKS = 32, 16
TEST_IMAGES, TEST_WORDS = 2000, 20_000


def images(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield the first 1,024 training images as they are; to evaluate, a batch that `cifar10` holds out."""
    count = IMAGES // IMAGE_BATCH if split == "train" else 1
    yield from islice(datasets.cifar10_plain(batch_size=IMAGE_BATCH, split=split), count)


def text(*, split: datasets.Split = "train") -> datasets.Batches:
    """Yield 16 chunks of 35 words of the training text, 32 columns side by side; to evaluate, the next one."""
    chunks = datasets.ptb(batch_size=COLUMNS)
    yield from islice(chunks, CHUNKS) if split == "train" else islice(chunks, CHUNKS, CHUNKS + 1)


def test_images() -> datasets.Batches:
    """Yield the first 2,000 test images."""
    yield from islice(datasets.cifar10_test(batch_size=200), TEST_IMAGES // 200)


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
