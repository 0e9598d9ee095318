"""Messages about mistakes in a recipe: one line that names the place in the file and the mistake."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dtc.recipe.reading import Places


def describe(error: ValidationError, kind: type[BaseModel], places: Places) -> str:
    """Return the mistake that stands first in the file as `file:line:column: path: what is wrong`."""
    details = error.errors(include_url=False)
    # pydantic sorts mistakes by the fields of the classes; a person reads the file from the top.
    first = min(details, key=lambda each: _position(each["loc"], places))
    path = first["loc"]
    message = str(first["msg"]).removeprefix("Value error, ")
    # 1. A key too many: recipe.yaml:3:5: training.epoch: no such key; did you mean epochs?
    if first["type"] == "extra_forbidden":
        message = f"no such key{nearest(str(path[-1]), _fields(kind, path[:-1]))}"
    # 2. A key too few. 3. A bad value, which is shown where it is short enough to be.
    elif first["type"] == "missing":
        message = "is missing"
    elif isinstance(first["input"], str | int | float | bool):
        message += f" (given: {first['input']!r})"
    dotted = "".join(f"{part}: " for part in [".".join(map(str, path))] if part)
    return f"{places.find(path) or places.name or 'recipe'}: {dotted}{message}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to a message: the most similar known word, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are: {', '.join(known)}" if known else ""


def _position(path: tuple[str | int, ...], places: Places) -> tuple[int, int]:
    while path and path not in places.marks:
        # A value that is missing has no place of its own: the place of what it would be in.
        path = path[:-1]
    return places.marks.get(path, (1, 1))


def _fields(kind: Any, path: tuple[str | int, ...]) -> list[str]:
    """Return the keys of the part of a recipe that a path leads to."""
    # rules.0.options: the field `rules` is tuple[Rule, ...], the index leads to Rule, the field `options` to its type.
    # `Training | None` is Training.
    for step in path:
        if isinstance(step, str):
            kind = kind.model_fields[step].annotation
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(each for each in get_args(kind) if each is not type(None))
        if get_origin(kind) is tuple and isinstance(step, int):
            kind = get_args(kind)[0]
    return list(kind.model_fields)
