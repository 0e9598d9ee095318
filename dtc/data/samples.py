"""The one place that decides which samples may be learnt from, and which ones a result is judged on.

Calibration, training, the check at the end of a compression and `dtc check` all ask here, so that what is held out of
one of them is held out of all, and every metric can say where its samples are from.
"""

from __future__ import annotations

import filecmp
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from dtc.data.functions import FunctionSource
from dtc.data.source import ArraySource, Source, is_code, open_source
from dtc.errors import DataError

HELD_OUT = "held out of --data"
GIVEN = "--eval-data"

_BATCH = 32
"""Samples a batch where none are told."""


class DataNames(Protocol):
    """What a recipe says of its data (see `dtc.recipe.Data`)."""

    @property
    def train(self) -> str | None:
        """The data to learn from."""
        ...

    @property
    def evaluate(self) -> str | None:
        """The data to judge on; None: samples held out of the other."""
        ...

    @property
    def batch_size(self) -> int | None:
        """Samples a batch; None: not told."""
        ...

    @property
    def held_out(self) -> float:
        """Share of the samples that is held out, above 0 and below 1."""
        ...


@dataclass(frozen=True)
class Samples:
    """The samples of a recipe, each part opened once, at its first use; relative paths start at `base`."""

    names: DataNames
    base: Path = Path()
    fixed_batch: int | None = None
    """Samples that only go together: the batch of a model that takes batches of one size alone; None: it takes any."""
    carries: bool = False
    """Whether state goes from batch to batch: samples of arrays are then the steps of one stream, or of as many side by
    side as a batch is told to have."""
    use: str = ""
    """What the samples to learn from are for, in words, where that is known: calibration, training."""

    @cached_property
    def train(self) -> Source | None:
        """The samples that may be learnt from, without those that are held out; None without data.

        Raises:
            DataError: The data is missing or damaged.
        """
        return self._split[0] if self.names.evaluate is None else self._opened_train

    @cached_property
    def evaluation(self) -> Source | None:
        """The samples that weights are judged on; None without data.

        Those of the evaluation data, or else held out of the other: a tail of arrays, the split "evaluate" of a
        function. Of a function that knows no split, and of too few samples, nothing can be held out: those are all the
        same, and the source says so.

        Raises:
            DataError: As `train`.
        """
        spec = self.names.evaluate
        return self._split[1] if spec is None else because(self._opened(spec), self._reason(spec))

    def for_training(self) -> tuple[Source, Source]:
        """Return the samples to train on and those to judge on, which training never sees.

        Raises:
            DataError: As `train`, or nothing can be held out.
        """
        train = self._opened_train
        assert train is not None, "a recipe with training has data"
        if self.names.evaluate is None:
            return hold_out(train, self.names.held_out, self.fixed_batch or 1)
        assert self.evaluation is not None, "there is evaluation data"
        return train, self.evaluation

    @cached_property
    def _opened_train(self) -> Source | None:
        spec = self.names.train
        return None if spec is None else open_source(spec, batch_size=self._batch_size(spec), base=self.base)

    def _batch_size(self, spec: str) -> int:
        """Return the samples a batch: as many as the model takes, whatever was asked for, where it takes no others."""
        told = self.fixed_batch or self.names.batch_size
        return told or (1 if self.carries and not is_code(spec, self.base) else _BATCH)

    @cached_property
    def _split(self) -> tuple[Source | None, Source | None]:
        train, names = self._opened_train, self.names
        if train is None or names.train is None:
            return None, None
        try:
            kept, evaluate = hold_out(train, names.held_out, self.fixed_batch or 1)
            return kept, self._whole(evaluate)
        except DataError:
            return train, because(self._opened(names.train), f"--data, nothing held out{self._also}")

    def _opened(self, spec: str) -> Source:
        """Open data to judge on; a short last batch counts, too, where the model takes it."""
        source = open_source(spec, batch_size=self._batch_size(spec), base=self.base, split="evaluate")
        return self._whole(source)

    def _whole(self, source: Source) -> Source:
        """Return a source without a short last batch, where the model does not take one, or its state does not fit."""
        if isinstance(source, ArraySource) and (self.fixed_batch or self.carries):
            return replace(source, keep_short=False)
        return source

    def _reason(self, spec: str) -> str:
        train = self.names.train
        if train is None:
            return GIVEN
        if is_code(spec, self.base) or is_code(train, self.base):
            # A function that knows splits gives others for evaluation.
            same = spec == train and not _knows_splits(self._opened_train)
        else:
            same = _same_files(self.base / train, self.base / spec)
        return f"{GIVEN}, the same as --data{self._also}" if same else GIVEN

    @property
    def _also(self) -> str:
        return f": also used for {self.use}" if self.use else ""


def because(source: Source, reason: str) -> Source:
    """Return a source of dtc's that says why its samples were taken."""
    assert isinstance(source, ArraySource | FunctionSource), "opened by open_source"
    return replace(source, reason=reason)


def hold_out(source: Source, share: float, unit: int = 1) -> tuple[Source, Source]:
    """Split a source in two: what is learnt from, and a tail of that share of the samples to judge on.

    The tail is a multiple of `unit` samples, and so many are left at least. A function that declares `split` is asked
    for its own evaluation batches.

    Raises:
        DataError: The source is a function that knows no `split`, or it has too few samples.
    """
    if isinstance(source, FunctionSource):
        return source, because(source.evaluating(), HELD_OUT)
    if not isinstance(source, ArraySource):
        raise DataError(f"{source.name}: cannot be split; give --eval-data")
    # The tail, not a random choice: the same samples at every start, and views of memory-mapped arrays.
    tail = unit * max(1, -(-round(source.samples * share) // unit))
    kept = source.samples - tail
    if kept < unit:
        raise DataError(
            f"{source.name}: {source.samples} samples are too few to hold out {share:.0%}; give --eval-data"
        )
    evaluate = source.part(kept, source.samples)
    return source.part(0, kept), because(replace(evaluate, keep_short=True), HELD_OUT)


def _knows_splits(source: Source | None) -> bool:
    return isinstance(source, FunctionSource) and source.knows_splits


def _same_files(first: Path, second: Path) -> bool:
    """True if two paths lead to the same arrays: one file or folder, links to it, or a copy."""
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    if first.is_dir() and second.is_dir():
        names = sorted(path.name for path in first.glob("*.npy"))
        same = names == sorted(path.name for path in second.glob("*.npy"))
        return same and all(_same_files(first / name, second / name) for name in names)
    return first.is_file() and second.is_file() and filecmp.cmp(first, second, shallow=False)
