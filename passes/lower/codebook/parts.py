"""The stored parts of a site's codebook forms as initializers, and what they decode to."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops.codebook.decode import NATIVE_BITS, integers, look_up
from dtc.forms import Codebook
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.codebook.indices import store_indices
from dtc.passes.lower.codebook.tables import store_codewords, with_zero
from dtc.passes.lower.fields import bit_mask, decode_indices, expand
from dtc.passes.lower.lowered import Compressed
from dtc.passes.lower.running_sums import sums_in_front_of


class Stored:
    """The forms of a site, stored in its graph: indices of all matrices as one array, one table."""

    def __init__(self, e: GraphBuilder, item: Compressed, *, portable: bool) -> None:
        forms = [form for form in item.forms if isinstance(form, Codebook)]
        assert len(forms) == len(item.forms)
        assert len({form.gain for form in forms}) == 1, "the matrices of a site have one table"
        self.forms, self.form, self.count = forms, forms[0], len(forms)
        self.rows, self.cols = self.form.shape
        self.block = self.form.block
        self.blocks = self.form.indices.shape[1]
        self.masked = self.form.mask is not None
        self.survivors = self.masked and self.block == 1
        self._sums = sums_in_front_of(item.site, portable=portable)
        self.indices = store_indices(e, forms, self._sums)
        if self.masked:
            self.masks = [e.initializer(f"mask_{i}", form.pack()["mask"]) for i, form in enumerate(forms)]
        self.codewords = self._codewords(e)
        self._unpacked: ir.Value | None = None

    @property
    def native(self) -> bool:
        """True if the operators of the domain `dtc` can read the stored form."""
        return not self.masked and self.form.layout.bits <= max(NATIVE_BITS)

    def operands(self, e: GraphBuilder) -> tuple[ir.Value, ir.Value, int]:
        """Return indices and codewords as the operators want them, and the width of the indices."""
        if self.indices.packed is not None and self.indices.width in NATIVE_BITS:
            return self.indices.packed, self.codewords, self.indices.width
        return self._one_by_one(e), self.codewords, 8

    def addressable(self, e: GraphBuilder) -> ir.Value:
        """Return indices whose rows can be gathered: packed ones, or one by one where rows share bytes."""
        return self._one_by_one(e) if self.indices.packed is None else self.indices.packed

    def decode_rows(self, e: GraphBuilder, rows: ir.Value) -> ir.Value:
        """Return float `[number of rows, cols]`, decoded from gathered rows of `addressable`."""
        if self.indices.packed is None:
            decoded = look_up(e, self.codewords, rows)
        else:
            decoded = decode_indices(e, rows, self.indices.width, -1, self.blocks, self.codewords, self.block)
        return self._rows(e, decoded, -1)

    def decode(self, e: GraphBuilder) -> ir.Value:
        """Return all matrices, float `[count * rows, cols]`, in some shape."""
        # 1. Scalars with a mask: the survivors' values are spread over the matrix, which needs no other mask.
        if self.survivors:
            matrices = [self._expanded(e, number) for number in range(self.count)]
            return matrices[0] if self.count == 1 else e.op("Concat", matrices, axis=0)
        decoded = self.indices.blocks(e, self.codewords)
        total = self.count * self.rows
        # 2. No mask, and whole blocks: what was decoded has the elements of the matrix, in their order.
        if not self.masked and self.blocks * self.block == self.cols:
            return decoded
        # 3. Else the padding of each row's last block is cut off, and 4. a mask, if there is one, is applied.
        matrix = self._rows(e, decoded, total)
        if not self.masked:
            return matrix
        masks = self.masks[0] if self.count == 1 else e.op("Concat", self.masks, axis=0)
        return e.op("Where", [bit_mask(e, masks, total, self.cols), matrix, e.constant(np.float32(0))])

    def _expanded(self, e: GraphBuilder, number: int) -> ir.Value:
        """Return a matrix of which the survivors alone are stored."""
        values = self.indices.survivors(e, number, self.codewords)
        shape = (self.rows, self.cols)
        return expand(e, values, self.masks[number], shape, lambda sizes, count: self._sums(e, sizes, count))

    def _one_by_one(self, e: GraphBuilder) -> ir.Value:
        """Return the indices unpacked, once for all readers."""
        if self._unpacked is None:
            self._unpacked = self.indices.unpacked(e)
        return self._unpacked

    def _rows(self, e: GraphBuilder, decoded: ir.Value, rows: int) -> ir.Value:
        """Return decoded blocks as rows, without the padding of each row's last block."""
        width = self.blocks * self.block
        matrix = e.op("Reshape", [decoded, e.constant(integers(rows, width))])
        if width == self.cols:
            return matrix
        ends = (e.constant(integers(number)) for number in (0, self.cols, 1))
        return e.op("Slice", [matrix, *ends])

    def _codewords(self, e: GraphBuilder) -> ir.Value:
        """Return the table, float `[entries, block]`: a shared one is stored and decoded once."""
        form, values = self.form, store_codewords(e, self.form)
        # The stored table is common to all sites that name it; gain and zero block are this site's own, and come
        # behind it.
        if form.gain is not None:
            values = e.op("Mul", [values, e.initializer("gain", np.array([form.gain], dtype=np.float32))])
        return with_zero(e, values, form)
