"""Click options made from declared pydantic fields, so that every option is declared once."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo


def option(flag: str, parameter: str, field: FieldInfo, *, note: str = "") -> Any:
    """Return a click option for a field; it is None (or empty) where it was not given.

    The help is the field's description, with `note` before it and the default after it.
    """
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag.removeprefix('--')}", parameter, default=None, help=_text(field, note))
    kind, several = _kind(field.annotation)
    text = _text(field, note)
    if several:
        return click.option(flag, parameter, type=kind, multiple=True, help=text)
    return click.option(flag, parameter, type=kind, default=None, help=text, callback=_as_declared(field.annotation))


def _as_declared(annotation: Any) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback that makes of a choice, which click has as text, the value that was declared."""
    words = {str(word): word for word in get_args(annotation)} if get_origin(annotation) is Literal else {}
    return lambda _context, _parameter, value: words.get(value, value)


def _text(field: FieldInfo, note: str) -> str:
    return " ".join(word for word in (note, field.description or "", _default(field)) if word)


def _kind(annotation: Any) -> tuple[click.ParamType[Any] | type, bool]:
    """Return click's type for an annotation, and whether the option may be repeated."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Literal:
        return click.Choice([str(word) for word in get_args(annotation)]), False
    if get_origin(annotation) in (tuple, dict):
        return str, True
    return (annotation if annotation in (int, float, str) else str), False


def _default(field: FieldInfo) -> str:
    if field.is_required() or not isinstance(field.default, int | float | str) or field.default is False:
        return ""
    return f"(default: {field.default})"
