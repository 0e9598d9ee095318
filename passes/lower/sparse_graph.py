"""What the lowering of the sparse form puts into a graph: stored arrays, nodes, the decoded weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.sparse_decode import PackedBitmap, PackedCsr
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Csr, Lines
from dtc.graph import Site
from dtc.passes.lower import Compressed
from dtc.passes.lower.emit import Emitter, Names, opset_of

NODES_OF_CSR = 3000
"""Bytes that decoding CSR in nodes takes in a file more than decoding a bitmap, about."""


class GraphMaker:
    """Makes nodes in front of others in a graph; small constants lie in the main graph, each once."""

    def __init__(self, model: ir.Model, names: Names, prefix: str) -> None:
        self.emitter = Emitter(names, prefix, opset_of(model), ir.DataType.FLOAT)
        self._main = model.graph

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: object) -> ir.Value:
        """Add a standard node of one output."""
        return self._add(op_type, "", inputs, attributes)

    def call(self, operator: str, inputs: Sequence[ir.Value | None], **attributes: object) -> ir.Value:
        """Add a node of the domain `dtc`."""
        return self._add(operator, DOMAIN, inputs, attributes)

    def _add(
        self, op_type: str, domain: str, inputs: Sequence[ir.Value | None], attributes: dict[str, object]
    ) -> ir.Value:
        names = self.emitter.names
        name = names.unique(f"{self.emitter.prefix}/{op_type}")
        node = ir.node(op_type, inputs, attributes or None, domain=domain, name=name)  # type: ignore[arg-type]
        node.outputs[0].name = name  # names are most of what decoding a small weight costs in the file
        self.emitter.nodes.append(node)
        return node.outputs[0]

    def constant(self, array: npt.NDArray[np.generic]) -> ir.Value:
        """Return the initializer of a small constant; one of the same content is used again."""
        words = "_".join(str(number) for number in array.reshape(-1)[:4].tolist())
        name = f"dtc/{array.dtype}_{'x'.join(map(str, array.shape)) or 'scalar'}_{words}"
        found = self._main.initializers.get(name)
        if found is not None and found.const_value is not None and np.array_equal(found.const_value.numpy(), array):
            return found
        return store(self._main, self.emitter.names.unique(name), array)


class StoredSparse:
    """The forms of a site as one matrix `[count * out, in]`, and its arrays in the graph that owns the weight."""

    def __init__(self, item: Compressed, names: Names, *, in_nodes: bool) -> None:
        forms = [form for form in item.forms if isinstance(form, Sparse)]
        if len(forms) != len(item.forms):
            raise ValueError(f"{item.site.name}: the matrices of one site are lowered together, all sparse")
        self.site = item.site
        form = Sparse.stack(forms)
        self.form = _in_few_nodes(form) if in_nodes else form
        self.dtype = item.site.value.dtype or ir.DataType.FLOAT
        self._names = names
        self._stored: dict[str, ir.Value] = {}

    def to_csr(self) -> None:
        """Store compressed rows in the place of a bitmap; before anything is stored."""
        if isinstance(self.form.pattern, Bitmap):
            assert not self._stored
            self.form = Sparse(self.form.values, Csr.of(self.form.kept()))

    def part(self, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
        """Return the initializer `<site>.<name>`, made at the first call."""
        if name not in self._stored:
            graph = self.site.value.graph
            assert isinstance(graph, ir.Graph)
            self._stored[name] = store(graph, self._names.unique(f"{self.site.name}.{name}"), array)
        return self._stored[name]

    def values(self) -> ir.Value:
        """Return the stored values, of whole lines `[lines, width]`.

        Of a float16 weight they are float16, as the dense weight would be.
        """
        values, pattern = self.form.values, self.form.pattern
        if isinstance(pattern, Lines):
            values = values.reshape(len(pattern.kept), -1)
        return self.part("values", values.astype(np.float16) if self.dtype == ir.DataType.FLOAT16 else values)

    def cast_values(self, make: GraphMaker) -> ir.Value:
        """Return the values in the weight's own element type."""
        values = self.values()
        return values if values.dtype == self.dtype else make.op("Cast", [values], to=int(self.dtype))

    def packed(self, make: GraphMaker) -> PackedBitmap | PackedCsr:
        """Return the matrix for decoding nodes; not of whole lines."""
        cols = make.constant(np.array([self.form.shape[1]], dtype=np.int64))
        pattern = self.form.pattern
        if isinstance(pattern, Bitmap):
            return PackedBitmap(self.cast_values(make), cols, self.part("bitmap", pattern.bits))
        assert isinstance(pattern, Csr)
        columns, pointers = (self.part(name, pattern.parts()[name]) for name in ("columns", "row_pointers"))
        return PackedCsr(self.cast_values(make), cols, columns, pointers)

    def places(self) -> list[ir.Value]:
        """Return the initializers of the pattern, as the operators take them."""
        pattern = self.form.pattern
        if isinstance(pattern, Bitmap):
            return [self.part("bitmap", pattern.bits)]
        assert isinstance(pattern, Csr)
        return [self.part(name, pattern.parts()[name]) for name in ("columns", "row_pointers")]


