"""Codebooks in a model of an operator set that is older than what decodes them otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.forms import Codebook, Form
from dtc.forms.index_fields import Indices
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.opset7 import spread, store_numbers


def decode(e: GraphBuilder, forms: Sequence[Form], _: ir.DataType) -> ir.Value:
    """Return the matrices of codebooks, float `[matrices * rows, cols]`; indices have a fixed width."""
    books = [form for form in forms if isinstance(form, Codebook)]
    book = books[0]
    masks = [each.mask for each in books if each.mask is not None]
    mask = np.concatenate(masks) if masks else None
    indices = np.concatenate([each.indices for each in books])
    if mask is not None and book.block == 1:
        kept = indices[mask] if mask.any() else np.zeros(1, np.uint16)
        values = _look_up(e, book, kept)
        shape = e.constant([len(indices), book.columns])
        return e.op("Reshape", [spread(e, "mask", values, mask), shape])
    width = indices.shape[1] * book.block
    matrix = e.op("Reshape", [_look_up(e, book, indices), e.constant([len(indices), width])])
    if width != book.columns:
        matrix = e.slice(matrix, 0, book.columns, axis=1)
    if mask is None:
        return matrix
    bits = e.op("Cast", [store_numbers(e, "mask", mask.astype(np.uint8), 1)], to=ir.DataType.FLOAT)
    return e.op("Mul", [matrix, e.op("Reshape", [bits, e.constant(mask.shape)])])


def _look_up(e: GraphBuilder, book: Codebook, indices: Indices) -> ir.Value:
    """Return the codewords of indices, float, in their order."""
    numbers = store_numbers(e, "indices", indices, book.layout.bits)
    words = e.op("Gather", [_table(e, book), numbers])
    return words if book.block > 1 else e.op("Reshape", [words, e.constant([-1])])


def _table(e: GraphBuilder, book: Codebook) -> ir.Value:
    """Return what an index stands for, float `[entries, block]`; a shared codebook is stored once."""
    name = book.name
    values = (
        _values(e, book) if name is None else e.once_for_all(("opset 7", "codewords", name), lambda n: _values(n, book))
    )
    if book.gain is not None:
        values = e.op("Mul", [values, e.constant(np.array([book.gain], dtype=np.float32))])
    if book.zero:
        values = e.op("Concat", [e.constant(np.zeros((1, book.block), np.float32)), values], axis=0)
    return values


def _values(e: GraphBuilder, book: Codebook) -> ir.Value:
    words, name = book.codewords, "codewords" if book.name is None else f"{book.name}.values"
    if words.grid is None:
        stored = e.initializer(name, words.stored)
        return stored if words.bits == 32 else e.op("Cast", [stored], to=ir.DataType.FLOAT)
    levels = e.op("Cast", [store_numbers(e, name, words.stored, words.bits)], to=ir.DataType.FLOAT)
    scaled = e.op("Add", [e.op("Mul", [levels, e.constant(words.grid.step)]), e.constant(words.grid.low)])
    return e.op("Reshape", [scaled, e.constant([words.count, words.block])])
