"""What the lowering of the sparse form puts into a graph: stored arrays, nodes, the decoded weight."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.sparse.decode import PackedBitmap, PackedCsr
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Csr, Lines
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.decode import arranged, bits_of_bytes
from dtc.passes.lower.lowered import Compressed

NODES_OF_CSR = 1100
"""Bytes that decoding CSR in nodes takes in a file more than decoding a bitmap, of each site, about."""


class StoredSparse:
    """The forms of a site as one matrix `[count * out, in]`, and its arrays in the graph that owns the weight."""

    def __init__(self, item: Compressed, front: GraphBuilder, *, in_nodes: bool) -> None:
        forms = [form for form in item.forms if isinstance(form, Sparse)]
        if len(forms) != len(item.forms):
            raise ValueError(f"{item.site.name}: the matrices of one site are lowered together, all sparse")
        self.site = item.site
        form = Sparse.stack(forms)
        self.form = _in_few_nodes(form) if in_nodes else form
        self.dtype = item.site.value.dtype or ir.DataType.FLOAT
        self.front = front
        self._stored: dict[str, ir.Value] = {}

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
        values = self.values()
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
        return _decode(self, transposed=transposed)

    def arranged(self, matrices: ir.Value, *, transposed: bool) -> ir.Value:
        """Return the decoded matrix, or its transpose, in the shape and type of the site's initializer."""
        shape = self.form.shape
        return arranged(self.front, matrices, self.site, shape=shape, transposed=transposed, dtype=self.dtype)


def _in_few_nodes(form: Sparse) -> Sparse:
    """Return a small CSR matrix as a bitmap: its decoding takes a quarter of the nodes, which outweighs CSR."""
    pattern = form.pattern
    if not isinstance(pattern, Csr):
        return form
    as_bitmap = Bitmap.cost(form.shape, pattern.count, form.values.itemsize)
    return form if as_bitmap - form.nbytes > NODES_OF_CSR else Sparse(form.values, Bitmap.of(form.kept()))


def _decode(stored: StoredSparse, *, transposed: bool) -> ir.Value:
    """Decode in standard operators which ONNX Runtime folds at load."""
    pattern, builder = stored.form.pattern, stored.front
    if isinstance(pattern, Csr):
        packed = stored.packed(builder)
        assert isinstance(packed, PackedCsr)
        return packed.dense(builder, transposed=transposed)
    zero = ir.tensor(np.zeros(1, dtype=stored.dtype.numpy()), dtype=stored.dtype)
    if isinstance(pattern, Lines):
        return _decode_lines(builder, stored, pattern, zero, transposed=transposed)
    return _decode_bitmap(builder, stored, zero, transposed=transposed)


def _decode_bitmap(
    builder: GraphBuilder, stored: StoredSparse, zero: ir.TensorProtocol, *, transposed: bool
) -> ir.Value:
    """Decode by NonZero of the bits, then ScatterND: a third less memory than the body of the operator.

    The shape of NonZero's output is written into the graph: without it ONNX Runtime 1.31 would not fold NonZero.
    """
    packed = stored.packed(builder)
    assert isinstance(packed, PackedBitmap)
    rows, _ = stored.form.shape
    numbers = builder.op("Cast", [packed.bits], to=int(ir.DataType.INT32))
    # [rows, bytes] -> [rows, bytes, 8] -> [rows, 8 bytes]; pad bits are 0, and so give no place.
    bits = builder.op("Gather", [bits_of_bytes(builder), numbers], axis=0)
    bits = builder.op("Reshape", [bits, builder.constant(np.array([rows, -1], dtype=np.int64))])
    places = builder.op("NonZero", [bits])
    places.type, places.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([2, len(stored.form.values)])
    shape = np.array(stored.form.shape[:: -1 if transposed else 1], dtype=np.int64)
    # places [2, count], a row of row numbers and one of columns: exchanged for the transpose. ScatterND wants [count,
    # 2].
    if transposed:
        places = builder.op("Gather", [places, builder.constant(np.array([1, 0], dtype=np.int64))], axis=0)
    zeros = builder.op("ConstantOfShape", [builder.constant(shape)], value=zero)
    return builder.op("ScatterND", [zeros, builder.op("Transpose", [places], perm=[1, 0]), packed.values])


def _decode_lines(
    builder: GraphBuilder,
    stored: StoredSparse,
    lines: Lines,
    zero: ir.TensorProtocol,
    *,
    transposed: bool,
) -> ir.Value:
    # Whole lines as they are stored: kept columns are rows of the transposed matrix. A Transpose follows where the
    # other one is asked for.
    shape = np.array(stored.form.shape[:: -1 if lines.axis else 1], dtype=np.int64)
    zeros = builder.op("ConstantOfShape", [builder.constant(shape)], value=zero)
    kept = builder.op("Cast", [stored.part("kept", lines.kept)], to=int(ir.DataType.INT64))
    kept = builder.op("Reshape", [kept, builder.constant(np.array([-1, 1], dtype=np.int64))])
    weight = builder.op("ScatterND", [zeros, kept, stored.cast_values(builder)])
    return weight if transposed == bool(lines.axis) else builder.op("Transpose", [weight], perm=[1, 0])
