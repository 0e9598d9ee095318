"""The equation of an Einsum, seen from the operand that is a weight."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from dtc.graph.views import NoView

Letters = tuple[str, ...]
"""The letters of one term; `...` counts as one."""

ELLIPSIS = "..."


@dataclass(frozen=True)
class Contraction:
    """An Einsum as a sum over products with the weight, by the letters of its equation.

    Attributes:
        weight: Of the weight, without an ellipsis.
        others: Of each other operand.
        output: Of the result.
        batch: Letters of the weight that both another operand and the result have: one matrix for each.
        out: Letters that the result has alone: rows.
        into: Letters that another operand has alone, and that are summed over: columns.
    """

    weight: Letters
    others: tuple[Letters, ...]
    output: Letters
    batch: Letters
    out: Letters
    into: Letters

    def new_letter(self) -> str:
        """Return a letter that the equation does not have."""
        used = {*self.weight, *self.output, *(letter for other in self.others for letter in other)}
        return next(letter for letter in map(chr, (*range(97, 123), *range(65, 91))) if letter not in used)


def contraction(node: ir.Node, index: int, rank: int) -> Contraction | NoView:
    """Return an Einsum as a product with its operand `index`, of that rank, or why it is none."""
    terms, output = terms_of(node)
    if len(terms) != len(node.inputs):
        return NoView("its equation has another number of operands")
    weight, others = terms[index], tuple(term for i, term in enumerate(terms) if i != index)
    if len(weight) - (ELLIPSIS in weight) == rank:  # an ellipsis may stand for no axis
        weight = tuple(letter for letter in weight if letter != ELLIPSIS)
    if not others:
        return NoView("nothing is multiplied with it")
    if ELLIPSIS in weight or len(weight) != rank:
        return NoView("its axes are hidden in an ellipsis")
    if len(set(weight)) < rank:
        return NoView("its diagonal is read")
    elsewhere = {letter for other in others for letter in other}
    if set(weight) - elsewhere - set(output):
        return NoView("it is summed over an axis of its own")
    batch = tuple(letter for letter in weight if letter in elsewhere and letter in output)
    out = tuple(letter for letter in weight if letter not in elsewhere)
    into = tuple(letter for letter in weight if letter not in output)
    if not into:
        return NoView("no axis is summed over")
    return Contraction(weight, others, output, batch, out, into)


def written(operands: tuple[Letters, ...], output: Letters) -> str:
    """Return an equation."""
    return ",".join("".join(term) for term in operands) + "->" + "".join(output)


def terms_of(node: ir.Node) -> tuple[list[Letters], Letters]:
    """Return the letters of each operand and of the result."""
    equation = (node.attributes.get_string("equation", "") or "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = [_letters(term) for term in left.split(",")]
    if arrow:
        return terms, _letters(right)
    # Without an arrow the result has an ellipsis where one is, then what stands once alone, in the order of ASCII.
    every = [letter for term in terms for letter in term]
    single = sorted(letter for letter in set(every) - {ELLIPSIS} if every.count(letter) == 1)
    return terms, ((ELLIPSIS, *single) if ELLIPSIS in every else tuple(single))


def _letters(term: str) -> Letters:
    before, dots, after = term.partition(ELLIPSIS)
    return (*before, *([ELLIPSIS] if dots else []), *after)
