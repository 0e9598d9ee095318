"""Tensors whose numbers stay in a file: the model's own, one of external data, or one of the scratch folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph.walk import all_tensors
from dtc.storage import ArrayStore, FilePart

LARGE = 1 << 18
"""Bytes from which a tensor stays in the file that it came in."""

_PACKED = (2, 4)
"""Bits of numbers of which a byte holds several."""


class FileTensor(ir.LazyTensor):
    """A tensor that is read anew whenever its numbers are asked for, and never held.

    onnx-ir's own `ExternalTensor` keeps a whole file mapped for each tensor that was read once, and is written as a
    reference to its file; this one is written with its numbers, wherever they lie.

    Attributes:
        part: Where the numbers lie, little-endian and in their order, packed where a byte holds several.
    """

    def __init__(
        self, part: FilePart, dtype: ir.DataType, shape: ir.Shape, name: str | None = None, **told: Any
    ) -> None:
        """Begin with nothing read; `told` is `doc_string` and `metadata_props`."""
        super().__init__(self._read, dtype, shape, name=name, **told)
        self.part = part

    @classmethod
    def in_place_of(cls, tensor: ir.TensorProtocol, part: FilePart) -> FileTensor:
        """Return a tensor of the same type, shape and name whose numbers lie in a file."""
        told = {"doc_string": tensor.doc_string, "metadata_props": dict(tensor.metadata_props) or None}
        return cls(part, tensor.dtype, ir.Shape(tensor.shape.numpy()), tensor.name, **told)

    @staticmethod
    def holds(dtype: ir.DataType) -> bool:
        """Return whether numbers of a type can stay in a file."""
        plain = dtype not in (ir.DataType.STRING, ir.DataType.UNDEFINED, ir.DataType.COMPLEX64, ir.DataType.COMPLEX128)
        return plain and dtype.bitwidth in (8, 16, 32, 64, *_PACKED)

    def __repr__(self) -> str:
        """Return type, shape and place."""
        return f"FileTensor<{self.dtype},{self.shape}>({self.part!r}, name={self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes it anew in another process."""
        return _made, (self.part, int(self.dtype), tuple(self.shape.numpy()), self.name)

    def _read(self) -> ir.TensorProtocol:
        held = self.part.read()
        if self.dtype.bitwidth in _PACKED:
            return ir.PackedTensor(held, self.dtype, shape=self.shape)
        dtype = np.dtype(self.dtype.numpy()).newbyteorder("<")
        return ir.Tensor(held.view(dtype).reshape(self.shape.numpy()), dtype=self.dtype, shape=self.shape)


def on_disk(store: ArrayStore, array: npt.NDArray[Any] | ir.TensorProtocol) -> ir.TensorProtocol:
    """Return a tensor of an array; the numbers of a large one go into a folder."""
    tensor = ir.tensor(array)
    if isinstance(tensor, FileTensor) or tensor.nbytes < store.large or not FileTensor.holds(tensor.dtype):
        return tensor
    packed = tensor.dtype.bitwidth in _PACKED
    numbers = np.frombuffer(tensor.tobytes(), np.uint8) if packed else tensor.numpy()
    return FileTensor.in_place_of(tensor, store.place(numbers))


def _made(part: FilePart, dtype: int, shape: tuple[int, ...], name: str | None) -> FileTensor:
    return FileTensor(part, ir.DataType(dtype), ir.Shape(shape), name)


def relocate(model: ir.Model, moved: Mapping[Path, Path]) -> None:
    """Read the tensors of a model from copies of their files from now on; `moved` says where each file is copied to."""
    for tensor in all_tensors(model):
        if isinstance(tensor, FileTensor) and tensor.part.path in moved:
            tensor.part = tensor.part.moved(moved[tensor.part.path])
