"""Binary codes in the graph: operators that compute on them, or standard nodes that decode them.

* `compute`: `dtc.BinaryMatMul` for MatMul and Gemm where it pays (`dtc.passes.lower.costs`), `dtc.BinaryGather` for
  embeddings, and the nodes of `standard` in front of whatever else reads the weight.
* `standard`: the decoding nodes themselves, in front of the reader, which runtimes fold at load, on codes
  of whole weights where a byte holds whole codes; an embedding is decoded after its Gather, the looked-up rows alone.
  Loads in ONNX Runtime 1.19. The alternative for MatMul, sign planes of INT2 that newer runtimes do not unfold, is
  `dtc.passes.lower.binary.int2`.
* `storage`: `dtc.BinaryDequantize` in front of every reader. With the native library weights stay packed in memory, as
  runtimes fold no operator that they do not know, and are decoded at every run; without it they are decoded at load.

Where a mask leaves few weights, the file holds the signs of those alone (`BinaryCode.coded_survivors`), and planes are
made of them at load, by `dtc.BinaryUnmask` or the same in standard nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops import call
from dtc.deploy.ops.binary.blocks import blocks_of_rows, in_blocks
from dtc.deploy.ops.binary.decode import decode, integers, look_up, row_levels
from dtc.deploy.ops.binary.gather import gather_rows, reshape_rows
from dtc.deploy.ops.binary.unmask import unmask
from dtc.deploy.ops.codebook.decode import NATIVE_BITS
from dtc.forms import BinaryCode
from dtc.forms.index_fields import pack_indices
from dtc.graph import INPUT_ROLES, RECURRENT_ROLES, Reader, Role
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.binary.coefficients import store_alphas
from dtc.passes.lower.binary.dynamic import lower_to_dynamic, unfit_dynamic
from dtc.passes.lower.binary.int2 import lower_to_planes, unfit_planes
from dtc.passes.lower.binary.integers import IntegerWeight, integer_readers, lower_to_integers
from dtc.passes.lower.binary.parts import Planes, constants, level_constants
from dtc.passes.lower.binary.together import decode_together
from dtc.passes.lower.coded import CodedSite
from dtc.passes.lower.decode import arranged, float_bits_of_bytes
from dtc.passes.lower.fields import decode_indices
from dtc.passes.lower.kinds import Measured, Sample
from dtc.passes.lower.lowered import Compressed, Lowered
from dtc.passes.lower.packed_numbers import store_as_matrix
from dtc.passes.lower.readers import wants_constant
from dtc.passes.lower.recurrent.operator import CodedWeight
from dtc.passes.lower.rewriting import Rewriting
from dtc.passes.lower.running_sums import sums_in_front_of


def _sample(bits: int, rng: np.random.Generator, shape: tuple[int, int]) -> BinaryCode:
    rows, cols = shape
    codes = rng.integers(0, 256, (bits, rows, cols // 8), dtype=np.uint8)
    return BinaryCode(codes, rng.random((bits, rows, 1), dtype=np.float32).astype(np.float16), cols)


SAMPLES: dict[str, Sample] = {f"binary {bits}": partial(_sample, bits) for bits in (1, 2, 3, 4, 8)}


def measured(form: BinaryCode) -> Measured:
    """Return where a code lies among the measured codes: by the number of its planes, of which a mask is one."""
    return Measured({name: int(name.split()[1]) for name in SAMPLES}, form.bits + (form.mask is not None))


def lower(rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Replace the sites in the graph, in place."""
    return [_lower_site(rewriting, item) for item in items]


def _lower_site(rewriting: Rewriting, item: Compressed) -> Lowered:
    site, planes = rewriting.current(item.site), Planes.of(item.forms)
    if rewriting.target.int2_planes:
        return _lower_to_planes(rewriting, item)
    readers = integer_readers(rewriting, site)
    weight = IntegerWeight.of(site, planes) if readers else None
    if isinstance(weight, IntegerWeight):
        return replace(lower_to_integers(rewriting, Compressed(site, item.forms), weight, readers), site=item.site)
    if unfit_dynamic(rewriting, item, site, planes) is None:
        return lower_to_dynamic(rewriting, item, planes)
    return _BinarySite(rewriting, item).run()