def _in_few_nodes(form: Sparse) -> Sparse:
    """A small CSR matrix as a bitmap: its decoding takes a quarter of the nodes, which is more than CSR saves."""
    pattern = form.pattern
    if not isinstance(pattern, Csr):
        return form
    as_bitmap = Bitmap.cost(form.shape, pattern.count, form.values.itemsize)
    return form if as_bitmap - form.nbytes > NODES_OF_CSR else Sparse(form.values, Bitmap.of(form.kept()))


Decode = Callable[[GraphMaker, StoredSparse, bool], ir.Value]
"""Adds nodes for the matrix `[rows, cols]`, or for its transpose."""


def decode_in_nodes(make: GraphMaker, stored: StoredSparse, transposed: bool) -> ir.Value:  # noqa: FBT001
    """Decode in standard operators which ONNX Runtime folds at load."""
    pattern = stored.form.pattern
    if isinstance(pattern, Csr):
        packed = stored.packed(make)
        assert isinstance(packed, PackedCsr)
        return packed.dense(make, transposed=transposed)
    zero = ir.tensor(np.zeros(1, dtype=stored.dtype.numpy()), dtype=stored.dtype)
    if isinstance(pattern, Lines):
        return _decode_lines(make, stored, pattern, zero, transposed)
    return _decode_bitmap(make, stored, zero, transposed)


def _decode_bitmap(make: GraphMaker, stored: StoredSparse, zero: ir.TensorProtocol, transposed: bool) -> ir.Value:  # noqa: FBT001
    """NonZero of the bits, then ScatterND: a third less memory than the body of the operator.

    Its output's shape is written into the graph: without it ONNX Runtime 1.31 would not fold NonZero.
    """
    packed = stored.packed(make)
    assert isinstance(packed, PackedBitmap)
    rows, _ = stored.form.shape
    numbers = make.op("Cast", [packed.bits], to=int(ir.DataType.INT32))
    table = make.constant(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"))
    bits = make.op("Gather", [table, numbers], axis=0)
    bits = make.op("Reshape", [bits, make.constant(np.array([rows, -1], dtype=np.int64))])
    places = make.op("NonZero", [bits])
    places.type, places.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([2, len(stored.form.values)])
    shape = np.array(stored.form.shape[:: -1 if transposed else 1], dtype=np.int64)
    if transposed:
        places = make.op("Gather", [places, make.constant(np.array([1, 0], dtype=np.int64))], axis=0)
    zeros = make.op("ConstantOfShape", [make.constant(shape)], value=zero)
    return make.op("ScatterND", [zeros, make.op("Transpose", [places], perm=[1, 0]), packed.values])


def _decode_lines(
    make: GraphMaker,
    stored: StoredSparse,
    lines: Lines,
    zero: ir.TensorProtocol,
    transposed: bool,  # noqa: FBT001
) -> ir.Value:
    shape = np.array(stored.form.shape[:: -1 if lines.axis else 1], dtype=np.int64)
    zeros = make.op("ConstantOfShape", [make.constant(shape)], value=zero)
    kept = make.op("Cast", [stored.part("kept", lines.kept)], to=int(ir.DataType.INT64))
    kept = make.op("Reshape", [kept, make.constant(np.array([-1, 1], dtype=np.int64))])
    weight = make.op("ScatterND", [zeros, kept, stored.cast_values(make)])
    return weight if transposed == bool(lines.axis) else make.op("Transpose", [weight], perm=[1, 0])


def feed_dense(model: ir.Model, names: Names, stored: StoredSparse, decode: Decode) -> None:
    """Feed everything that reads the site's initializer from nodes that decode it; the initializer goes.

    The nodes stand first in the graph that owns the initializer, so that a weight of several readers is decoded once
    and stays tied.
    """
    site, graph = stored.site, stored.site.value.graph
    assert isinstance(graph, ir.Graph)
    make = GraphMaker(model, names, site.name)
    weight = _arrange(make, stored, decode)
    weight.shape, weight.type = site.value.shape, site.value.type
    site.value.replace_all_uses_with(weight)
    graph.insert_before(graph[0], make.emitter.nodes)
    del graph.initializers[site.name]


def _arrange(make: GraphMaker, stored: StoredSparse, decode: Decode) -> ir.Value:
    """Decode, and bring the matrices to the initializer's own shape."""
    site = stored.site
    if site.view.perm == (1, 0):
        return decode(make, stored, True)  # noqa: FBT003
    weight = decode(make, stored, False)  # noqa: FBT003
    permuted = [site.shape[axis] for axis in site.view.perm]
    if tuple(permuted) != stored.form.shape:
        weight = make.op("Reshape", [weight, make.constant(np.array(permuted, dtype=np.int64))])
    order = [int(axis) for axis in np.argsort(site.view.perm)]
    return weight if order == sorted(order) else make.op("Transpose", [weight], perm=order)


def store(graph: ir.Graph, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
    """Put `array` into `graph` as an initializer of that name."""
    tensor = ir.tensor(array, name=name)
    kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
    value = ir.Value(name=name, const_value=tensor, type=kind, shape=shape)
    graph.register_initializer(value)
    return value


def still_read(site: Site) -> bool:
    """True if anything reads the site's initializer."""
    return bool(site.value.uses())
