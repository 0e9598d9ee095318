"""Models as protobuf lays them out on the wire: large tensors are left where they are, all around them is read.

A message is a row of fields, each a tag (the field's number and how long it is), then its content; messages within
messages are fields of a known length. So what is not wanted is stepped over. What is no such row is left to protobuf,
which says what is wrong with it. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx
import onnx_ir as ir
from google.protobuf.message import Message

from dtc.graph.file_tensor import FileTensor

Buffer: TypeAlias = "bytes | mmap.mmap"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 100
"""Messages within messages, as protobuf itself has it."""

_Kind: TypeAlias = type[Message]
_WITHIN: Mapping[_Kind, Mapping[int, _Kind]] = {
    onnx.ModelProto: {
        onnx.ModelProto.GRAPH_FIELD_NUMBER: onnx.GraphProto,
        onnx.ModelProto.FUNCTIONS_FIELD_NUMBER: onnx.FunctionProto,
    },
    onnx.GraphProto: {
        onnx.GraphProto.NODE_FIELD_NUMBER: onnx.NodeProto,
        onnx.GraphProto.INITIALIZER_FIELD_NUMBER: onnx.TensorProto,
    },
    onnx.FunctionProto: {
        onnx.FunctionProto.NODE_FIELD_NUMBER: onnx.NodeProto,
        onnx.FunctionProto.ATTRIBUTE_PROTO_FIELD_NUMBER: onnx.AttributeProto,
    },
    onnx.NodeProto: {onnx.NodeProto.ATTRIBUTE_FIELD_NUMBER: onnx.AttributeProto},
    onnx.AttributeProto: {
        onnx.AttributeProto.T_FIELD_NUMBER: onnx.TensorProto,
        onnx.AttributeProto.G_FIELD_NUMBER: onnx.GraphProto,
        onnx.AttributeProto.GRAPHS_FIELD_NUMBER: onnx.GraphProto,
    },
}
"""The fields that lead to tensors, and what they hold, by the message that has them."""
_RAW, _TYPE = onnx.TensorProto.RAW_DATA_FIELD_NUMBER, onnx.TensorProto.DATA_TYPE_FIELD_NUMBER
_PLAIN = frozenset(
    {
        _TYPE,
        onnx.TensorProto.DIMS_FIELD_NUMBER,
        onnx.TensorProto.NAME_FIELD_NUMBER,
        onnx.TensorProto.DOC_STRING_FIELD_NUMBER,
    }
)
"""What may stand beside raw data that stays in its file: no second kind of data, and no place of another file."""
_HELD = frozenset(int(dtype) for dtype in ir.DataType if FileTensor.holds(dtype))


class _NotWireError(ValueError):
    """The bytes are no row of fields."""


@dataclass(frozen=True)
class _Field:
    """A field of a message, and where it lies: its tag at `start`, its content from `begin` to `end`."""

    number: int
    kind: int
    start: int
    begin: int
    end: int


@dataclass
class Skeleton:
    """A model's message without its large tensors.

    Attributes:
        message: The rest, in which each of them says that it lies in external data, under a name of its own.
        places: Where their data lies in the file, offset and length, by these names.
    """

    message: bytes
    places: dict[str, tuple[int, int]] = field(default_factory=dict)


def skeleton_of(buffer: Buffer, large: int, mark: str) -> Skeleton:
    """Return a model file's message without the raw data of tensors of `large` bytes or more.

    Their names begin with `mark`, which has to be one that no file can hold.
    """
    places: dict[str, tuple[int, int]] = {}
    try:
        cut = _Cut(large, mark, places)
        message = b"".join(_without_large(buffer, (0, len(buffer)), onnx.ModelProto, cut, 0))
    except _NotWireError:
        return Skeleton(bytes(buffer[:]))
    return Skeleton(message, places)


@dataclass(frozen=True)
class _Cut:
    large: int
    mark: str
    places: dict[str, tuple[int, int]]


def _without_large(buffer: Buffer, span: tuple[int, int], kind: _Kind, cut: _Cut, depth: int) -> Iterator[bytes]:
    """Yield the pieces of a message without the raw data of large tensors within it."""
    within = _WITHIN[kind]
    kept = span[0]
    for each in _fields(buffer, *span):
        inner = within.get(each.number)
        if inner is None or each.kind != _BYTES or each.end - each.begin < cut.large or depth > _DEEPEST:
            continue
        place = (each.begin, each.end)
        if inner is onnx.TensorProto:
            content = _without_data(buffer, place, cut)
        else:
            content = b"".join(_without_large(buffer, place, inner, cut, depth + 1))
        # 1. What stands before it, as it is. 2. Its tag. 3. Its new length, and what is left of it.
        yield buffer[kept : each.start]
        yield _framed(each.number, content)
        kept = each.end
    yield buffer[kept : span[1]]


def _without_data(buffer: Buffer, span: tuple[int, int], cut: _Cut) -> bytes:
    """Return a tensor's message with its raw data named as external; as it is where the data cannot stay apart."""
    fields = list(_fields(buffer, *span))
    raw = [each for each in fields if each.number == _RAW and each.kind == _BYTES]
    rest = [each for each in fields if each.number != _RAW]
    types = [_varint(buffer, each.begin, each.end)[0] for each in rest if each.number == _TYPE and each.kind == _VARINT]
    apart = (
        len(raw) == 1
        and raw[0].end - raw[0].begin >= cut.large
        and all(each.number in _PLAIN for each in rest)
        and len(types) == 1
        and types[0] in _HELD
    )
    if not apart:
        return buffer[span[0] : span[1]]
    name = f"{cut.mark}{len(cut.places)}"
    cut.places[name] = (raw[0].begin, raw[0].end - raw[0].begin)
    told = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    told.external_data.add(key="location", value=name)
    return b"".join(buffer[each.start : each.end] for each in rest) + told.SerializeToString()


