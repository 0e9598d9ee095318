"""Binary codes in the graph: operators that compute on them, or standard nodes that decode them.

* `compute`: `dtc.BinaryMatMul` for MatMul and Gemm where it pays (`dtc.passes.lower.costs`), `dtc.BinaryGather` for
  embeddings, and the nodes of `standard` in front of whatever else reads the weight.
* `standard`: the decoding nodes themselves, in front of the reader, which runtimes fold at load, on packed codes
  (`dtc.passes.lower.binary.packed`) where they can; an embedding is decoded after its Gather, the looked-up rows alone.
  Loads in ONNX Runtime 1.19. The alternative for MatMul, sign planes of INT2 that newer runtimes do not unfold, is
  `dtc.passes.lower.binary.int2`.
* `storage`: `dtc.BinaryDequantize` in front of every reader. With the native library weights stay packed in memory, as
  runtimes fold no operator that they do not know, and are decoded at every run; without it they are decoded at load.

Where a mask leaves few weights, the file holds the signs of those alone (`BinaryCode.coded_survivors`), and planes are
made of them at load, by `dtc.BinaryUnmask` or the same in standard nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import call
from dtc.deploy.ops.binary.blocks import blocks_of_rows, in_blocks
from dtc.deploy.ops.binary.decode import OPSET, decode, integers, look_up
from dtc.deploy.ops.binary.gather import gather_rows, reshape_rows
from dtc.deploy.ops.binary.unmask import unmask
from dtc.graph import Reader, Role, Site
from dtc.graph.builder import GraphBuilder, Shared, insert_first, replace_node
from dtc.graph.save import PORTABLE_IR_VERSION
from dtc.passes.lower import Compressed, Mode, costs
from dtc.passes.lower.binary.packed import PACKED_BITS, pack, unpack
from dtc.passes.lower.binary.parts import Planes, constants, level_constants
from dtc.passes.lower.decode import arranged, bits_of_bytes, feed_readers
from dtc.passes.lower.recurrent.operator import (
    INPUT_ROLES,
    RECURRENT_ROLES,
    CodedWeight,
    can_be_operator,
    replace_weight,
    up_to_date,
)

KIND = "binary"

__all__ = ["KIND", "OPSET", "lower", "refuse"]


def refuse(site: Site) -> str | None:  # noqa: ARG001 - no site is refused
    """Every role can be lowered: what no operator computes on is decoded in front of its reader."""
    return None


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode) -> None:
    """Replace the sites in the graph, in place.

    Raises:
        ValueError: The model's opset is older than `OPSET` (`dtc.passes.lower.lower` raises it).
    """
    if mode == "int2":
        from dtc.passes.lower.binary.int2 import lower_int2

        lower_int2(model, items)
        return
    model.ir_version = max(model.ir_version, PORTABLE_IR_VERSION)  # functions need 8
    shared = Shared(model)
    for item in up_to_date(model, items):
        _Lowering(model, item, mode, shared).run()
    shared.insert()


class _Lowering:
    """One site on its way into the graph."""

    def __init__(self, model: ir.Model, item: Compressed, mode: Mode, shared: Shared) -> None:
        graph = item.site.value.graph
        assert isinstance(graph, ir.Graph)
        self.model, self.site, self.mode, self.shared, self.graph = model, item.site, mode, shared, graph
        self.planes, self.form = Planes.of(item), item.forms[0]
        self.front = shared.builder(item.site.name, graph)  # runs before every reader
        self._rows: tuple[ir.Value, ir.Value] | None = None
        self._blocks: tuple[ir.Value, ir.Value] | None = None

    def run(self) -> None:
        """Replace the readers that can do with codes, then decode for the others."""
        for reader in self.site.readers:
            if self._is_operator(reader):
                replace_weight(self.model, reader, self._recurrent())
                continue
            builder = self.shared.builder(reader.node_name, self.graph)
            output = self._on_codes(reader, builder)
            if output is not None:
                replace_node(reader.node, builder, {reader.node.outputs[0]: output})
        feed_readers(self.site, self._dense_value)
        self._settle_blocks()
        insert_first(self.front)

    def _in_rows(self) -> tuple[ir.Value, ir.Value]:
        """Return codes `[planes, out, bytes]`, stored as they are or made of what is stored, and alphas."""
        if self._rows is None:
            alphas = self.front.initializer("alphas", self.planes.alphas)
            self._rows = self._codes_in_rows(), alphas
        return self._rows

    def _codes_in_rows(self) -> ir.Value:
        survivors = self.planes.survivors
        if survivors is None:
            return self.front.initializer("codes", self.planes.codes)
        stored = self.front.initializer("survivors", survivors)
        mask = self.front.initializer("mask", self.planes.codes[-1])
        if self.mode == "standard":
            return unmask(self.front, stored, mask, bits_of_bytes(self.front))
        return call(self.front, "BinaryUnmask", [stored, mask])

    def _is_operator(self, reader: Reader) -> bool:
        """True for a recurrent node that an operator can stand for."""
        pays = self.mode == "compute" and costs.choose(self.form, self.site.rows).on_codes
        return pays and reader.view == self.site.view and can_be_operator(self.model, reader)

    def _recurrent(self) -> CodedWeight:
        attributes = {name: self.planes.attributes[name] for name in ("bits", "group_size")}
        return CodedWeight("binary", self._in_blocks(), attributes)

    def _in_blocks(self) -> tuple[ir.Value, ir.Value]:
        """Return codes and alphas in the layout of products, of recurrent nodes one product a direction.

        `_settle_blocks` says later where they come from.
        """
        if self._blocks is None:
            self._blocks = ir.Value(name="codes"), ir.Value(name="alphas")
        return self._blocks

    def _settle_blocks(self) -> None:
        """Store what products read, or make it of what others read in rows: no weight is stored twice."""
        if self._blocks is None:
            return
        stored = self._rows is None and self.planes.survivors is None
        found = self._store_blocks() if stored else self._blocks_of_rows()
        for placeholder, value in zip(self._blocks, found, strict=True):
            placeholder.replace_all_uses_with(value)

    def _store_blocks(self) -> list[ir.Value]:
        count = self.site.view.count
        codes = [in_blocks(part) for part in np.split(self.planes.codes, count, axis=1)]
        alphas = [part.transpose(0, 2, 1) for part in np.split(self.planes.alphas, count, axis=1)]
        join = np.stack if self._is_recurrent else np.concatenate
        return [
            self.front.initializer("codes", join(codes)),
            self.front.initializer("alphas", np.ascontiguousarray(join(alphas))),
        ]

    def _blocks_of_rows(self) -> list[ir.Value]:
        codes, alphas = self._in_rows()
        if not self._is_recurrent:
            return [blocks_of_rows(self.front, codes), self.front.op("Transpose", [alphas], perm=[0, 2, 1])]
        view, planes, terms = self.site.view, len(self.planes.codes), len(self.planes.alphas)
        codes = self._by_direction(codes, planes)
        codes = self.front.op("Reshape", [codes, self.front.constant(integers(view.count * planes, view.rows, -1))])
        codes = blocks_of_rows(self.front, codes)
        return [
            self.front.op("Reshape", [codes, self.front.constant(integers(view.count, planes, -1))]),
            self.front.op("Transpose", [self._by_direction(alphas, terms)], perm=[0, 1, 3, 2]),
        ]

    def _by_direction(self, value: ir.Value, planes: int) -> ir.Value:
        """Return `[planes, directions * rows, n]` as `[directions, planes, rows, n]`."""
        view = self.site.view
        split = self.front.op("Reshape", [value, self.front.constant(integers(planes, view.count, view.rows, -1))])
        return self.front.op("Transpose", [split], perm=[1, 0, 2, 3])

    @property
    def _is_recurrent(self) -> bool:
        return self.site.role in INPUT_ROLES | RECURRENT_ROLES

    def _on_codes(self, reader: Reader, builder: GraphBuilder) -> ir.Value | None:
        """Return the reader's output, computed from codes; None where it needs the dense weight."""
        if self.mode == "storage" or reader.view != self.site.view or not reads_as_stored(reader, self.site):
            return None
        if reader.role == Role.EMBEDDING:
            return self._embedding(reader, builder)
        if self.mode == "compute" and is_plain_product(reader) and costs.choose(self.form, self.site.rows).on_codes:
            return self._product(reader, builder)
        return None

    def _embedding(self, reader: Reader, builder: GraphBuilder) -> ir.Value:
        indices = reader.node.inputs[1]
        assert indices is not None
        if self.mode == "compute":
            return self._operator(builder, "BinaryGather", indices, *self._in_rows())
        given = constants(builder, self.planes)
        rows = decode(builder, *gather_rows(builder, indices, *self._in_rows()), given)
        return reshape_rows(builder, rows, indices, builder.constant(integers(self.planes.cols)))

    def _product(self, reader: Reader, builder: GraphBuilder) -> ir.Value:
        product = self._operator(builder, "BinaryMatMul", reader.node.inputs[0], *self._in_blocks())
        bias = reader.node.inputs[2] if len(reader.node.inputs) > 2 else None
        return product if bias is None else builder.op("Add", [product, bias])

    def _operator(self, builder: GraphBuilder, name: str, *inputs: ir.Value | None) -> ir.Value:
        return call(builder, name, inputs, **self.planes.attributes)

    def _dense_value(self) -> ir.Value:
        """Return the weight in the initializer's own shape and dtype, decoded in front of every reader."""
        builder, view = self.front, self.site.view
        # decoded as it is read where that can be: cheaper than to transpose floats
        transposed = self.mode != "storage" and view.perm == (1, 0)
        if self.mode == "storage":
            matrices = self._operator(builder, "BinaryDequantize", *self._in_rows())
        else:
            matrices = self._decoded(transposed=transposed)
        shape = (view.count * view.rows, view.cols)
        return arranged(builder, matrices, self.site, shape=shape, transposed=transposed)

    def _decoded(self, *, transposed: bool) -> ir.Value:
        """Return the float matrix, of packed codes if those are no larger and nothing else reads codes in planes."""
        planes, bits = self.planes, len(self.planes.codes)
        alone = self._rows is None and self._blocks is None and planes.survivors is None
        if alone and bits in PACKED_BITS:
            code = planes.code.T if transposed else planes.code
            packed = pack(code, bits)
            if packed.nbytes <= planes.codes.nbytes:
                stored = self.front.initializer("codes", packed)
                alphas = self.front.initializer("alphas", planes.alphas)
                levels = level_constants(self.front, planes, transposed=transposed)
                unpacked = unpack(self.front, stored, bits, len(code))
                return look_up(self.front, unpacked, alphas, levels, transposed=transposed)
        given = constants(self.front, planes, transposed=transposed)
        return decode(self.front, *self._in_rows(), given, transposed=transposed)


def reads_as_stored(reader: Reader, site: Site) -> bool:
    """True if the weight is float and reaches the reader without a Cast."""
    value = reader.node.inputs[reader.index]
    while value is not None and value is not site.value:
        node = value.producer()
        if node is None or node.op_type == "Cast":
            return False
        value = node.inputs[0]
    return site.value.dtype == ir.DataType.FLOAT


def is_plain_product(reader: Reader) -> bool:
    """True for `x W^T`, and a bias, of one matrix."""
    node, attributes = reader.node, reader.node.attributes
    if reader.view.count != 1 or reader.index != 1:
        return False
    if reader.role == Role.MATMUL:
        return True
    plain = not attributes.get_int("transA", 0) and attributes.get_float("alpha", 1.0) == 1
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    return reader.role == Role.GEMM and plain and (not has_bias or attributes.get_float("beta", 1.0) == 1)
