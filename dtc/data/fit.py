"""The check that batches fit a model's inputs, and the harmless casts that make batches fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Protocol

import numpy as np
import onnx_ir as ir

from dtc.data.source import ArraySource, Batch, Source
from dtc.errors import DataError
from dtc.forms import AnyArray
from dtc.graph.signature import input_specs


class ObjectiveNames(Protocol):
    """The names that an objective gives to arrays of a batch (see `dtc.recipe.Objective`)."""

    @property
    def labels(self) -> str:
        """Name of the labels in a batch."""
        ...

    @property
    def carry(self) -> Mapping[str, str]:
        """Outputs that become inputs of the next batch; these need not be in the data."""
        ...

    @property
    def lengths(self) -> str | None:
        """Array that holds the sequence lengths, an input of the model or not."""
        ...


@dataclass(frozen=True)
class _Input:
    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | str | None, ...] | None
    carried: bool


def check_fit(
    model: ir.Model, batch: Mapping[str, AnyArray], objective: ObjectiveNames, *, source: str = "data"
) -> Batch:
    """Return the batch with the dtypes that the model's inputs have.

    Integers are cast between widths where every value fits, floats and booleans to float, narrow integers (images
    as uint8) to float; labels become int64 or float32.

    Raises:
        DataError: An input is missing, has another rank or static extent, or values that its dtype cannot hold; or
            an array is neither input nor labels. The message names it, what it has, and what is needed.
    """
    return _fit(_inputs(model, objective), batch, objective, source)


def unread_arrays(batch: Mapping[str, AnyArray], inputs: Iterable[str], objective: ObjectiveNames) -> tuple[str, ...]:
    """Return in words which arrays of a batch are neither inputs of the model nor what the objective reads."""
    known, unlabelled = {*inputs, objective.labels, objective.lengths}, objective.labels not in batch
    names = [name for name in batch if name not in known]
    hint = "; if it holds the labels, say --labels {}" if unlabelled else ""
    return tuple(
        f"array {name!r} of the data is no input of the model, and was not read{hint.format(name)}" for name in names
    )


def fitted(source: Source, model: ir.Model, objective: ObjectiveNames) -> Source:
    """Return `source` with every batch passed through `check_fit`.

    Where the model has a fixed batch size, or carries state from batch to batch, a last short batch cannot be run:
    it is dropped in evaluation too.
    """
    if isinstance(source, ArraySource) and (fixed_batch(model, objective) or objective.carry):
        source = replace(source, keep_short=False)
    return _Fitted(source, _inputs(model, objective), objective)


def fixed_batch(model: ir.Model, objective: ObjectiveNames) -> int | None:
    """Return the size of a batch where the model takes batches of one size alone; None where it takes others."""
    # Carried state [1, 20, 650] has a batch too, but is not data: its leading size says nothing about the samples.
    carried = set(objective.carry.values())
    sizes = (spec.shape[0] for spec in input_specs(model) if spec.shape and spec.name not in carried)
    return next((size for size in sizes if isinstance(size, int)), None)


@dataclass(frozen=True, eq=False)
class _Fitted:
    source: Source
    inputs: tuple[_Input, ...]
    objective: ObjectiveNames

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def length(self) -> int | None:
        return self.source.length

    @property
    def words(self) -> str:
        return self.source.words

    def batches(self, *, epoch: int, seed: int, shuffle: bool, start: int = 0) -> Iterator[Batch]:
        for batch in self.source.batches(epoch=epoch, seed=seed, shuffle=shuffle, start=start):
            # A run directory holds copies: users know the file's own name, and not that of its place there.
            yield _fit(self.inputs, batch, self.objective, PurePath(self.name).name)


def _inputs(model: ir.Model, objective: ObjectiveNames) -> tuple[_Input, ...]:
    carried = set(objective.carry.values())
    names = {value.name for value in model.graph.inputs}
    if missing := sorted(carried - names):
        raise DataError(f"--carry: the model has no input {missing[0]!r}; it has {', '.join(sorted(map(str, names)))}")
    found = []
    for value in model.graph.inputs:
        if value.name in model.graph.initializers or value.name is None:
            continue  # an initializer listed as an input, as IR 3 did, has its data in the model
        dtype = np.dtype((value.dtype or ir.DataType.FLOAT).numpy())
        shape = None if value.shape is None else tuple(_dim(dim) for dim in value.shape)
        found.append(_Input(value.name, dtype, shape, value.name in carried))
    return tuple(found)


def _dim(dim: int | ir.SymbolicDim) -> int | str | None:
    if isinstance(dim, int):
        return dim if dim > 0 else None  # some exporters write -1 or 0 for a size that is free
    return dim.value


def _fit(inputs: tuple[_Input, ...], batch: Mapping[str, AnyArray], objective: ObjectiveNames, source: str) -> Batch:
    fit: Batch = {}
    # 1. What the model takes. Carried state may be missing: the first batch starts it with zeros.
    for wanted in inputs:
        if wanted.name in batch:
            _check_shape(wanted, batch[wanted.name], source)
            fit[wanted.name] = _cast(wanted, batch[wanted.name], source)
        elif not wanted.carried:
            raise DataError(
                f"{source}: no array for the model's input {wanted.name!r} {_text(wanted.shape)} {wanted.dtype}; "
                f"it has {', '.join(sorted(batch))}"
            )
    # 2. What the objective takes: lengths as they are, labels as int64 or float32. Any other array is a misspelt name.
    for name, array in batch.items():
        if name == objective.lengths and name not in fit:
            fit[name] = array
        elif name == objective.labels and name not in fit:
            fit[name] = array.astype(np.float32 if array.dtype.kind == "f" else np.int64, copy=False)
        elif name not in fit:
            raise DataError(
                f"{source}: array {name!r} is neither an input of the model ({', '.join(i.name for i in inputs)}) "
                f"nor the labels ({objective.labels!r}); rename it, leave it out, or say --labels {name}"
            )
    return fit


def _check_shape(wanted: _Input, array: AnyArray, source: str) -> None:
    if wanted.shape is None:
        return
    # `zip` ends with the shorter shape: another rank is told apart below. A wrong batch size alone has its own advice.
    clash = [a for a, (has, needs) in enumerate(zip(array.shape, wanted.shape, strict=False)) if _differs(has, needs)]
    if array.ndim == len(wanted.shape) and not clash:
        return
    advice = f"; give --batch-size {wanted.shape[0]}" if clash == [0] and array.ndim == len(wanted.shape) else ""
    raise DataError(
        f"{source}: input {wanted.name!r} has shape {_text(array.shape)}, the model needs {_text(wanted.shape)}{advice}"
    )


def _differs(has: int, needs: int | str | None) -> bool:
    return isinstance(needs, int) and has != needs


def _cast(wanted: _Input, array: AnyArray, source: str) -> AnyArray:
    have, need = array.dtype, wanted.dtype
    if have == need:
        return array
    # 1. Every value of the type fits (int8 -> int32), or a float is wanted: uint8 images, bool masks, float64 arrays.
    harmless = np.can_cast(have, need, "safe") or (need.kind == "f" and have.kind in "biuf")
    # 2. int64 ids for an int32 input: by their values. Floats never become integers: that would round silently.
    if not harmless and have.kind in "iu" and need.kind in "iu":
        limits = np.iinfo(str(need))
        harmless = array.size == 0 or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)
    if not harmless:
        raise DataError(f"{source}: input {wanted.name!r} has type {have}, the model needs {need}")
    return array.astype(need)


def _text(shape: tuple[int | str | None, ...] | None) -> str:
    return "of any shape" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
