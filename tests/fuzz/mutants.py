"""Damaged models, drawn by seed: a seed is a mutant for good, so that one that found something can be kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

_EDGES = (0, 1, -1, 2, 3, 7, 127, 255, 2**31 - 1, -(2**31), 2**62, -(2**63))
_WORDS = ("", "x", "y", "W", "dtc", "MatMul", "Transpose", "If", "a" * 300, "\0", "../w", "\x1b[31m")


def mutant(models: Sequence[tuple[str, Message]], seed: int) -> tuple[str, bytes]:
    """Return the name of the model that was damaged, and the file's content."""
    dice = random.Random(seed)
    name, model = dice.choice(models)
    damaged = type(model)()
    damaged.CopyFrom(model)
    if dice.random() < 0.3:
        return f"{name}, bytes", _with_other_bytes(damaged.SerializeToString(), dice)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        _damage(damaged, dice)
    return f"{name}, fields", damaged.SerializePartialToString()


def _with_other_bytes(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 8, 64))):
        place = dice.randrange(len(changed))
        match dice.randrange(4):
            case 0:
                changed[place] ^= 1 << dice.randrange(8)
            case 1:
                changed[place] = dice.randrange(256)
            case 2:
                del changed[place : place + dice.randrange(1, 9)]
            case _:
                changed[place:place] = changed[place : place + dice.randrange(1, 33)]
        if not changed:
            return b""
    return bytes(changed)


def _damage(model: Message, dice: random.Random) -> None:
    """Change one field of one message, large arrays seldom: what breaks readers is structure."""
    messages = _messages(model)
    message = dice.choice(messages)
    fields = message.ListFields()
    if not fields:
        return
    field, value = dice.choice(fields)
    repeated = hasattr(value, "__len__") and not isinstance(value, str | bytes)
    if dice.random() < 0.25:
        message.ClearField(field.name)
    elif repeated:
        _damage_list(value, dice, messages)
    elif isinstance(value, Message):
        others = [other for other in messages if type(other) is type(value)]
        _replace(value, dice.choice(others))
    else:
        _assign(message, field.name, value, dice)


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
        bytes: lambda: dice.choice((b"", value[: len(value) // 2], value + b"\x00", value[:-1], b"\xff\xfe")),
        bool: lambda: not value,
        int: lambda: dice.choice((*_EDGES, value + 1, value - 1)),
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
