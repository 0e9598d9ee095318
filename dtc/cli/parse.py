"""Values of options that are written as NAME=VALUE, or as a size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ByteSize, TypeAdapter, ValidationError

from dtc.errors import UsageError


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=VALUE words as a dict.

    Raises:
        UsageError: A word is not of that form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        # From the left: a value may hold "=", a name may not.
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {word}: write it as NAME=VALUE")
        if name in found:
            raise UsageError(f"{option} {word}: {name} is given twice")
        found[name] = value
    return found


def fixed_inputs(words: Sequence[str]) -> dict[str, Any]:
    """Return NAME=VALUE words as arrays; a value is a number, a string, or a JSON list of them.

    Lists of several lengths in one, `[[1,2],[3]]`, are the items of a sequence: a list of arrays.

    Raises:
        UsageError: A value is neither, or mixes numbers and strings.
    """
    return {name: _value(name, value) for name, value in pairs(words, "--input").items()}


def shapes_of(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return NAME=SIZE,SIZE words as shapes.

    Raises:
        UsageError: A size is no whole number from 1 on.
    """
    found = pairs(words, "--shape")
    for name, sizes in found.items():
        if not all(size.strip().isdecimal() and int(size) for size in sizes.split(",")):
            raise UsageError(f"--shape {name}={sizes}: write the sizes as 1,576")
    return {name: tuple(map(int, sizes.split(","))) for name, sizes in found.items()}


def byte_size(word: str | None, option: str) -> int | None:
    """Return a size such as `8G`, `500kB` or `2GiB` in bytes; None if none is given.

    Raises:
        UsageError: It is no size.
    """
    if word is None:
        return None
    try:
        return int(TypeAdapter(ByteSize).validate_python(word))
    except ValidationError as error:
        raise UsageError(f"{option} {word}: write a size such as 8G, 500M or 2GiB") from error


def read_drop(text: str) -> tuple[float, bool]:
    """Return the loss that a user means, and whether it is a share of the original's metric: `0.01`, `1%`.

    Raises:
        UsageError: It is no loss.
    """
    share = text.strip().endswith("%")
    try:
        found = float(text.strip().removesuffix("%")) / (100 if share else 1)
    except ValueError as error:
        raise UsageError(
            f"--max-drop {text}: write a number in the metric's own unit, or a share such as 1%"
        ) from error
    if not 0 <= found < float("inf"):
        raise UsageError(f"--max-drop {text}: write a number from 0 on")
    return found, share


def read_time(text: str) -> float:
    """Return the seconds that a user means: `20m`, `90s`, `1.5h`, `300`.

    Raises:
        UsageError: It is no time.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1:]) if text[-1:].isalpha() else (text, "s")
    try:
        found = float(number) * units[unit.lower()]
    except (KeyError, ValueError) as error:
        raise UsageError(f"--time {text}: write a time such as 90s, 20m or 1.5h") from error
    if not 0 < found < float("inf"):
        raise UsageError(f"--time {text}: write a time above 0")
    return found


def _value(name: str, value: str) -> Any:
    wrong = f'--input {name}={value}: write a number, a string, or a JSON list of them: 0.5, [1,2], ["a","b"]'
    try:
        read = json.loads(value)
    except json.JSONDecodeError as error:
        if value[0] in '[{"':
            raise UsageError(wrong) from error
        read = value
    if isinstance(read, list) and len({np.shape(each) for each in read if not _is_ragged(each)}) > 1:
        arrays = [_array(each) for each in read]
        if any(array is None for array in arrays):
            raise UsageError(wrong)
        return arrays
    array = _array(read)
    if array is None:
        raise UsageError(wrong)
    return array


def _is_ragged(read: object) -> bool:
    return isinstance(read, list) and len({np.shape(each) for each in read if not _is_ragged(each)}) > 1


def _array(read: object) -> npt.NDArray[np.generic] | None:
    """Return numbers or strings as an array; None of anything else, and of lists of several lengths."""
    try:
        array = np.asarray(read)
    except ValueError:
        return None
    if array.dtype.kind == "U":
        # NumPy makes strings of numbers among strings; here that is a mistake.
        text = np.asarray(read, object)
        return text if all(isinstance(each, str) for each in text.ravel()) else None
    return array if array.dtype.kind in "iufb" else None
