"""The tables of codebooks in a graph; one that several sites share is stored and decoded once."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.forms import Codebook, Codewords
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.packed_numbers import store_as_numbers


def store_codewords(e: GraphBuilder, book: Codebook) -> ir.Value:
    """Return the codewords of a form, float `[count, block]`, without its gain and its zero block."""
    words, name = book.codewords, book.name
    if name is None:
        return _store(e, words, "codewords")
    key = ("codewords", name, words.grid, words.stored.dtype, words.stored.tobytes())
    return e.once(key, lambda front: _store(front, words, f"{name}.values"))


def _store(e: GraphBuilder, words: Codewords, name: str) -> ir.Value:
    if words.grid is None:
        stored = e.initializer(name, words.stored)
        return stored if words.bits == 32 else e.op("Cast", [stored], to=ir.DataType.FLOAT)
    levels = store_as_numbers(e, words.stored.reshape(-1), words.bits, name, ir.DataType.FLOAT)
    scaled = e.op("Add", [e.op("Mul", [levels, e.constant(words.grid.step)]), e.constant(words.grid.low)])
    return e.op("Reshape", [scaled, e.constant([words.count, words.block])])


def with_zero(e: GraphBuilder, table: ir.Value, book: Codebook) -> ir.Value:
    """Return a table with a block of zeros in front, where index 0 stands for that."""
    if not book.zero:
        return table
    return e.op("Concat", [e.constant(np.zeros((1, book.block), np.float32)), table], axis=0)
