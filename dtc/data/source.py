"""Sources of batches: arrays on disk, and the choice between them and functions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal, Protocol, TypeAlias

import numpy as np

from dtc.data.functions import FunctionSource, load_function
from dtc.data.npy import map_npy, read_npz
from dtc.errors import DataError
from dtc.forms import AnyArray

Batch: TypeAlias = dict[str, AnyArray]
Split: TypeAlias = Literal["train", "evaluate"]


class Source(Protocol):
    """Batches, epoch after epoch: dicts of arrays named like the model's inputs, labels under their own name."""

    @property
    def name(self) -> str:
        """The source as the user wrote it, for messages."""
        ...

    @property
    def length(self) -> int | None:
        """Batches an epoch, if known."""
        ...

    @property
    def words(self) -> str:
        """Which samples these are, and why these: what stands beside a metric that was taken from them."""
        ...

    def batches(self, *, epoch: int, seed: int, shuffle: bool, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on; the same arguments give the same batches."""
        ...


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Arrays that share their first dimension, the samples; dtc makes the batches. A scalar is the same in all of them.

    A last short batch is kept where `keep_short` says so (evaluation: every sample counts) and dropped otherwise
    (training: every step has the same weight), unless it is the only one. `first` and `total` say which part of the
    data the arrays are, `reason` why it was taken.
    """

    name: str
    arrays: Mapping[str, AnyArray]
    batch_size: int
    keep_short: bool
    first: int = 0
    total: int = 0
    reason: str = ""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return next(int(array.shape[0]) for array in self.arrays.values() if array.ndim)

    @property
    def length(self) -> int:
        """Batches an epoch."""
        # 70 samples in batches of 32: 2 whole ones, and a third of 6 if `keep_short`. 20 samples: always one batch.
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 0 and (self.keep_short or whole == 0))

    @property
    def words(self) -> str:
        """Which samples these are, counted from 0, and why these."""
        last, total = self.first + self.samples - 1, max(self.total, self.samples)
        which = (
            f"all {total:,} samples" if self.samples == total else f"samples {self.first:,} to {last:,} of {total:,}"
        )
        return f"{which} in {PurePath(self.name).name}{f' ({self.reason})' if self.reason else ''}"

    def part(self, start: int, stop: int) -> ArraySource:
        """Return the samples from number `start` on, before number `stop`."""
        arrays = {name: array[start:stop] if array.ndim else array for name, array in self.arrays.items()}
        return replace(self, arrays=arrays, first=self.first + start, total=max(self.total, self.samples))

    def batches(self, *, epoch: int, seed: int, shuffle: bool, start: int = 0) -> Iterator[Batch]:
        """Yield batches, in an order that `(seed, epoch)` decides on if `shuffle`, else in the order of the file."""
        # The permutation depends on (seed, epoch) alone, so that a resumed run reads the batches it would have read.
        order = np.random.default_rng([seed, epoch]).permutation(self.samples) if shuffle else None
        for index in range(start, self.length):
            rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
            chosen = rows if order is None else order[rows]
            yield {
                name: np.ascontiguousarray(array[chosen]) if array.ndim else np.array(array)
                for name, array in self.arrays.items()
            }


def open_source(spec: str, *, batch_size: int, base: Path = Path(), split: Split = "train") -> Source:
    """Open an `.npz`, a folder of `.npy` files (memory-mapped), `module:function` or `file.py:function`.

    Relative paths start at `base`. A function is called anew every epoch with those of the keyword arguments
    `epoch`, `seed`, `batch_size`, `split` that it declares, and returns an iterable of ready batches.

    Raises:
        DataError: There is no such source, it is damaged, or its arrays do not share their first dimension.
    """
    path = base / spec
    # 1. A folder of .npy files. 2. An .npz. 3. PLACE:FUNCTION, split at the last colon: C:/data.py:batches is a file.
    if path.is_dir():
        return _array_source(spec, _map_folder(path), batch_size, split)
    if path.suffix == ".npz":
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        return _array_source(spec, read_npz(path), batch_size, split)
    if is_code(spec, base):
        place, _, function = spec.rpartition(":")
        return FunctionSource(spec, load_function(place, function, base), batch_size, split)
    raise DataError(
        f"{spec}: no such data; give an .npz file, a folder of .npy files, module:function, or file.py:function"
    )


def is_code(spec: str, base: Path = Path()) -> bool:
    """True if data is a function, `module:function` or `file.py:function`: to open it is to run that code."""
    place, _, function = spec.rpartition(":")
    path = base / spec
    return bool(place) and function.isidentifier() and not path.is_dir() and path.suffix != ".npz"


def relocated(spec: str, old: Path, new: Path) -> str:
    """Return the spec, seen from the folder `new`, of the data that is called `spec` from the folder `old`.

    Absolute paths and modules have the same name from everywhere.
    """
    place, colon, _ = spec.rpartition(":")
    # a/data.npz from /x, seen from /x/runs: ../a/data.npz. dtc.models.datasets:mnist stays, unless a file is called so.
    in_module = bool(colon) and not place.endswith(".py") and not (old / spec).exists()
    if in_module or Path(spec).is_absolute() or old.resolve() == new.resolve():
        return spec
    return Path(os.path.relpath((old / spec).absolute(), new.absolute())).as_posix()


def count_batches(source: Source, seed: int) -> int:
    """Return the number of batches of the first epoch, counted by a pass over the data where `length` is unknown.

    Raises:
        DataError: There are none.
    """
    count = source.length
    if count is None:
        count = sum(1 for _ in source.batches(epoch=0, seed=seed, shuffle=False))
    if count == 0:
        raise DataError(f"{source.name}: an epoch without batches")
    return count


def _map_folder(folder: Path) -> dict[str, AnyArray]:
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise DataError(f"{folder}: holds no .npy files")
    return {file.stem: map_npy(file) for file in files}


def _array_source(name: str, arrays: dict[str, AnyArray], batch_size: int, split: Split) -> ArraySource:
    lengths = {key: array.shape[0] for key, array in arrays.items() if array.ndim}
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{key} {list(array.shape)}" for key, array in arrays.items())
        raise DataError(
            f"{name}: the first dimension of every array must be the same number of samples; has {listed}; state that "
            "a model carries on is left out, and starts with zeros: --carry OUTPUT=INPUT"
        )
    if not next(iter(lengths.values())):
        raise DataError(f"{name}: holds no samples")
    return ArraySource(name, arrays, batch_size, keep_short=split == "evaluate")
