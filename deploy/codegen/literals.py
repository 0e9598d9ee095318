"""Numbers, arrays and names as C."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

ELEMENTS: Mapping[str, str] = {
    "float32": "float",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "bool": "bool",
}
"""The C type of an array's numbers."""

_WIDTH = 118


def number(value: float) -> str:
    """Return a number or truth value as C: floats as float32, in the fewest digits that give it back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _integer(value)
    return _numbers(np.array([value], np.float32))[0]


def array(name: str, values: npt.NDArray[np.generic]) -> str:
    """Return the definition of a constant array, its axes as one; of an empty one, which C does not have, a zero."""
    flat = values.reshape(-1) if values.size else np.zeros(1, values.dtype)
    return f"static const {ELEMENTS[str(flat.dtype)]} {name}[{flat.size}] = {{\n{_lines(_numbers(flat))}\n}};\n"


def members(given: Mapping[str, object]) -> str:
    """Return the members of a struct as C."""
    return ", ".join(f".{name} = {_member(value)}" for name, value in given.items())


def identifiers(prefix: str, names: Sequence[str]) -> list[str]:
    """Return a C name for each name, no two the same."""
    found: list[str] = []
    for name in names:
        wanted = f"{prefix}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_') or len(found)}"
        free = (f"{wanted}_{number}" for number in count(len(found)))
        found.append(wanted if wanted not in found else next(each for each in free if each not in found))
    return found


def comment(text: str) -> str:
    """Return a text as a comment that nothing in it ends."""
    told = re.sub(r"[^ -~]+", "?", text).replace("*/", "* /").replace("/*", "/ *")
    return f"/* {told} */"


def _member(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"{{{', '.join(map(number, value))}}}"
    return value if isinstance(value, str) else number(value)  # type: ignore[arg-type]


def _numbers(flat: npt.NDArray[np.generic]) -> list[str]:
    if flat.dtype == np.float32:
        return [_SPECIAL.get(each, f"{each}f") for each in flat.astype(str).tolist()]
    if flat.dtype == np.bool_:
        return ["true" if each else "false" for each in flat.tolist()]
    return [_integer(each) for each in flat.tolist()]


def _integer(value: int) -> str:
    """Return an integer as C, where the least one is no literal, but the negative of one that is too large."""
    return "INT64_MIN" if value == _LEAST else str(value)


_LEAST = -(2**63)


_SPECIAL = {"inf": "INFINITY", "-inf": "-INFINITY", "nan": "NAN"}


def _lines(words: Iterable[str]) -> str:
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "\n".join([*lines, line])