def spliced(message: bytes, mark: bytes, contents: Mapping[bytes, int]) -> Iterator[bytes]:
    """Yield a message in which fields stand for longer contents: all around them with the lengths that this makes.

    `contents` are the lengths of the contents by the bytes that stand for them, all of one length; each begins with
    `mark`, which nothing else may hold. Where a content belongs, the bytes that stand for it are yielded alone.
    """
    width = len(next(iter(contents), mark))
    places = [found.start() for found in re.finditer(re.escape(mark), message)]
    marks = [message[place : place + width] for place in places]
    pieces, _ = _spliced(message, (0, len(message)), (places, marks), contents)
    yield from pieces


def _spliced(
    message: bytes, span: tuple[int, int], marked: tuple[list[int], list[bytes]], lengths: Mapping[bytes, int]
) -> tuple[list[bytes], int]:
    """Return the pieces of a part of a message, and their length once the contents are in."""
    places, marks = marked
    if len(places) == 1 and span == (places[0], places[0] + len(marks[0])):
        return marks, lengths[marks[0]]
    pieces: list[bytes] = []
    total, kept = 0, span[0]
    for each in _fields(message, *span) if places else ():
        # Both lists ascend: those within this field are a range of them.
        first, last = bisect_left(places, each.begin), bisect_left(places, each.end)
        if first == last:
            continue
        within, length = _spliced(message, (each.begin, each.end), (places[first:last], marks[first:last]), lengths)
        head = message[kept : each.start] + _head(each.number, length)
        pieces += [head, *within]
        total, kept = total + len(head) + length, each.end
    return [*pieces, message[kept : span[1]]], total + span[1] - kept


def _fields(buffer: Buffer, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        tag, begin = _varint(buffer, start, end)
        kind = tag & 7
        if kind == _BYTES:
            length, begin = _varint(buffer, begin, end)
        elif kind == _VARINT:
            length = _varint(buffer, begin, end)[1] - begin
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise _NotWireError(f"field of kind {kind}")
        if begin + length > end or tag >> 3 == 0:
            raise _NotWireError("a field that ends behind its message")
        yield _Field(tag >> 3, kind, start, begin, begin + length)
        start = begin + length


def _varint(buffer: Buffer, start: int, end: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where it ends."""
    number = 0
    for index, byte in enumerate(buffer[start : min(start + 10, end)]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, start + index + 1
    raise _NotWireError("a number without an end")


def _framed(number: int, content: bytes) -> bytes:
    return _head(number, len(content)) + content


def _head(number: int, length: int) -> bytes:
    """Return the tag and the length of a field of bytes."""
    return _as_varint(number << 3 | _BYTES) + _as_varint(length)


def _as_varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
