"""Lowering of the sparse form.

`compute`: MatMul and Gemm become `dtc.SparseMatMul` or `dtc.BitmapMatMul` where that pays (`dtc.passes.lower.costs`),
embeddings `dtc.SparseGather` or `dtc.BitmapGather`, recurrent nodes `dtc.LSTM_*` and `dtc.GRU_*`; other readers get the
dense weight as in `standard`.
`standard`: standard operators decode the weight when the session loads; an embedding's rows are decoded behind
its Gather, unless another node needs the whole table. Where whole rows or columns are zero and that is
faster, a smaller MatMul is left in both. `storage`: `dtc.SparseDequantize` or `dtc.BitmapDequantize` in front of every
reader; with the native library the weight stays sparse in memory and is decoded at every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import call
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Csr, Lines
from dtc.graph import RECURRENT_ROLES, Reader, Role, Site
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.coded import CodedSite, lower_each
from dtc.passes.lower.kinds import Measured, Sample, choose_for
from dtc.passes.lower.lowered import Compressed, Lowered, ReadBy
from dtc.passes.lower.readers import Unfit, product_of
from dtc.passes.lower.recurrent.operator import CodedWeight
from dtc.passes.lower.rewriting import Rewriting
from dtc.passes.lower.sparse.gaps import decode_forms_together
from dtc.passes.lower.sparse.lines import lookup_lines, multiply_lines, pays_to_multiply
from dtc.passes.lower.sparse.stored import StoredSparse


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to the sparse form, naming the node; None if it can."""
    if site.value.is_graph_output():
        return f"weight {site.name!r} is an output of the graph"
    return None


def _sample(zeros: int, rng: np.random.Generator, shape: tuple[int, int]) -> Sparse:
    kept = rng.random(shape, dtype=np.float32) * 100 >= zeros
    return Sparse(rng.standard_normal(int(kept.sum()), dtype=np.float32), Csr.of(kept))


SAMPLES: dict[str, Sample] = {f"sparse {zeros}%": partial(_sample, zeros) for zeros in (50, 80, 90, 95, 98)}


def measured(form: Sparse) -> Measured | None:
    """Return where a matrix lies among those measured: by its zeros. Whole lines of zeros leave a dense product."""
    if isinstance(form.pattern, Lines):
        return None
    zeros = 100 * (1 - form.values.size / max(form.shape[0] * form.shape[1], 1))
    return Measured({name: int(name.split()[1].removesuffix("%")) for name in SAMPLES}, zeros)


