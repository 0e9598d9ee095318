"""Parts of a page: tables, and declared fields in words."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic.fields import FieldInfo

NOTE = "<!-- Written by `python docs/generate`; change the docstrings and the declared options instead. -->"

_KINDS = {bool: "yes or no", int: "whole number", float: "number", str: "text", dict: "names and values"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def page(title: str, parts: Iterable[str]) -> str:
    """Return a page: its title, the note that it is generated, its parts."""
    return "\n\n".join([f"# {title}", NOTE, *parts]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def named(names: Iterable[str]) -> str:
    """Return names in the type of code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


def docstring(of: Any) -> str:
    """Return a docstring, without its indentation."""
    return inspect.getdoc(of) or ""


def field_row(label: str, field: FieldInfo) -> list[str]:
    """Return the row of a declared field: label, values, default, description."""
    return [f"`{label}`", values_of(field), default_of(field), field.description or ""]


def values_of(field: FieldInfo) -> str:
    """Return what a field takes, in words.

    `int` with `ge=1, le=8` is "whole number, 1 to 8", with `gt=0` alone "whole number, above 0"; `Literal["a", "b"]`
    is "`a`, `b`". What a validator refuses is in the description.
    """
    kinds = [field.annotation]
    if typing.get_origin(field.annotation) in (typing.Union, types.UnionType):
        kinds = [_plain(part) for part in typing.get_args(field.annotation) if part is not type(None)]
    if typing.get_origin(kinds[0]) is Literal:
        return named(map(str, typing.get_args(kinds[0])))
    words = [named(map(str, typing.get_args(kind))) for kind in kinds if typing.get_origin(kind) is Literal]
    plain = [kind for kind in kinds if typing.get_origin(kind) is not Literal]
    names = {_KINDS.get(typing.get_origin(kind) or kind, "list") for kind in plain}  # type: ignore[arg-type]
    return ", ".join([" or ".join([*sorted(names), *words]), *_bounds(field)])


def _plain(part: Any) -> Any:
    """Return a type without what is annotated."""
    return typing.get_args(part)[0] if typing.get_origin(part) is typing.Annotated else part


def _bounds(field: FieldInfo) -> list[str]:
    found = {name: getattr(each, name) for each in field.metadata for name in _BOUNDS if hasattr(each, name)}
    if {"ge", "le"} <= found.keys():
        return [f"{found['ge']} to {found['le']}"]
    return [f"{word} {found[name]}" for name, word in _BOUNDS.items() if name in found]


def default_of(field: FieldInfo) -> str:
    """Return the default of a field, in words; nothing where there is none."""
    if field.is_required():
        return "required"
    match field.get_default(call_default_factory=True):
        case bool(given):
            return "yes" if given else "no"
        case tuple(several):
            return named(map(str, several))
        case None | {}:
            return ""
        case given:
            return f"`{given}`"
