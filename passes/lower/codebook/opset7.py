"""Codebooks in a model of an operator set that is older than what decodes them otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.forms import Codebook, Form
from dtc.forms.index_fields import Indices
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.codebook.tables import store_codewords, with_zero
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
    """Return what an index stands for, float `[entries, block]`."""
    values = store_codewords(e, book)
    if book.gain is not None:
        values = e.op("Mul", [values, e.constant(np.array([book.gain], dtype=np.float32))])
    return with_zero(e, values, book)
