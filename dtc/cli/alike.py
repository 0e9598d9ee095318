"""Sites that are alike in one row of a table, under names that are short and stay distinct."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")

SHOWN = 20
"""Rows of a table up to which each site has its own."""

_WIDTH = 32
_SEPARATORS = "/.:"


def together(items: Sequence[Item], key: Callable[[Item], Sequence[str]], *, every: bool) -> list[list[Item]]:
    """Return what has the same words, but for numbers in the last, in one list, where there are many or not `every`.

    In: 144 sites, of which 24 are products of 8x8 that are left alone as they save 120 or 121 bytes. Out: a list of
    these 24 among others.
    """
    if every or len(items) <= SHOWN:
        return [[each] for each in items]
    found: dict[tuple[str, ...], list[Item]] = {}
    for each in items:
        *words, last = key(each)
        found.setdefault((*words, re.sub(r"\d+(\.\d+)?", "0", last)), []).append(each)
    return list(found.values())


def labels(groups: Sequence[Sequence[str]]) -> tuple[list[str], str]:
    """Return a label for each group of names, and the beginning that all names have and no label.

    The label is the first name, cut in its middle where it is long, and how many others there are.
    """
    firsts = [group[0] for group in groups]
    start = _beginning(firsts) if max(map(len, firsts), default=0) > _WIDTH else 0
    rests = [name[start:] for name in firsts]
    shorts = rests
    for width in range(_WIDTH, max(map(len, rests), default=0)):
        shorts = [_cut(each, width) for each in rests]
        if len(set(shorts)) == len(set(rests)):
            break
        shorts = rests
    more = (f" and {len(group) - 1} alike" if len(group) > 1 else "" for group in groups)
    return [short + word for short, word in zip(shorts, more, strict=True)], firsts[0][:start] if firsts else ""


def _beginning(names: Sequence[str]) -> int:
    """Return how many letters all names begin with, up to a separator."""
    first, last = min(names), max(names)
    same = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), 0)
    return max(first[:same].rfind(each) for each in _SEPARATORS) + 1


def _cut(name: str, width: int) -> str:
    """Return a name without so much of its middle that it has `width` letters: its end tells most."""
    head = width // 3
    return name if len(name) <= width else f"{name[:head]}\N{HORIZONTAL ELLIPSIS}{name[head + 1 - width :]}"
