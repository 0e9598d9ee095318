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

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import call
from dtc.deploy.ops.codebook.decode import OPSET
from dtc.deploy.ops.codebook.gather import flat_rows, like_ids
from dtc.graph import Reader, Role, Site
from dtc.graph.builder import GraphBuilder, Shared, insert_first, replace_node
from dtc.passes.lower import Compressed, Mode, costs
from dtc.passes.lower.codebook.parts import Stored
from dtc.passes.lower.decode import arranged, feed_readers
from dtc.passes.lower.recurrent.operator import CodedWeight, can_be_operator, replace_weight, up_to_date

KIND = "codebook"

__all__ = ["KIND", "OPSET", "lower", "refuse"]


def refuse(site: Site) -> str | None:  # noqa: ARG001 - of the protocol; no site is refused
    """Every role can be lowered: what no operator computes on is decoded in front of its reader."""
    return None


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode) -> None:
    """Replace the sites in the graph, in place."""
    shared = Shared(model)
    for item in up_to_date(model, items):
        _Lowering(model, item, mode, shared).run()
    shared.insert()


class _Lowering:
    """One site on its way into the graph."""

    def __init__(self, model: ir.Model, item: Compressed, mode: Mode, shared: Shared) -> None:
        graph = item.site.value.graph
        assert isinstance(graph, ir.Graph)
        self.model, self.site, self.shared, self.graph = model, item.site, shared, graph
        self.front = shared.builder(item.site.name, graph)  # what stands before every reader
        self.stored = Stored(self.front, item)
        self.mode = mode
        self.operators = mode in ("compute", "storage") and self.stored.native
        self.computes = self.operators and costs.choose(item.forms[0], item.site.rows).on_codes

    def run(self) -> None:
        """Replace the readers that can do with indices, then decode for the others."""
        for reader in self.site.readers:
            if self._is_recurrent(reader):
                replace_weight(self.model, reader, self._recurrent())
            elif self._reads_indices(reader):
                self._replace(reader)
        feed_readers(self.site, self._whole)
        insert_first(self.front)

    def _is_recurrent(self, reader: Reader) -> bool:
        pays = self.operators and costs.choose(self.stored.form, self.site.rows).on_codes
        return pays and reader.view == self.site.view and can_be_operator(self.model, reader)

    def _recurrent(self) -> CodedWeight:
        indices, codewords, bits = self.stored.operands(self.front)
        return CodedWeight("codebook", (indices, codewords), {"bits": bits})

    def _reads_indices(self, reader: Reader) -> bool:
        """True for a reader of the form's own rows that an operator, or decoding after a Gather, can stand for."""
        if self.mode == "storage":
            return False
        plain = self.site.value.dtype == ir.DataType.FLOAT and reader.view == self.site.view and reader.view.count == 1
        if not plain or self.stored.masked:
            return False
        match reader.role:
            case Role.EMBEDDING:
                return reader.node.inputs[0] is self.site.value
            case Role.MATMUL:
                return self.computes and reader.index == 1
            case Role.GEMM:
                return self.computes and not reader.node.attributes.get_int("transA", 0)
            case _:
                return False

    def _replace(self, reader: Reader) -> None:
        node = reader.node
        e = self.shared.builder(reader.node_name, self.graph)
        output = self._gathered(e, node) if reader.role == Role.EMBEDDING else self._product(e, node)
        replace_node(node, e, {node.outputs[0]: output})

    def _gathered(self, e: GraphBuilder, node: ir.Node) -> ir.Value:
        ids = node.inputs[1]
        assert ids is not None
        if self.operators:
            return self._operator(e, "CodebookGather", [ids])
        rows = self.stored.decode_rows(e, flat_rows(e, self.stored.addressable(self.front), ids))
        return like_ids(e, rows, ids)

    def _product(self, e: GraphBuilder, node: ir.Node) -> ir.Value:
        product = self._operator(e, "CodebookMatMul", [node.inputs[0]])
        if node.op_type == "MatMul":
            return product
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        product = _scaled(e, product, node.attributes.get_float("alpha", 1.0))
        return (
            product
            if bias is None
            else e.op("Add", [product, _scaled(e, bias, node.attributes.get_float("beta", 1.0))])
        )

    def _operator(self, e: GraphBuilder, name: str, inputs: list[ir.Value | None]) -> ir.Value:
        indices, codewords, bits = self.stored.operands(self.front)
        return call(e, name, [*inputs, indices, codewords], bits=bits, columns=self.stored.cols)

    def _whole(self) -> ir.Value:
        """Return the decoded weight, of the initializer's shape and type."""
        stays = self.mode == "storage" and self.operators
        matrix = self._operator(self.front, "CodebookDequantize", []) if stays else self.stored.decode(self.front)
        return arranged(self.front, matrix, self.site)


def _scaled(e: GraphBuilder, value: ir.Value, factor: float | None) -> ir.Value:
    return value if factor in (None, 1.0) else e.op("Mul", [value, e.constant(np.float32(factor))])
