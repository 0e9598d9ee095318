"""Codebooks in the graph: operators that compute on them, or standard nodes that decode them.

* `compute`: `dtc.CodebookMatMul` for MatMul and Gemm where it pays (`dtc.passes.lower.costs`), `dtc.CodebookGather`
  for embeddings, and the nodes of `standard` in front of whatever else reads the weight. Operators read indices of 1,
  2, 4 or 8 bits; those of other widths up to 8 stay packed in the file and become bytes when the session loads. More
  than 256 codewords, and masks, are decoded by standard nodes.
* `standard`: standard nodes in front of the reader, that runtimes fold at load; an embedding is decoded after its
  Gather, the looked-up rows alone, unless it has a mask beside its indices.
* `storage`: `dtc.CodebookDequantize` in front of every reader, where an operator reads the indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import call
from dtc.deploy.ops.codebook.decode import NATIVE_BITS
from dtc.deploy.ops.codebook.gather import flat_rows, like_ids
from dtc.forms import Codebook, Codewords
from dtc.graph import Reader
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.codebook.parts import Stored
from dtc.passes.lower.codebook.together import decode_together
from dtc.passes.lower.coded import CodedSite, lower_each
from dtc.passes.lower.decode import arranged
from dtc.passes.lower.kinds import Measured, Sample
from dtc.passes.lower.lowered import Compressed, Lowered
from dtc.passes.lower.recurrent.operator import CodedWeight
from dtc.passes.lower.rewriting import Rewriting


def _sample(bits: int, block: int, rng: np.random.Generator, shape: tuple[int, int]) -> Codebook:
    words = Codewords.encode(rng.standard_normal((1 << bits, block), dtype=np.float32), 32)
    indices = rng.integers(0, 1 << bits, (shape[0], shape[1] // block)).astype(np.uint16)
    return Codebook(indices, words, shape[1])


SAMPLES: dict[str, Sample] = {
    f"codebook {1 << bits} x {block}": partial(_sample, bits, block)
    for bits, block in ((2, 1), (4, 1), (8, 1), (8, 4), (8, 8))
}


def measured(form: Codebook) -> Measured:
    """Return the measured codebook that is most like `form`: an approximation, as few sizes were measured.

    Indices of widths that operators do not read are bytes when they run.
    """
    # Blocks: measured at 4 and 8 weights, with indices of 8 bits.
    if form.block > 1:
        return Measured({f"codebook 256 x {4 if form.block < 8 else 8}": 0}, 0)
    # Scalars: measured at 2, 4 and 8 bits. A width of 1 counts as 2; indices that are unpacked at load count as bytes.
    packed = not form.huffman and form.layout.aligned
    bits = form.layout.bits if packed and form.layout.bits in NATIVE_BITS else max(NATIVE_BITS)
    return Measured({f"codebook {4 if bits <= 2 else 16 if bits <= 4 else 256} x 1": 0}, 0)


def lower(rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Replace the sites in the graph, in place."""
    return lower_each(_CodebookSite, rewriting, items)


class _CodebookSite(CodedSite):
    """A site of codebooks."""

    def __init__(self, rewriting: Rewriting, item: Compressed) -> None:
        super().__init__(rewriting, item)
        self.forms = [form for form in item.forms if isinstance(form, Codebook)]
        self._made: Stored | None = None

    @property
    def stored(self) -> Stored:
        """The stored parts, made when they are first asked for."""
        if self._made is None:
            self._made = Stored(self.front, self.item, portable=self.target.portable)
        return self._made

    def unfit(self) -> str | None:
        """Return why no operator reads the indices: a mask beside them, or too many codewords."""
        form = self.forms[0]
        if form.mask is not None:
            return "no operator reads a mask beside indices"
        return (
            None if form.layout.bits <= max(NATIVE_BITS) else f"operators read indices of up to {max(NATIVE_BITS)} bits"
        )

    def unfit_lookup(self) -> str | None:
        """Return why rows cannot be decoded as they are looked up: a mask is decoded whole."""
        return "a mask beside indices is decoded whole" if self.forms[0].mask is not None else None

    def recurrent(self, reader: Reader) -> CodedWeight:
        """Return indices, codewords, and the width of an index."""
        indices, codewords, bits = self.stored.operands(self.front)
        return CodedWeight(Codebook.kind, (indices, codewords), {"bits": bits})

    def multiply(self, builder: GraphBuilder, x: ir.Value) -> ir.Value:
        """Return the product by `dtc.CodebookMatMul`."""
        return self._operator(builder, "CodebookMatMul", [x])

    def look_up(self, builder: GraphBuilder, ids: ir.Value) -> ir.Value:
        """Return the rows by `dtc.CodebookGather`, or decoded behind a Gather of their indices."""
        if self.target.computes and self.stored.native:
            return self._operator(builder, "CodebookGather", [ids])
        # [...] ids -> [ids, bytes] packed indices of their rows -> [ids, cols] -> [..., cols].
        rows = flat_rows(builder, self.stored.addressable(self.front), ids)
        return like_ids(builder, self.stored.decode_rows(builder, rows), ids)

    def dense(self) -> ir.Value:
        """Return the decoded weight."""
        if self.target.replaces_readers and self._made is None:
            together = decode_together(self.rewriting.joint, self.front, self.site, self.forms)
            if together is not None:
                return together
        stays = self.target.decodes_by_operator and self.stored.native
        matrix = self._operator(self.front, "CodebookDequantize", []) if stays else self.stored.decode(self.front)
        return arranged(self.front, matrix, self.site)

    def _operator(self, builder: GraphBuilder, name: str, inputs: list[ir.Value | None]) -> ir.Value:
        indices, codewords, bits = self.stored.operands(self.front)
        return call(builder, name, [*inputs, indices, codewords], bits=bits, columns=self.stored.cols)
