"""Which plain words of a recipe are numbers, truth values or nothing: the core schema of YAML 1.2.

PyYAML follows YAML 1.1, where `off` is a truth value, `1:30` a number and `1e-3` a word; a recipe says
`shared_projection: off` and `learning_rate: 1e-3`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

NULL, BOOL, INT, FLOAT, STR = (f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str"))

Resolvers = Mapping[str | None, Sequence[tuple[str, re.Pattern[str]]]]

_PATTERNS = (
    (NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (INT, r"[-+]?[0-9]+", list("-+0123456789")),
    (FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
)


def resolvers() -> dict[str | None, list[tuple[str, re.Pattern[str]]]]:
    """Return PyYAML's table of implicit types: by the first character of a word, the tags and their patterns."""
    table: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, starts in _PATTERNS:
        for start in starts:
            # PyYAML tries the patterns of a word's first character in order: INT before FLOAT makes 12 an integer.
            table.setdefault(start, []).append((tag, re.compile(rf"(?:{pattern})\Z")))
    return table


def value(tag: str, text: str) -> str | int | float | bool | None:
    """Return the value of a scalar of the given tag.

    Raises:
        ValueError: A number that is none, or longer than Python reads.
    """
    if tag == NULL:
        return None
    if tag == BOOL:
        return text.lower() == "true"
    if tag == INT:
        return int(text)
    return float(text) if tag == FLOAT else text
