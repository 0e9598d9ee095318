"""Click options made from declared pydantic fields, so that every option is declared once."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from dtc.cli.sections import Option, Section


class NumberOrWord(click.ParamType[Any]):
    """A whole number, or one of some words that stand for one."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words, self.name = words, "|".join(["integer", *words])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a word as it is, anything else as a number."""
        if value in self.words:
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor {' or '.join(self.words)}", param, ctx)


def declared(
    flag: str, parameter: str, field: FieldInfo, section: Section, *, notes: tuple[str, ...] = (), hidden: bool = False
) -> Option:
    """Return a click option for a field; its value is None (or empty) where it was not given.

    The help is the field's description, and in brackets bounds, default and `notes`.

    Args:
        flag: As it is written, such as `--rank-ratio`.
        parameter: Name of the argument that the command gets.
        field: What is declared.
        section: Where it stands in the help.
        notes: What else the help says in the brackets.
        hidden: True if the help does not show it.
    """
    told: dict[str, Any] = {"default": None, "help": _text(field, notes), "section": section, "hidden": hidden}
    # 1. A switch has two flags, --x and --no-x, so that None still means that it was not given.
    if field.annotation in (bool, bool | None):
        return Option([f"{flag}/--no-{flag.removeprefix('--')}", parameter], **told)
    kind, several = _kind(field.annotation)
    # 2. An option that may be repeated gives a tuple, empty where it was not given.
    if several:
        return Option([flag, parameter], type=kind, multiple=True, **told)
    # 3. One value.
    return Option([flag, parameter], type=kind, callback=_as_declared(field.annotation), **told)


def _as_declared(annotation: Any) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback that converts a choice, text for click, to the declared value."""
    words = {str(word): word for word in get_args(annotation)} if get_origin(annotation) is Literal else {}
    return lambda _context, _parameter, value: words.get(value, value)


def _text(field: FieldInfo, notes: tuple[str, ...]) -> str:
    facts = "; ".join([*_required(field), *_bounds(field), *_default(field), *notes])
    return " ".join(word for word in (field.description or "", f"[{facts}]" if facts else "") if word)


def _kind(annotation: Any) -> tuple[click.ParamType[Any] | type, bool]:
    """Return click's type for an annotation, and whether the option may be repeated."""
    # 1. `int | None` is asked for as int: None is what an option has that was not given.
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        words = [word for part in parts[1:] if get_origin(part) is Literal for word in get_args(part)]
        if words:
            return NumberOrWord(tuple(words)), False
        annotation = parts[0]
    # 2. Words to choose from; numbers among them are text for click, and made numbers again by `_as_declared`.
    if get_origin(annotation) is Literal:
        return click.Choice([str(word) for word in get_args(annotation)]), False
    # 3. Several values; a dict is given as NAME=VALUE words, which `dtc.cli.parse` takes apart.
    if get_origin(annotation) in (tuple, dict):
        return str, True
    return (annotation if annotation in (int, float, str) else str), False


def _required(field: FieldInfo) -> Iterator[str]:
    if field.is_required():
        yield "required"


def _bounds(field: FieldInfo) -> Iterator[str]:
    """Yield the bounds in words: `1 to 8`, `above 0, at most 1`."""
    # Two bounds that are both included read as a range; any other combination is listed: ge=1 and lt=10 gives "at least
    # 1, below 10".
    least = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    most = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    if least is not None and most is not None:
        yield f"{least} to {most}"
        return
    words = []
    for bound in field.metadata:
        match bound:
            case Ge(ge=least):
                words.append(f"at least {least}")
            case Gt(gt=below):
                words.append(f"above {below}")
            case Le(le=most):
                words.append(f"at most {most}")
            case Lt(lt=above):
                words.append(f"below {above}")
    if words:
        yield ", ".join(words)


def _default(field: FieldInfo) -> Iterator[str]:
    # None and lists say nothing in a help text. A switch that is off by default needs no word, one that is on does.
    if not field.is_required() and isinstance(field.default, int | float | str) and field.default is not False:
        yield f"default: {field.default}"
