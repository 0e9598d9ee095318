"""Einsum as a product of matrices, or several one behind the other: the training build has no gradient of Einsum."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from dtc.errors import EngineError
from dtc.graph.builder import Builder, Shared, replace_node
from dtc.graph.einsum import ELLIPSIS, Letters, terms_of


@dataclass(frozen=True)
class _Term:
    """An operand: its value, a letter for each axis, and the axes' sizes where they are known."""

    value: ir.Value
    letters: Letters
    sizes: Mapping[str, int]

    def moved(self, build: Builder, order: Sequence[str]) -> ir.Value:
        """Return the value with its axes in that order."""
        perm = [self.letters.index(letter) for letter in order]
        return self.value if perm == list(range(len(perm))) else build.op("Transpose", [self.value], perm=perm)

    def size(self, build: Builder, letter: str) -> ir.Value:
        """Return the size of an axis, int64 `[1]`."""
        if letter in self.sizes:
            return build.constant([self.sizes[letter]])
        shape = build.op("Shape", [self.value], dtype=ir.DataType.INT64)
        return build.op("Gather", [shape, build.constant([self.letters.index(letter)])], dtype=ir.DataType.INT64)


def expand_einsums(model: ir.Model, shared: Shared) -> None:
    """Rewrite every Einsum.

    Raises:
        EngineError: It reads a diagonal, or a size or rank that it needs is not known before a run; names the node.
    """
    for node in list(model.graph):
        if node.op_type == "Einsum" and node.domain == "":
            _expand(node, shared.builder(str(node.name)))


def _expand(node: ir.Node, build: Builder) -> None:
    """Multiply the operands from left to right; what no later one and not the result has is summed over."""
    terms, output = _operands(node)
    result = _summed(build, terms[0], {*output, *(x for term in terms[1:] for x in term.letters)})
    for index, term in enumerate(terms[1:], 1):
        later = {*output, *(letter for other in terms[index + 1 :] for letter in other.letters)}
        result = _product(node, build, result, _summed(build, term, {*later, *result.letters}), later)
    value = result.moved(build, output)
    # A node has to stand in the place of one: of an Einsum that only hands its operand on, an Identity.
    made = value if build.nodes and value is build.nodes[-1].outputs[0] else build.op("Identity", [value])
    replace_node(node, build, {node.outputs[0]: made})


def _summed(build: Builder, term: _Term, needed: Collection[str]) -> _Term:
    """Return an operand summed over the axes that nothing else has."""
    alone = [axis for axis, letter in enumerate(term.letters) if letter not in needed]
    if not alone:
        return term
    left = tuple(letter for letter in term.letters if letter in needed)
    return _Term(build.total(term.value, alone, keepdims=0), left, term.sizes)


def _product(node: ir.Node, build: Builder, one: _Term, two: _Term, later: Collection[str]) -> _Term:
    """Return `bhtd,hod->bhto` as a MatMul: `[h, b t, d]` and `[h, d, o]` make `[h, b t, o]`."""
    both = [letter for letter in one.letters if letter in two.letters]
    batch, summed = [x for x in both if x in later], [x for x in both if x not in later]
    rows, cols = ([x for x in term.letters if x not in both] for term in (one, two))
    sizes = {**one.sizes, **two.sizes}
    inner = math.prod(sizes.get(letter, 0) for letter in summed)
    if not inner:
        raise EngineError(f"node {node.name!r} (Einsum): the size that it sums over is not known before a run")
    # Of a Reshape 0 is the size that stands at that place before, -1 what is left.
    left = build.op("Reshape", [one.moved(build, [*batch, *rows, *summed]), _shape(build, batch, -1, inner)])
    right = build.op("Reshape", [two.moved(build, [*batch, *summed, *cols]), _shape(build, batch, inner, -1)])
    value = build.op("MatMul", [left, right])
    letters = (*batch, *rows, *cols)
    if len(rows) != 1 or len(cols) != 1:
        parts = [build.constant([0] * len(batch))] if batch else []
        parts += [term.size(build, letter) for term, axes in ((one, rows), (two, cols)) for letter in axes]
        target = build.concat(parts, 0) if parts else build.constant([])
        value = build.op("Reshape", [value, target])
    return _Term(value, letters, sizes)


def _shape(build: Builder, batch: Sequence[str], *sizes: int) -> ir.Value:
    return build.constant([0] * len(batch) + list(sizes))


def _operands(node: ir.Node) -> tuple[list[_Term], Letters]:
    """Return the operands, and the letters of the result, with a letter for each axis of an ellipsis."""
    terms, output = terms_of(node)
    found = []
    hidden = 0
    for letters, value in zip(terms, node.inputs, strict=True):
        shape = None if value is None else value.shape
        if value is None or (shape is None and ELLIPSIS in letters):
            raise EngineError(f"node {node.name!r} (Einsum): has an ellipsis for axes of unknown number")
        if shape is not None and ELLIPSIS in letters:
            hidden = max(hidden, len(shape) + 1 - len(letters))
            letters = _spelt_out(letters, len(shape) + 1 - len(letters))
        if len(set(letters)) < len(letters):
            raise EngineError(f"node {node.name!r} (Einsum): reads a diagonal, which cannot be trained")
        sizes = {} if shape is None else {x: s for x, s in zip(letters, shape, strict=True) if isinstance(s, int)}
        found.append(_Term(value, letters, sizes))
    return found, _spelt_out(output, hidden)


def _spelt_out(letters: Letters, hidden: int) -> Letters:
    """Return letters with one for each of the `hidden` axes of an ellipsis, counted from the last."""
    if ELLIPSIS not in letters:
        return letters
    place = letters.index(ELLIPSIS)
    axes = (f"{ELLIPSIS}{axis}" for axis in range(hidden, 0, -1))
    return (*letters[:place], *axes, *letters[place + 1 :])
