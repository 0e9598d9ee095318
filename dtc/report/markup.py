"""HTML and SVG as values: text is escaped by construction, so no name from a model can become an element."""

from __future__ import annotations

from html import escape
from typing import TypeAlias

_VOID = frozenset({"meta", "wbr"})


class Markup(str):
    """Text that is HTML or SVG already and needs no escaping."""

    __slots__ = ()


Child: TypeAlias = "str | Markup | list[Markup] | None"


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Return an element; plain text is escaped, None is left out.

    Attribute names are given with `_` for `-`, and a `_` at the end where Python has the word (`class_`).
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Return markup of several pieces, one after the other."""
    parts: list[str] = []
    for child in children:
        # 1. A list: pieces that are markup already. 2. Markup as it is. 3. Plain text, escaped: "a<b" -> "a&lt;b".
        if isinstance(child, list):
            parts += child
        elif child is not None:
            parts.append(child if isinstance(child, Markup) else escape(child))
    return Markup("".join(parts))


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
