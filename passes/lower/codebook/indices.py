"""The stored indices of a site's codebook forms as initializers: of a fixed width, or Huffman coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops.codebook.decode import NATIVE_BITS, integers, look_up
from dtc.forms import Codebook
from dtc.forms.huffman import NODES
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.codebook.huffman import decode_symbols
from dtc.passes.lower.codebook.joined_codes import JoinedCodes
from dtc.passes.lower.fields import decode_indices
from dtc.passes.lower.running_sums import SumsBefore


class StoredIndices(Protocol):
    """Stored indices of all matrices of a site, as decoding asks for them.

    Attributes:
        packed: uint8 `[count * out, bytes]`, `width` bits each, where every row begins at a byte; else None.
        width: Bits of a packed index.
    """

    packed: ir.Value | None
    width: int

    def unpacked(self, e: GraphBuilder) -> ir.Value:
        """Return the indices one by one, `[count * out, blocks]`."""
        ...

    def blocks(self, e: GraphBuilder, codewords: ir.Value) -> ir.Value:
        """Return the codewords of all indices, float, in the order of `[count * out, blocks, block]`."""
        ...

    def survivors(self, e: GraphBuilder, matrix: int, codewords: ir.Value) -> ir.Value:
        """Return the values of a matrix of which only the survivors' indices are stored, float `[survivors]`."""
        ...


def store_indices(e: GraphBuilder, forms: Sequence[Codebook], sums: SumsBefore) -> StoredIndices:
    """Store the indices of a site's matrices; `sums` is what decoding sums up with."""
    # Alone, a site bears all the nodes that decode a code.
    if all(form.huffman and form.saved_by_huffman > NODES for form in forms):
        return _Huffman(e, forms, sums)
    return _FixedWidth(e, [replace(form, huffman=False) for form in forms])


class _FixedWidth:
    """Indices as `dtc.forms.index_fields` packs them."""

    def __init__(self, e: GraphBuilder, forms: Sequence[Codebook]) -> None:
        self._forms, self._form = forms, forms[0]
        self.width = self._form.layout.bits
        parts = [form.pack()["indices"] for form in forms]
        self.packed: ir.Value | None = None
        # 1. Survivors of a mask: matrices have different numbers of them, so each has an array of its own.
        if self._form.mask is not None and self._form.block == 1:
            self._stored = [e.initializer(f"indices_{i}", part) for i, part in enumerate(parts)]
            return
        # 2. All matrices one under the other. Rows that begin at a byte can be gathered and read by operators.
        self._stored = [e.initializer("indices", np.concatenate(parts))]
        if self._form.layout.aligned:
            self.packed = self._stored[0]

    @property
    def _shape(self) -> tuple[int, int]:
        """Rows of packed indices, and indices a row."""
        rows, blocks = self._form.indices.shape
        # Two matrices of 3 rows and 5 blocks: aligned they are 6 rows of 5 indices, else 2 rows of 15.
        if self._form.layout.aligned:
            return len(self._forms) * rows, blocks
        return len(self._forms), rows * blocks

    def unpacked(self, e: GraphBuilder) -> ir.Value:
        dtype = ir.DataType.UINT8 if self.width <= max(NATIVE_BITS) else ir.DataType.INT64
        indices = decode_indices(e, self._stored[0], self.width, *self._shape, dtype=dtype)
        return e.op("Reshape", [indices, e.constant(integers(-1, self._form.indices.shape[1]))])

    def blocks(self, e: GraphBuilder, codewords: ir.Value) -> ir.Value:
        return decode_indices(e, self._stored[0], self.width, *self._shape, codewords, self._form.block)

    def survivors(self, e: GraphBuilder, matrix: int, codewords: ir.Value) -> ir.Value:
        size = self._forms[matrix].stored_indices.size
        values = decode_indices(e, self._stored[matrix], self.width, 1, size, codewords)
        return e.op("Reshape", [values, e.constant(integers(-1))])


class _Huffman:
    """Indices as Huffman codes, one for each matrix."""

    packed: ir.Value | None = None
    width = 0

    def __init__(self, e: GraphBuilder, forms: Sequence[Codebook], sums: SumsBefore) -> None:
        self._cols = forms[0].indices.shape[1]
        self._symbols = [
            decode_symbols(e, JoinedCodes.encode([symbols]), symbols.size, f"indices_{i}", sums)
            for i, symbols in enumerate(form.stored_indices.ravel() for form in forms)
        ]

    def unpacked(self, e: GraphBuilder) -> ir.Value:
        symbols = self._symbols[0] if len(self._symbols) == 1 else e.op("Concat", self._symbols, axis=0)
        return e.op("Reshape", [symbols, e.constant(integers(-1, self._cols))])

    def blocks(self, e: GraphBuilder, codewords: ir.Value) -> ir.Value:
        return look_up(e, codewords, self.unpacked(e))

    def survivors(self, e: GraphBuilder, matrix: int, codewords: ir.Value) -> ir.Value:
        values = look_up(e, codewords, self._symbols[matrix])
        return e.op("Reshape", [values, e.constant(integers(-1))])
