"""Numbers written for people: bytes, times and shapes, alike on the terminal and in the report."""

from __future__ import annotations

from collections.abc import Sequence


def size(nbytes: float) -> str:
    """Return bytes in a unit that fits, decimal."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= scale:
            return f"{nbytes / scale:.2f} {unit}"
    return f"{nbytes:.0f} B"


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds."""
    return f"{seconds * 1e3:.3g} ms"


def printable(text: str) -> str:
    r"""Return a text as it can be shown: names come from files, and a terminal obeys what it is sent.

    An escape becomes the four letters `\x1b`.
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shape(dims: Sequence[int]) -> str:
    """Return a shape as `a x b x c`."""
    return "x".join(str(d) for d in dims)
