"""Which samples a search learns from, decides by, and is judged on.

1. Methods learn from the samples that `dtc compress` learns from, so that the recipe of a search gives its file.
2. The search decides by one half of the samples to judge on: `--eval-data`, or what is held out of `--data`.
3. What it promises is measured on the other half, which it has not seen.

Without data both halves are generated inputs: no promise can be made on these, but outputs are held to the original's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dtc.data import ArraySource, Batch, Samples, Source
from dtc.errors import DataError
from dtc.graph import load_model
from dtc.recipe import Objective
from dtc.sample_inputs import sample_inputs
from dtc.session import runner, session

MOST_ROWS = 2048
"""Samples, or columns of sequences, that a search decides by at the most."""

MOST_UNSEEN = 20_000
"""Those that its result is judged on at the most."""

FIRST_ROWS = 128
"""Samples with which the comparison of candidates begins."""

STEPS, FIRST_STEPS, WIDEST = 256, 32, 4
"""Batches of streams in place of these where that is more, up to four times as many samples: those side by side may be
of as many streams, and in each of them neighbours are alike."""

_HELD = 1 << 28
"""Bytes of batches beyond which no more samples are taken than both halves need."""

_GENERATED = 16
"""Inputs of each half that are generated where there is no data."""


@dataclass(frozen=True)
class Halves:
    """The samples to judge on, in two halves.

    Attributes:
        deciding: Batches that the search decides by.
        unseen: Batches that it has not seen.
        words: Which samples the unseen ones are.
        is_stream: Whether the unseen ones go on where the others end.
        fewest: Batches with which the comparison of candidates begins at the least.
    """

    deciding: tuple[Batch, ...]
    unseen: tuple[Batch, ...]
    words: str
    is_stream: bool = False
    fewest: int = 1

    def levels(self) -> list[int]:
        """Return how many of the deciding batches to begin with, and then twice as many each time up to all."""
        rows = np.cumsum([_rows(batch) for batch in self.deciding])
        found = [max(int(np.searchsorted(rows, FIRST_ROWS)) + 1, self.fewest)]
        while found[-1] < len(rows):
            found.append(2 * found[-1])
        return [min(each, len(rows)) for each in found]


def halves(samples: Samples, objective: Objective, *, seed: int, model: Path) -> Halves:
    """Return both halves of the samples to judge on; without data, of inputs that are generated for the model.

    Raises:
        DataError: It is damaged, or there are too few samples for two halves; or no inputs are known to fit the model.
    """
    source = samples.evaluation
    if source is None:
        return _generated(model, seed)
    if isinstance(source, ArraySource):
        # So many samples go together: in a batch of carried state, steps of streams side by side.
        unit = samples.fixed_batch or (source.batch_size if objective.carry else 1)
        return _of_arrays(source, objective, unit, seed)
    return _of_batches(source, objective, seed)


def _generated(model: Path, seed: int) -> Halves:
    run = runner(session(model, threads=1))
    inputs = sample_inputs(load_model(model), run, count=2 * _GENERATED, seed=seed, fixed={})
    return Halves(tuple(inputs[::2]), tuple(inputs[1::2]), f"{_GENERATED} generated inputs, as there is no data")


def _of_arrays(source: ArraySource, objective: Objective, unit: int, seed: int) -> Halves:
    """Return halves of arrays, drawn at random: those on disk may be sorted by class. Carried state needs the order."""
    order = np.arange(source.samples)
    if not objective.carry:
        order = np.random.default_rng(seed).permutation(order)
    most = (WIDEST if objective.carry else 1) * MOST_ROWS
    middle = min(source.samples // 2, most) // unit * unit
    if middle == 0:
        raise DataError(
            f"{source.name}: {source.samples} samples to judge on are too few for two halves, one to search by and one "
            "to keep the promise on; give more in --eval-data, or a larger --held-out"
        )
    rest = order[middle : middle + MOST_UNSEEN]
    parts = []
    for chosen in (order[:middle], rest[: len(rest) // unit * unit]):
        # A scalar, such as a sampling rate, is the same in every batch.
        arrays = {name: array[chosen] if array.ndim else array for name, array in source.arrays.items()}
        size = min(source.batch_size, max(1, len(chosen) // 4)) if unit == 1 else unit
        part = replace(source, arrays=arrays, keep_short=unit == 1 and not objective.carry, batch_size=size)
        parts.append(tuple(part.batches(epoch=0, seed=seed, shuffle=False)))
    words = f"{len(rest):,} of {source.words} that the search has not seen"
    return Halves(parts[0], parts[1], words, _goes_on(parts[0], parts[1], objective))


def _of_batches(source: Source, objective: Objective, seed: int) -> Halves:
    """Return halves of batches: every other one, or where state is carried the first half of them and the second.

    Of many samples the search decides by no more than it needs, and is judged on all others.
    """
    most = (WIDEST if objective.carry else 1) * MOST_ROWS
    batches = list(_limited(source.batches(epoch=0, seed=seed, shuffle=False), most))
    if len(batches) < 2:
        raise DataError(
            f"{source.name}: gives {len(batches)} batches to judge on, a search needs two; give --eval-data"
        )
    if objective.carry:
        half = min(len(batches) // 2, _of_streams(batches, MOST_ROWS, STEPS))
        deciding, unseen = batches[:half], batches[half:]
    else:
        half = min(len(batches) // 2, _within(batches[::2], MOST_ROWS))
        deciding, unseen = batches[: 2 * half : 2], batches[1 : 2 * half : 2] + batches[2 * half :]
    unseen = unseen[: _within(unseen, MOST_UNSEEN)]
    words = f"{len(unseen)} batches of {source.words} that the search has not seen"
    fewest = _of_streams(batches, FIRST_ROWS, FIRST_STEPS) if objective.carry else 1
    return Halves(tuple(deciding), tuple(unseen), words, _goes_on(deciding, unseen, objective), fewest)


def _goes_on(deciding: Sequence[Batch], unseen: Sequence[Batch], objective: Objective) -> bool:
    """Return whether state can be carried from the last batch of one half into the first of the other."""
    shapes = [{name: array.shape for name, array in batch.items()} for batch in (deciding[-1], unseen[0])]
    return bool(objective.carry) and shapes[0] == shapes[1]


def _limited(batches: Iterator[Batch], deciding: int) -> Iterator[Batch]:
    rows = nbytes = 0
    for batch in batches:
        yield batch
        rows += _rows(batch)
        nbytes += sum(array.nbytes for array in batch.values())
        if rows >= (2 * deciding if nbytes >= _HELD else deciding + MOST_UNSEEN):
            return


def _within(batches: Sequence[Batch], most: int) -> int:
    """Return how many batches it takes for as many samples, or how many there are."""
    rows = np.cumsum([_rows(batch) for batch in batches])
    return min(int(np.searchsorted(rows, most)) + 1, len(batches))


def _of_streams(batches: Sequence[Batch], rows: int, steps: int) -> int:
    return max(_within(batches, rows), min(steps, _within(batches, WIDEST * rows)))


def _rows(batch: Batch) -> int:
    """Return how many samples a batch has: those of its first array."""
    first = next(iter(batch.values()))
    return int(first.shape[0]) if first.ndim else 1