def lower(rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Replace the sites in the graph, in place; the model is of opset 13 or later."""
    return lower_each(_SparseSite, rewriting, items)


class _SparseSite(CodedSite):
    """A site of sparse matrices."""

    def __init__(self, rewriting: Rewriting, item: Compressed) -> None:
        super().__init__(rewriting, item)
        decoded = self.target.replaces_readers and not self.target.functions
        self.stored = StoredSparse(self.item, self.front, in_nodes=decoded, portable=self.target.portable)
        self.choice = choose_for(self.stored.form, self.site.rows, self.target.costs)  # of all matrices together

    def unfit(self) -> str | None:
        """Return why no operator reads the form: whole lines are left out of a dense product instead."""
        return "whole lines of zeros are no form of an operator" if self._lines is not None else None

    def recurrent(self, reader: Reader) -> CodedWeight:
        """Return values and places.

        A recurrent weight is multiplied by a row or a few at every step, at which compressed rows are 1.5 times as fast
        as a bitmap (650x2600, 90 % zeros, LSTM of 35 steps: 1.9 and 2.8 ms); they are up to 14 % larger.
        """
        if reader.role in RECURRENT_ROLES:
            self.stored.to_csr()
        layout = "bitmap" if isinstance(self.stored.form.pattern, Bitmap) else "sparse"
        return CodedWeight(layout, [self.stored.values(), *self.stored.places()])

    def multiply(self, builder: GraphBuilder, x: ir.Value) -> ir.Value:
        """Return the product by `dtc.SparseMatMul` or `dtc.BitmapMatMul`."""
        return self._operator(builder, "MatMul", [x, self.stored.values(), *self.stored.places()])

    def serve_product(self, reader: Reader) -> ReadBy:
        """Multiply with what whole lines of zeros leave, in standard operators, where that is faster."""
        product, lines = product_of(reader, self.site), self._lines
        # Three cases go the common way: no whole lines; a reader that multiplies otherwise; a product too small to
        # gain.
        if lines is None or isinstance(product, Unfit) or not pays_to_multiply(lines):
            return super().serve_product(reader)
        builder = self.builder(reader)
        output = multiply_lines(builder, self.stored, lines, product.operand(builder))
        self.replace(reader, builder, product.finish(builder, output))
        kept, of = len(lines.kept), lines.shape[lines.axis]
        reason = f"a product of the {kept} of {of} {('rows', 'columns')[lines.axis]} that are not zero"
        return ReadBy.of(reader, "parts", reason, of / kept)

    def unfit_lookup(self) -> str | None:
        """Return why rows cannot be decoded as they are looked up: another node needs the whole table."""
        # 1. An operator reads single rows. 2. Standard nodes look up whole lines. 3. Nothing but embeddings read the
        # weight: nodes decode single rows. Else the table is decoded once, for all of its readers.
        if self.target.computes or self._lines is not None or _looked_up_only(self.site):
            return None
        return "another node needs the whole table"

    def look_up(self, builder: GraphBuilder, ids: ir.Value) -> ir.Value:
        """Return the rows by `dtc.SparseGather` or `dtc.BitmapGather`, or decoded by nodes."""
        if self._lines is not None:
            return lookup_lines(builder, self.stored, self._lines, ids)
        if not self.target.computes:
            return self.stored.packed(builder).rows(builder, ids)
        return self._operator(builder, "Gather", [ids, self.stored.values(), *self.stored.places()])

    def dense(self) -> ir.Value:
        """Return the decoded weight."""
        if self.target.replaces_readers and not self.stored.begun:  # nothing else reads what is stored
            together = decode_forms_together(self.rewriting.joint, self.front, self.site, self.item.forms)
            if together is not None:
                return together
        # A MatMul reads [in, out]: decoded in that order at once, as a Transpose behind would copy the whole matrix.
        transposed = self.site.view.perm == (1, 0)
        by_operator = self.target.decodes_by_operator and self._lines is None
        matrices = (
            self._dequantized(transposed=transposed) if by_operator else self.stored.decode(transposed=transposed)
        )
        return self.stored.arranged(matrices, transposed=transposed)

    def _dequantized(self, *, transposed: bool) -> ir.Value:
        weight = self._operator(self.front, "Dequantize", [self.stored.values(), *self.stored.places()])
        if self.stored.dtype != ir.DataType.FLOAT:
            weight = self.front.op("Cast", [weight], to=self.stored.dtype)
        return self.front.op("Transpose", [weight], perm=[1, 0]) if transposed else weight

    def _operator(self, builder: GraphBuilder, what: str, inputs: Sequence[ir.Value | None]) -> ir.Value:
        """Add `dtc.Sparse<what>` or `dtc.Bitmap<what>`, by the form's pattern, and the function of that name."""
        name = ("Bitmap" if isinstance(self.stored.form.pattern, Bitmap) else "Sparse") + what
        return call(builder, name, inputs, cols=self.stored.form.shape[1])

    @property
    def _lines(self) -> Lines | None:
        """The pattern where it is of whole lines."""
        pattern = self.stored.form.pattern
        return pattern if isinstance(pattern, Lines) else None


def _looked_up_only(site: Site) -> bool:
    """True if nothing but embeddings read the weight, so that no dense table is needed."""
    return len(site.value.uses()) == len(site.readers) and all(r.role == Role.EMBEDDING for r in site.readers)
