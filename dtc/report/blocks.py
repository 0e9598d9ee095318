"""Pieces of the page that several sections use."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dtc.report.markup import Child, Markup, join, tag


def section(title: str, *children: Child, id_: str) -> Markup:
    """Return a section with its heading."""
    return tag("section", tag("h2", title), *children, id_=id_)


def table(columns: Sequence[str], rows: Sequence[Markup], *, class_: str = "") -> Markup:
    """Return a table that scrolls sideways where it is too wide; columns that start with `>` hold numbers."""
    head = [
        tag("th", column.removeprefix(">"), class_="number" if column.startswith(">") else None, scope="col")
        for column in columns
    ]
    inside = tag("table", tag("thead", tag("tr", head)), tag("tbody", list(rows)), class_=class_ or None)
    return tag("div", inside, class_="scroll")


def row(*cells: Markup) -> Markup:
    """Return a row of a table."""
    return tag("tr", list(cells))


def text(content: str | Markup, class_: str | None = None) -> Markup:
    """Return a cell of text."""
    return tag("td", content, class_=class_)


def name(content: str) -> Markup:
    """Return a name that a browser breaks after separators, and inside words only if necessary."""
    # "encoder.layer.0/W" -> "encoder." "layer." "0/" "W", with a place to break between two pieces.
    pieces = re.split(r"(?<=[/._:])(?=[^/._:])", content)
    return tag(
        "span", [join(tag("wbr") if index else None, piece) for index, piece in enumerate(pieces)], class_="name"
    )


def number(content: str, value: float | None = None) -> Markup:
    """Return a cell with a number; the column is sorted by `value`."""
    return tag("td", content, class_="number", data_value=None if value is None else repr(value))


def legend(*items: tuple[str, str]) -> Markup:
    """Return a legend: class of the mark, and its words."""
    return tag("p", [tag("span", tag("i", class_=f"key {class_}"), words) for class_, words in items], class_="legend")
