"""Damaged contents, drawn by dice: those that are thrown alike damage alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_EDGES = (0, 1, -1, 2, 3, 7, 127, 255, 2**31 - 1, -(2**31), 2**62, -(2**63))
_WORDS = (
    "",
    "x",
    "y",
    "W",
    "dtc",
    "MatMul",
    "Transpose",
    "If",
    "a" * 300,
    "\0",
    "../w",
    "\x1b[31m",
    "W0",
    "com.microsoft",
)
_WIDE = 64
"""Bytes; longer fields are weights, in which damage is seldom seen."""


def damaged_model(model: Message, donors: Sequence[Message], dice: random.Random) -> bytes:
    """Return a model damaged in its bytes, or in some fields; parts may come from `donors`."""
    damaged = type(model)()
    damaged.CopyFrom(model)
    if dice.random() < 0.3:
        return _with_other_structure(damaged, dice)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        _damage(damaged, donors, dice)
    return damaged.SerializePartialToString()


def damaged_bytes(content: bytes, dice: random.Random) -> bytes:
    """Return bytes some of which are changed, removed or doubled."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 8, 64))):
        if not changed:
            break
        _damage_at(changed, dice.randrange(len(changed)), dice)
    return bytes(changed)


def damaged_text(content: bytes, dice: random.Random) -> bytes:
    """Return a text of which a word is another one, a line is gone or doubled, or bytes are damaged."""
    if dice.random() < 0.3:
        return damaged_bytes(content, dice)
    lines = content.decode(errors="replace").split("\n")
    place = dice.randrange(len(lines))
    match dice.randrange(4):
        case 0:
            del lines[place]
        case 1:
            lines.insert(dice.randrange(len(lines)), lines[place])
        case 2:
            lines[place] = " " * dice.randrange(5) + lines[place].lstrip()
        case _:
            words = lines[place].split(" ")
            words[dice.randrange(len(words))] = dice.choice(_TOLD)
            lines[place] = " ".join(words)
    return "\n".join(lines).encode()


_TOLD = (
    "true",
    "null",
    "'8'",
    "-1",
    "1e309",
    "nan",
    "[]",
    "{}",
    "[[[[",
    "0x10",
    "1e9",
    "*a",
    "!!python/object:os.x {}",
    "é",
    '"\\u0000",',
)


def _with_other_structure(model: Message, dice: random.Random) -> bytes:
    """Damage bytes of a message, but few of those within its weights."""
    content = model.SerializeToString()
    weights = [(at, at + len(blob)) for blob in _long_bytes(model) if (at := content.find(blob)) >= 0]
    changed, count = bytearray(content), dice.choice((1, 1, 2, 8, 64))
    places = [
        place for place in (dice.randrange(len(content)) for _ in range(40 * count)) if not _within(place, weights)
    ]
    # From the end, so that places before it stay what they are.
    for place in sorted(places[:count], reverse=True):
        _damage_at(changed, min(place, len(changed) - 1), dice)
    return bytes(changed)


def _within(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start <= place < end for start, end in spans)


def _long_bytes(model: Message) -> list[bytes]:
    return [
        value
        for message in _messages(model)
        for _, value in message.ListFields()
        if isinstance(value, bytes) and len(value) > _WIDE
    ]


def _damage_at(content: bytearray, place: int, dice: random.Random) -> None:
    match dice.randrange(5):
        case 0:
            content[place] ^= 1 << dice.randrange(8)
        case 1:
            content[place] = dice.randrange(256)
        case 2:
            content[place] = dice.choice((0, 0xFF, 0x80, 0x1B, 0x7F))
        case 3:
            del content[place : place + dice.randrange(1, 9)]
        case _:
            content[place:place] = content[place : place + dice.randrange(1, 33)]


def _damage(model: Message, donors: Sequence[Message], dice: random.Random) -> None:
    """Change one field of one message, large arrays seldom: what breaks readers is structure."""
    messages = _messages(model)
    message = dice.choice(messages)
    fields = message.ListFields()
    if not fields or dice.random() < 0.1:
        _fill(message, dice)
        return
    field, value = dice.choice(fields)
    repeated = hasattr(value, "__len__") and not isinstance(value, str | bytes)
    if dice.random() < 0.2:
        message.ClearField(field.name)
        return
    others = [*messages, *(each for donor in donors if dice.random() < 0.2 for each in _messages(donor))]
    if repeated:
        _damage_list(value, dice, others)
    elif isinstance(value, Message):
        _replace(value, dice.choice([other for other in others if type(other) is type(value)]))
    else:
        _assign(message, field.name, value, dice)


def _fill(message: Message, dice: random.Random) -> None:
    """Give a field that has no value, or one more."""
    field = dice.choice(message.DESCRIPTOR.fields)
    held = getattr(message, field.name)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if hasattr(held, "add"):
            held.add()
        else:
            held.SetInParent()
    elif hasattr(held, "append"):
        example = {FieldDescriptor.CPPTYPE_STRING: ""}.get(field.cpp_type, 0)
        example = b"" if field.type == FieldDescriptor.TYPE_BYTES else example
        try:
            held.append(_other(example, dice))
        except (ValueError, TypeError):
            held.append(example)
    else:
        _assign(message, field.name, held, dice)


def _damage_list(items: Any, dice: random.Random, messages: Sequence[Message]) -> None:
    place = dice.randrange(len(items))
    simple = not isinstance(items[0], Message)
    match dice.randrange(4):
        case 0:
            del items[place]
        case 1 if simple:
            items.append(items[place])
        case 1:
            items.add().CopyFrom(items[place])
        case 2 if simple:
            _put(items, place, _other(items[place], dice))
        case 2:
            _replace(items[place], dice.choice([each for each in messages if type(each) is type(items[0])]))
        case _ if simple:
            _put(items, place, items[dice.randrange(len(items))])
        case _:
            _replace(items[place], items[dice.randrange(len(items))])


def _replace(message: Message, other: Message) -> None:
    """Make a message equal to another one, which may lie within it, or around it."""
    apart = type(other)()
    apart.CopyFrom(other)
    message.CopyFrom(apart)


def _put(items: Any, place: int, value: Any) -> None:
    try:
        items[place] = value
    except (ValueError, TypeError):  # out of the field's range
        items[place] = type(value)()


def _assign(message: Message, name: str, value: Any, dice: random.Random) -> None:
    try:
        setattr(message, name, _other(value, dice))
    except (ValueError, TypeError):
        message.ClearField(name)


def _other(value: Any, dice: random.Random) -> Any:
    kinds: dict[type, Callable[[], Any]] = {
        str: lambda: dice.choice((*_WORDS, value[:-1], value + "_")),
        bytes: lambda: dice.choice((b"", value[: len(value) // 2], value + b"\x00", value[:-1], b"\xff\xfe", b"\xc3(")),
        bool: lambda: not value,
        int: lambda: dice.choice((*_EDGES, value + 1, value - 1, dice.randrange(28))),
        float: lambda: dice.choice((0.0, -1.0, float("nan"), float("inf"), 1e38)),
    }
    return kinds[type(value)]()


def _messages(model: Message) -> list[Message]:
    """Return every message within a model, itself first."""
    found = [model]
    for message in found:  # grows as messages are found
        for _, value in message.ListFields():
            if isinstance(value, Message):
                found.append(value)
            elif hasattr(value, "__len__") and not isinstance(value, str | bytes) and len(value):
                found += [item for item in value if isinstance(item, Message)]
    return found
