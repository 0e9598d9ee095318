"""What all data sets have in common: types of their batches, order and cutting of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Batches: TypeAlias = "Iterator[dict[str, npt.NDArray[np.generic]]]"
Ids: TypeAlias = npt.NDArray[np.int64]
Split: TypeAlias = Literal["train", "evaluate"]


def cut(order: Ids, batch_size: int) -> Iterator[Ids]:
    """Yield the samples of each batch, the last one as few as are left."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def order_of(count: int, epoch: int, seed: int, split: Split) -> Ids:
    """Return the order of the samples: for training a permutation that (seed, epoch) alone decide on."""
    return np.arange(count) if split == "evaluate" else np.random.default_rng([seed, epoch]).permutation(count)
