"""Tables on the terminal, and the words for numbers in them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dtc.formatting import milliseconds, printable, shape, size

__all__ = ["milliseconds", "shape", "size", "table", "tell"]

_plain = Console()
_console = Console(highlight=False, width=None if _plain.is_terminal else 160)
"""Standard output; wide where it is no terminal, so that no line is broken."""


def tell(line: str) -> None:
    """Print a line: what it names comes from files, and is neither markup nor an order to the terminal."""
    _console.print(printable(line), markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table; columns that start with `>` are aligned to the right."""
    grid = Table(
        title=None if title is None else escape(printable(title)),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for number, column in enumerate(columns):
        grid.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            # Names, as a user has to type them: broken into lines where they are long, and never cut.
            overflow="ellipsis" if number else "fold",
        )
    for row in rows:
        grid.add_row(*(escape(printable(cell)) for cell in row))  # a name may hold brackets
    _console.print(grid)
