"""Writing models with large tensors: these go from their place into the file, and none of them is held meanwhile.

The message is made with a few bytes in the place of each large tensor's numbers; when it is written, the numbers
themselves are, and the lengths of all messages around them are those that this makes.
"""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import BinaryIO, Protocol

import onnx_ir as ir

from dtc.graph.file_tensor import LARGE, FileTensor
from dtc.graph.serialization import to_proto
from dtc.graph.sparse import SparseTensor
from dtc.graph.walk import replaced_tensors
from dtc.graph.wire import spliced


def write_streaming(model: ir.Model, path: Path) -> None:
    """Write a model into a file, to the same bytes as its message has.

    Raises:
        SerdeError: It cannot be written.
        OSError: The file cannot.
    """
    mark, contents = uuid.uuid4().bytes, dict[bytes, ir.TensorProtocol]()

    def stand_in(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if not _streams(tensor):
            return tensor
        key = mark + len(contents).to_bytes(4, "big")
        contents[key] = tensor
        return _StandIn(tensor, key)

    with replaced_tensors(model, stand_in):
        message = to_proto(model).SerializeToString()
    with path.open("wb") as file:
        for piece in spliced(message, mark, {key: tensor.nbytes for key, tensor in contents.items()}):
            if piece in contents:
                write_numbers(contents[piece], file)
            else:
                file.write(piece)


def _streams(tensor: ir.TensorProtocol) -> bool:
    """Return whether a tensor's numbers are written as bytes, and there are many of them.

    Those that were read in another way, as lists of numbers, are written so again; sparse ones stay sparse.
    """
    plain = not isinstance(tensor, ir.TensorProtoTensor | ir.ExternalTensor | SparseTensor)
    return plain and FileTensor.holds(tensor.dtype) and tensor.nbytes >= LARGE


class _StandIn(ir.LazyTensor):
    """A tensor of the same type, shape and name as another, with a few bytes in the place of its numbers."""

    def __init__(self, tensor: ir.TensorProtocol, key: bytes) -> None:
        shape, metadata = ir.Shape(tensor.shape.numpy()), dict(tensor.metadata_props) or None
        super().__init__(
            lambda: tensor,
            tensor.dtype,
            shape,
            name=tensor.name,
            doc_string=tensor.doc_string,
            metadata_props=metadata,
        )
        self._key = key

    def tobytes(self) -> bytes:
        """Return the few bytes."""
        return self._key


class _Writable(Protocol):
    def write(self, content: bytes | memoryview, /) -> int: ...


def write_numbers(tensor: ir.TensorProtocol, file: _Writable) -> None:
    """Write the numbers of a tensor as a model file has them; those of a `FileTensor` a few megabytes at a time."""
    if isinstance(tensor, FileTensor):
        for chunk in tensor.part.chunks():
            file.write(chunk)
    else:
        file.write(tensor.tobytes())


class DataFile:
    """A file of external data on its way: tensors one behind the other, and the digest of them all.

    Attributes:
        length: Bytes so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.length = 0
        self._file, self._hash = file, hashlib.sha256()

    @property
    def digest(self) -> str:
        """The first 16 digits of the SHA-256 of what was written."""
        return self._hash.hexdigest()[:16]

    def add(self, tensor: ir.TensorProtocol) -> int:
        """Write a tensor's numbers at the end; return where they begin."""
        offset = self.length
        write_numbers(tensor, self)
        return offset

    def write(self, content: bytes | memoryview) -> int:
        """Write bytes at the end, as files do."""
        self._file.write(content)
        self._hash.update(content)
        self.length += len(content)
        return len(content)
