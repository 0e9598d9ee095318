"""What the lowering of the sparse form puts into a graph: stored arrays, nodes, the decoded weight."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.sparse.decode import PackedBitmap, PackedCsr
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Csr, Lines
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.decode import arranged, bits_of_bytes
from dtc.passes.lower.lowered import Compressed
from dtc.passes.lower.readers import wants_constant
from dtc.passes.lower.running_sums import sums_before_in_rows, sums_in_front_of
from dtc.passes.lower.sparse.gaps import NODES_OF_CSR


class StoredSparse:
    """The forms of a site as one matrix `[count * out, in]`, and its arrays in the graph that owns the weight."""

    def __init__(self, item: Compressed, front: GraphBuilder, *, in_nodes: bool, portable: bool) -> None:
        forms = [form for form in item.forms if isinstance(form, Sparse)]
        if len(forms) != len(item.forms):
            raise ValueError(f"{item.site.name}: the matrices of one site are lowered together, all sparse")
        self.site = item.site
        form = Sparse.stack(forms)
        if in_nodes:
            form = _in_few_nodes(form, math.inf if wants_constant(item.site, portable=portable) else NODES_OF_CSR)
        self.form, self.sums = form, sums_in_front_of(item.site, portable=portable)
        self.dtype = item.site.value.dtype or ir.DataType.FLOAT
        self.front = front
        self._stored: dict[str, ir.Value] = {}

    @property
    def begun(self) -> bool:
        """Whether something was stored."""
        return bool(self._stored)

    def to_csr(self) -> None:
        """Store compressed rows in the place of a bitmap; before anything is stored."""
        if isinstance(self.form.pattern, Bitmap):
            assert not self._stored
            self.form = Sparse(self.form.values, Csr.of(self.form.kept()))

    def part(self, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
        """Return the initializer `<site>.<name>`, made at the first call."""
        if name not in self._stored:
            self._stored[name] = self.front.initializer(name, array)
        return self._stored[name]

    def values(self) -> ir.Value:
        """Return the stored values, of whole lines `[lines, width]`.

        Of a float16 weight they are float16, as the dense weight would be.
        """
        values, pattern = self.form.values, self.form.pattern
        if isinstance(pattern, Lines):
            values = values.reshape(len(pattern.kept), -1)
        return self.part("values", values.astype(np.float16) if self.dtype == ir.DataType.FLOAT16 else values)

    def cast_values(self, builder: GraphBuilder) -> ir.Value:
        """Return the values in the weight's own element type."""
        return self._cast(builder, self.values())

    def _cast(self, builder: GraphBuilder, values: ir.Value) -> ir.Value:
        return values if values.dtype == self.dtype else builder.op("Cast", [values], to=int(self.dtype))

    def packed(self, builder: GraphBuilder) -> PackedBitmap | PackedCsr:
        """Return the matrix for decoding nodes; not of whole lines."""
        cols = builder.constant(np.array([self.form.shape[1]], dtype=np.int64))
        pattern = self.form.pattern
        if isinstance(pattern, Bitmap):
            return PackedBitmap(self.cast_values(builder), cols, self.part("bitmap", pattern.bits))
        assert isinstance(pattern, Csr)
        columns, pointers = (self.part(name, pattern.parts()[name]) for name in ("columns", "row_pointers"))
        return PackedCsr(self.cast_values(builder), cols, columns, pointers)

    def places(self) -> list[ir.Value]:
        """Return the initializers of the pattern, as the operators take them."""
        pattern = self.form.pattern
        if isinstance(pattern, Bitmap):
            return [self.part("bitmap", pattern.bits)]
        assert isinstance(pattern, Csr)
        return [self.part(name, pattern.parts()[name]) for name in ("columns", "row_pointers")]

    def decode(self, *, transposed: bool) -> ir.Value:
        """Return the matrix `[rows, cols]`, or its transpose, decoded by standard nodes that fold at load."""
        pattern, builder = self.form.pattern, self.front
        if isinstance(pattern, Csr):
            packed = self.packed(builder)
            assert isinstance(packed, PackedCsr)
            return packed.dense(builder, transposed=transposed)
        if isinstance(pattern, Lines):
            return _decode_lines(builder, self, pattern, transposed=transposed)
        assert isinstance(pattern, Bitmap)
        matrix = _decode_bitmap(builder, self, pattern)
        return builder.op("Transpose", [matrix], perm=[1, 0]) if transposed else matrix

    def arranged(self, matrices: ir.Value, *, transposed: bool) -> ir.Value:
        """Return the decoded matrix, or its transpose, in the shape and type of the site's initializer."""
        shape = self.form.shape
        return arranged(self.front, matrices, self.site, shape=shape, transposed=transposed, dtype=self.dtype)