def _lower_to_planes(rewriting: Rewriting, item: Compressed) -> Lowered:
    """Lower a site to INT2 planes, or tell why it is decoded instead."""
    site, planes = rewriting.current(item.site), Planes.of(item.forms)
    unfit = unfit_planes(rewriting.model, site, planes)
    if unfit is None:
        return replace(lower_to_planes(rewriting, Compressed(site, item.forms), planes), site=item.site)
    lowered = _BinarySite(rewriting, item).run()
    readers = (replace(each, reason=f"{each.reason}; no INT2 planes: {unfit}") for each in lowered.readers)
    return replace(lowered, readers=tuple(readers))


class _BinarySite(CodedSite):
    """A site of binary codes."""

    def __init__(self, rewriting: Rewriting, item: Compressed) -> None:
        super().__init__(rewriting, item)
        self.planes = Planes.of(item.forms)
        self._rows: tuple[ir.Value, ir.Value] | None = None
        self._table: tuple[ir.Value, ir.Value] | None = None
        self._blocks: tuple[ir.Value, ir.Value] | None = None

    def recurrent(self, reader: Reader) -> CodedWeight:
        """Return codes and coefficients in blocks of rows, and the attributes that describe both."""
        attributes = {name: self.planes.attributes[name] for name in ("bits", "group_size")}
        return CodedWeight(BinaryCode.kind, self._in_blocks(), attributes)

    def multiply(self, builder: GraphBuilder, x: ir.Value) -> ir.Value:
        """Return the product by `dtc.BinaryMatMul`."""
        return self._operator(builder, "BinaryMatMul", x, *self._in_blocks())

    def look_up(self, builder: GraphBuilder, ids: ir.Value) -> ir.Value:
        """Return the rows by `dtc.BinaryGather`, or decoded behind a Gather of their codes."""
        if self.target.computes:
            return self._operator(builder, "BinaryGather", ids, *self._in_rows())
        if self._codes_of_rows:
            return self._looked_up_together(builder, ids)
        given = constants(builder, self.planes)
        rows = decode(builder, *gather_rows(builder, ids, *self._in_rows()), given)
        return reshape_rows(builder, rows, ids, builder.constant(integers(self.planes.cols)))

    @property
    def _codes_of_rows(self) -> bool:
        """Whether the codes of a row's weights lie together: where nothing but embeddings reads the weight."""
        planes = self.planes
        alone = len(self.site.value.uses()) == len(self.site.readers) and planes.survivors is None
        looked_up = alone and all(reader.role is Role.EMBEDDING for reader in self.site.readers)
        return looked_up and not planes.group_size and len(planes.codes) in NATIVE_BITS

    def _looked_up_together(self, builder: GraphBuilder, ids: ir.Value) -> ir.Value:
        """Return the rows, decoded behind a Gather of the codes of their weights, and of their levels."""
        bits, cols = len(self.planes.codes), self.planes.cols
        if self._table is None:
            codes = self.front.initializer("codes", pack_indices(self.planes.code, bits))
            alphas = store_alphas(self.front, self.planes, lambda rows: rows)
            self._table = codes, row_levels(self.front, alphas, level_constants(self.front, self.planes))
        flat = builder.op("Reshape", [ids, builder.constant([-1])])
        codes, levels = (builder.op("Gather", [each, flat]) for each in self._table)
        code = decode_indices(builder, codes, bits, -1, cols, dtype=ir.DataType.INT32)
        code = builder.op("Reshape", [code, builder.constant([-1, cols])])
        rows = builder.op("GatherElements", [levels, code], axis=1)
        return reshape_rows(builder, rows, ids, builder.constant(integers(cols)))

    def dense(self) -> ir.Value:
        """Return the decoded weight."""
        builder, view = self.front, self.site.view
        # Nothing else reads planes, so that the codes may lie in another way.
        if self.target.replaces_readers and self._rows is None and self._blocks is None:
            together = decode_together(self.rewriting.joint, builder, self.site, self.planes)
            if together is not None:
                return together
        # Decoded as it is read where that can be: cheaper than to transpose floats.
        transposed = self.target.replaces_readers and view.perm == (1, 0)
        if self.target.decodes_by_operator:
            matrices = self._operator(builder, "BinaryDequantize", *self._in_rows())
        else:
            matrices = self._decoded(transposed=transposed)
        shape = (view.count * view.rows, view.cols)
        return arranged(builder, matrices, self.site, shape=shape, transposed=transposed)

    def settle(self) -> None:
        """Store codes in the layout of products, or compute that layout from stored rows: no weight is stored twice."""
        if self._blocks is None:
            return
        # 1. Nobody reads rows: blocks are stored. 2. Somebody does, or the file holds survivors alone: rows are stored,
        # and nodes that fold at load reorder them.
        stored = self._rows is None and self.planes.survivors is None
        found = self._store_blocks() if stored else self._blocks_of_rows()
        for placeholder, value in zip(self._blocks, found, strict=True):
            placeholder.replace_all_uses_with(value)

    def _in_rows(self) -> tuple[ir.Value, ir.Value]:
        """Return codes `[planes, out, bytes]`, stored as they are or made of what is stored, and alphas."""
        if self._rows is None:
            self._rows = self._codes_in_rows(), store_alphas(self.front, self.planes, lambda rows: rows)
        return self._rows

    def _codes_in_rows(self) -> ir.Value:
        survivors = self.planes.survivors
        if survivors is None:
            return self.front.initializer("codes", self.planes.codes)
        stored = self.front.initializer("survivors", survivors)
        mask = self.front.initializer("mask", self.planes.codes[-1])
        if not self.target.functions:
            bits = 8 * self.planes.codes[-1].size
            sums = sums_in_front_of(self.site, portable=self.target.portable)
            return unmask(
                self.front,
                stored,
                mask,
                float_bits_of_bytes(self.front),
                lambda numbers: sums(self.front, numbers, bits),
            )
        return call(self.front, "BinaryUnmask", [stored, mask])

    def _in_blocks(self) -> tuple[ir.Value, ir.Value]:
        """Return codes and alphas in the layout of products, of recurrent nodes one product a direction.

        `settle` says later where they come from.
        """
        if self._blocks is None:
            self._blocks = ir.Value(name="codes"), ir.Value(name="alphas")
        return self._blocks

    def _store_blocks(self) -> list[ir.Value]:
        # codes [planes, count * rows, bytes] -> count of [planes, rows * bytes]; alphas [terms, count * rows, groups]
        # -> count of [terms, groups, rows]. Those of recurrent nodes get a first dimension for the direction; others
        # have one matrix.
        count = self.site.view.count
        codes = [in_blocks(part) for part in np.split(self.planes.codes, count, axis=1)]
        join = np.stack if self._is_recurrent else np.concatenate

        def in_groups(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return join([part.transpose(0, 2, 1) for part in np.split(numbers, count, axis=1)])

        return [self.front.initializer("codes", join(codes)), store_alphas(self.front, self.planes, in_groups)]

    def _blocks_of_rows(self) -> list[ir.Value]:
        codes, alphas = self._in_rows()
        if not self._is_recurrent:
            return [blocks_of_rows(self.front, codes), self.front.op("Transpose", [alphas], perm=[0, 2, 1])]
        view, planes, terms = self.site.view, len(self.planes.codes), len(self.planes.alphas)
        # [planes, D rows, bytes] -> [D, planes, rows, bytes] -> [D planes, rows, bytes], as if all were planes of one
        # matrix -> blocks [D planes, rows bytes] -> [D, planes, rows bytes]. Alphas: [D, terms, rows, groups] -> [D,
        # terms, groups, rows].
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

    def _operator(self, builder: GraphBuilder, name: str, *inputs: ir.Value | None) -> ir.Value:
        return call(builder, name, inputs, **self.planes.attributes)

    def _decoded(self, *, transposed: bool) -> ir.Value:
        """Return the decoded float matrix, from codes of whole weights if nothing else reads planes."""
        planes, bits = self.planes, len(self.planes.codes)
        # Codes of whole weights, several a byte, in the order in which they are read: half of the nodes of planes, a
        # peak of 3.9 times the weight instead of 5.2 (8192x8192, 2 bits), and one look-up for several weights. They pay
        # where planes are not stored anyway.
        alone = self._rows is None and self._blocks is None and planes.survivors is None
        folded = wants_constant(self.site, portable=self.target.portable)
        if alone and bits in NATIVE_BITS:
            codes = planes.code.T if transposed else planes.code
            code = store_as_matrix(self.front, codes, bits, "codes", lean=self.target.portable)
            alphas = store_alphas(self.front, planes, lambda rows: rows)
            levels = level_constants(self.front, planes, transposed=transposed, folded=folded)
            return look_up(self.front, code, alphas, levels, transposed=transposed)
        given = constants(self.front, planes, transposed=transposed, folded=folded)
        return decode(self.front, *self._in_rows(), given, transposed=transposed)
