"""Texts of a model file that are none: a name that is not UTF-8 is read as bytes, and could not be written again."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dtc.errors import ModelError


def require_text(model: onnx.ModelProto) -> None:
    """Look at every name and description within a model.

    Raises:
        ModelError: One is not UTF-8; the message shows its bytes.
    """
    waiting: list[Message] = [model]
    for message in waiting:  # grows as messages are found
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_STRING:
                _require(value, f"{message.DESCRIPTOR.name}.{field.name}")
            elif field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting += _messages(value)


def _require(value: object, told: str) -> None:
    for text in (value,) if isinstance(value, str | bytes) else tuple(value):  # type: ignore[arg-type]
        if isinstance(text, bytes):
            raise ModelError(f"holds a text that is not UTF-8, {text[:60]!r} ({told}); export it again")


def _messages(value: Message | list[Message]) -> Iterator[Message]:
    if isinstance(value, Message):
        yield value
    else:
        yield from value
