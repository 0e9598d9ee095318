"""The signature of a model: names, dtypes and shapes of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.errors import DataError

Dim: TypeAlias = int | str | None
"""A size, the name of a size that is free, or None for a free size without a name."""

Arrays: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: its name, its dtype in NumPy's words, its shape.

    What is no tensor of numbers has a dtype such as `string`, `seq(float32)`, `optional(seq(string))`; its shape
    is that of an item.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        dims = ", ".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.name!r} {self.dtype} [{dims}]"


def input_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """Return the inputs that a caller has to give, in order: graph inputs that no initializer fills."""
    initializers = model.graph.initializers
    return tuple(_spec(value) for value in model.graph.inputs if value.name not in initializers)


def output_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """Return the outputs, in order, as far as the model says what they are."""
    return tuple(_spec(value) for value in model.graph.outputs)


def zero_state(inputs: Iterable[TensorSpec], names: Iterable[str], batch: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Return zeros for the inputs called `names` that `batch` does not hold, of the sizes that `batch` implies.

    Raises:
        DataError: There is no such input, or the batch does not tell one of its sizes.
    """
    specs = {spec.name: spec for spec in inputs}
    # Input x ["T", "N", 8] with a batch of [35, 20, 8] tells T = 35 and N = 20; so h0 [2, "N", 200] starts as [2, 20,
    # 200].
    sizes: dict[Dim, int] = {
        dim: size
        for spec in specs.values()
        if spec.name in batch
        for dim, size in zip(spec.shape, batch[spec.name].shape, strict=False)
        if isinstance(dim, str)
    }
    samples = _samples(specs.values(), batch)
    state: dict[str, npt.NDArray[np.generic]] = {}
    for name in names:
        if name in batch:
            continue
        if name not in specs:
            raise DataError(f"the model has no input {name!r} to carry state to; it has {', '.join(specs)}")
        spec = specs[name]
        missing = [dim for dim in spec.shape if not isinstance(dim, int) and dim not in sizes]
        # One size that nothing names, as in [2, ?, 128]: that of the samples in a batch.
        known = {**sizes, missing[0]: samples} if len(missing) == 1 and samples is not None else sizes
        if any(dim not in known for dim in missing):
            raise DataError(f"input {spec} starts with zeros, but no other input tells its size; put it into the data")
        shape = tuple(dim if isinstance(dim, int) else known[dim] for dim in spec.shape)
        state[name] = np.zeros(shape, np.dtype(spec.dtype))
    return state


def _samples(specs: Iterable[TensorSpec], batch: Arrays) -> int | None:
    """Return how many samples a batch has: the first dimension of its inputs, where all that leave it free agree."""
    free = {
        int(batch[spec.name].shape[0])
        for spec in specs
        if spec.name in batch and spec.shape and not isinstance(spec.shape[0], int)
    }
    return free.pop() if len(free) == 1 else None


def _spec(value: ir.Value) -> TensorSpec:
    dtype = "float32" if value.type is None else _dtype(value.type)
    dims = () if value.shape is None else tuple(_dim(dim) for dim in value.shape)
    return TensorSpec(value.name or "", dtype, dims)


def _dtype(kind: ir.TypeProtocol) -> str:
    for wrapping, word in ((ir.SequenceType, "seq"), (ir.OptionalType, "optional")):
        if isinstance(kind, wrapping):
            return f"{word}({_dtype(kind.elem_type)})"
    return "string" if kind.dtype == ir.DataType.STRING else str(kind.dtype.numpy().name)


def _dim(dim: int | ir.SymbolicDim) -> Dim:
    if isinstance(dim, int):
        return dim if dim > 0 else None  # some exporters write -1 or 0 for a size that is free
    return dim.value
