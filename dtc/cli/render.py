"""Tables and numbers as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

_plain = Console()
console = Console(highlight=False, width=None if _plain.is_terminal else 160)
"""Standard output; wide where it is no terminal, so that no line is broken."""


def size(nbytes: float) -> str:
    """Return bytes in a unit that fits, decimal."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= scale:
            return f"{nbytes / scale:.2f} {unit}"
    return f"{nbytes:.0f} B"


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds."""
    return f"{seconds * 1e3:.3g} ms"


def shape(dims: Sequence[int]) -> str:
    """Return a shape as `a x b x c`."""
    return "x".join(str(d) for d in dims)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table; columns that start with `>` are aligned to the right."""
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)