def _in_few_nodes(form: Sparse, worth: float) -> Sparse:
    """Return a CSR matrix as a bitmap unless it is smaller by `worth` bytes: a bitmap takes a quarter of the nodes.

    OpenVINO does not fold what finds the rows of CSR: in front of an LSTM a matrix is a bitmap whatever it costs.
    """
    pattern = form.pattern
    if not isinstance(pattern, Csr):
        return form
    as_bitmap = Bitmap.cost(form.shape, pattern.count, form.values.itemsize)
    return form if as_bitmap - form.nbytes > worth else Sparse(form.values, Bitmap.of(form.kept()))


def _decode_bitmap(builder: GraphBuilder, stored: StoredSparse, pattern: Bitmap) -> ir.Value:
    """Decode by the place of each bit's value: how many bits are set up to it, by a running sum over bytes.

    A bit that is not set has the place 0, where a zero stands in front of the values.
    """
    # Values a b c, bits 0b101 and 0b010 (bytes of one row each; three columns): before 0 2, places 1 0 2 and 0 3 0 of
    # 0 a b c -> a 0 b and 0 c 0. Behind the columns are pad bits, which are cut off.
    rows, cols = stored.form.shape
    numbers = builder.op("Cast", [stored.part("bitmap", pattern.bits)], to=int(ir.DataType.INT32))
    counts = builder.op("Reshape", [builder.op("Gather", [_set_bits(builder), numbers]), builder.constant([-1])])
    before = stored.sums(builder, counts, pattern.bits.size)
    before = builder.op("Reshape", [before, builder.constant([rows, -1, 1])])
    place = builder.op("Add", [before, builder.op("Gather", [_places_in_bytes(builder), numbers])])
    place = builder.op("Max", [place, builder.constant(np.int32(0))])
    values = stored.cast_values(builder)
    zero = builder.constant(np.zeros(1, dtype=stored.dtype.numpy()))
    found = builder.op("Gather", [builder.op("Concat", [zero, values], axis=0), place])
    padded = builder.op("Flatten", [found], axis=1)
    return padded if cols % 8 == 0 else builder.slice(padded, 0, cols, axis=1)


_NOWHERE = 1 << 30
"""More than there are values."""


def _running_bits(builder: GraphBuilder) -> ir.Value:
    """Return how many bits of each byte are set up to and with each one, int32 `[256, 8]`."""

    def make(front: GraphBuilder) -> ir.Value:
        bits = bits_of_bytes(front)
        return front.op("Add", [sums_before_in_rows(front, bits, 8), bits])

    return builder.once("running bits of bytes", make)


def _set_bits(builder: GraphBuilder) -> ir.Value:
    """Return how many bits of each byte are set, int32 `[256]`."""
    return builder.once(
        "set bits of bytes", lambda front: front.op("Gather", [_running_bits(front), front.constant(7)], axis=1)
    )


def _places_in_bytes(builder: GraphBuilder) -> ir.Value:
    """Return the number of each set bit among those of its byte, from 1 on, far below 0 if it is not; `[256, 8]`."""

    def make(front: GraphBuilder) -> ir.Value:
        missing = front.op("Sub", [bits_of_bytes(front), front.constant(np.int32(1))])
        return front.op("Add", [_running_bits(front), front.op("Mul", [missing, front.constant(np.int32(_NOWHERE))])])

    return builder.once("places in bytes", make)


def _decode_lines(
    builder: GraphBuilder,
    stored: StoredSparse,
    lines: Lines,
    *,
    transposed: bool,
) -> ir.Value:
    # Whole lines as they are stored: kept columns are rows of the transposed matrix. A Transpose follows where the
    # other one is asked for.
    shape = np.array(stored.form.shape[:: -1 if lines.axis else 1], dtype=np.int64)
    zero = ir.tensor(np.zeros(1, dtype=stored.dtype.numpy()), dtype=stored.dtype)
    zeros = builder.op("ConstantOfShape", [builder.constant(shape)], value=zero)
    kept = builder.op("Cast", [stored.part("kept", lines.kept)], to=int(ir.DataType.INT64))
    kept = builder.op("Reshape", [kept, builder.constant(np.array([-1, 1], dtype=np.int64))])
    weight = builder.op("ScatterND", [zeros, kept, stored.cast_values(builder)])
    return weight if transposed == bool(lines.axis) else builder.op("Transpose", [weight], perm=[1, 0])
