"""Free dimensions whose size follows from others: `past_sequence_length + 1`, or the total of past and new tokens.

Exporters of language models give such names, and a model runs with sizes only that fit together.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping

PAST = "past"
"""What the names of dimensions have in them that count what a model was given before."""

_TOTAL = "total"
_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
}


def derived_sizes(names: Iterable[str]) -> dict[str, ast.expr]:
    """Return by name the dimensions that are told by others, and how: sums and the like of names and numbers."""
    names = list(dict.fromkeys(names))
    found = {name: parsed for name in names if (parsed := _expression(name)) is not None}
    parts = [name for name in names if name not in found]
    for name in parts:
        if _TOTAL in name.lower() and (words := _past_and_new(name, parts)):
            found[name] = ast.parse(" + ".join(words), mode="eval").body
    return found


def size_by(expression: ast.expr, size: Callable[[str], int]) -> int:
    """Return what an expression comes to, at least 0, `size` being that of each name in it."""
    if isinstance(expression, ast.Constant):
        return int(expression.value) if isinstance(expression.value, int) else 0
    if isinstance(expression, ast.Name):
        return size(expression.id)
    assert isinstance(expression, ast.BinOp)
    left, right = size_by(expression.left, size), size_by(expression.right, size)
    divides = isinstance(expression.op, ast.FloorDiv | ast.Div)
    return max(0, _OPERATORS[type(expression.op)](left, max(right, 1) if divides else right))


def _expression(name: str) -> ast.expr | None:
    """Return a name that is an expression, parsed; None of any other."""
    try:
        parsed = ast.parse(name.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return parsed if isinstance(parsed, ast.BinOp) and _is_sum(parsed) else None


def _is_sum(expression: ast.expr) -> bool:
    if isinstance(expression, ast.BinOp):
        return type(expression.op) in _OPERATORS and _is_sum(expression.left) and _is_sum(expression.right)
    is_number = isinstance(expression, ast.Constant) and isinstance(expression.value, int)
    return is_number or isinstance(expression, ast.Name)


def _past_and_new(total: str, names: list[str]) -> list[str]:
    """Return the dimensions that a total is of: `past_length` and `length` of `total_length`; none if in doubt."""
    rest = total.lower().replace(_TOTAL, "").strip("_")
    names = [name for name in names if name.isidentifier() and name != total]
    pasts = [name for name in names if PAST in name.lower()]
    alike = [name for name in pasts if name.lower().replace(PAST, "").strip("_") == rest]
    new = [name for name in names if name.lower() == rest]
    others = [name for name in names if name not in pasts and ("seq" in name.lower() or "len" in name.lower())]
    chosen = [(alike or pasts)[:1], (new or others)[:1]]
    return [name for each in chosen for name in each] if all(chosen) else []
