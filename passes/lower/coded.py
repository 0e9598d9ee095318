"""Lowering of coded forms, the half that they have in common: readers that can compute on codes do so.

What a form adds is how it is stored, multiplied, looked up and decoded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import onnx_ir as ir

from dtc.graph import INPUT_ROLES, RECURRENT_ROLES, Reader, Role
from dtc.graph.builder import GraphBuilder, insert_first, replace_node
from dtc.graph.opset import opset_of
from dtc.passes.lower.decode import arranged, feed_readers
from dtc.passes.lower.kinds import FormKind, choose_for
from dtc.passes.lower.lowered import Compressed, Lowered, ReadBy
from dtc.passes.lower.opset7 import Decoder
from dtc.passes.lower.readers import Lookup, Unfit, product_of, unfit_recurrence
from dtc.passes.lower.recurrent.operator import CodedWeight, replace_weight
from dtc.passes.lower.rewriting import Rewriting, graph_of

AT_LOAD = "decoded when a session loads"
BY_OPERATOR = "decoded by an operator in front of its reader"
LOOKED_UP = "rows decoded as they are looked up"


class CodedSite(ABC):
    """One site on its way into the graph.

    Args:
        rewriting: The model and the target.
        item: The site and its forms.
    """

    def __init__(self, rewriting: Rewriting, item: Compressed) -> None:
        self.rewriting, self.target = rewriting, rewriting.target
        self.given, self.site = item.site, rewriting.current(item.site)
        self.item, self.graph = Compressed(self.site, item.forms), graph_of(self.site)
        self.front = rewriting.front(self.site)  # runs before every reader
        self.choice = choose_for(item.forms[0], self.site.rows, self.target.costs)

    def run(self) -> Lowered:
        """Replace the readers that can compute on codes, then decode for the others; tell how each was served."""
        readers = tuple(map(self._serve, self.site.readers))
        feed_readers(self.site, self.dense)
        # What is decoded is known by now: what operators read may be made of the same arrays.
        self.settle()
        insert_first(self.front)
        return Lowered(self.given, self.item.forms, readers)

    # What a form says.

    def unfit(self) -> str | None:
        """Return why no operator can compute on these forms; None if an operator can."""
        return None

    @abstractmethod
    def recurrent(self, reader: Reader) -> CodedWeight:
        """Return the weight as an operator for LSTM or GRU takes it."""

    @abstractmethod
    def multiply(self, builder: GraphBuilder, x: ir.Value) -> ir.Value:
        """Return `x [..., in] W^T` by an operator."""

    @abstractmethod
    def look_up(self, builder: GraphBuilder, ids: ir.Value) -> ir.Value:
        """Return the rows `ids`, by an operator where the target has them, else by nodes that decode those alone."""

    def unfit_lookup(self) -> str | None:
        """Return why rows cannot be decoded as they are looked up; None if they can."""
        return None

    @abstractmethod
    def dense(self) -> ir.Value:
        """Return the weight in the initializer's own shape and type, decoded in front of every reader."""

    def settle(self) -> None:  # noqa: B027 - most forms have nothing to settle
        """Make the decisions that depend on all readers; called after all of them were served."""

    # How readers are served.

    def _serve(self, reader: Reader) -> ReadBy:
        # 1. The target leaves readers as they are (`storage`).
        if not self.target.replaces_readers:
            return ReadBy.of(reader, "decoded", BY_OPERATOR if self.target.decodes_by_operator else AT_LOAD)
        # 2. LSTM and GRU: an operator that takes this weight in its form.
        if reader.role in INPUT_ROLES | RECURRENT_ROLES:
            return self.serve_recurrence(reader)
        # 3. Gather: rows are decoded as they are looked up, in `standard` too.
        if reader.role is Role.EMBEDDING:
            return self.serve_lookup(reader)
        # 4. MatMul, Gemm and all else: a product on codes, or the dense weight.
        return self.serve_product(reader)

    def serve_recurrence(self, reader: Reader) -> ReadBy:
        """Let an operator for LSTM or GRU take the weight in its form, where that is possible and pays."""
        unfit = unfit_recurrence(self.rewriting.model, reader, self.site)
        reason = self.why_decoded() or (unfit and f"{AT_LOAD}: {unfit.reason}")
        if reason:
            return ReadBy.of(reader, "decoded", reason)
        # Told before the node is replaced: the reader's node is gone afterwards.
        served = ReadBy.of(reader, "operator", self.choice.reason, self.choice.speed)
        replace_weight(self.rewriting, self.site, reader, self.recurrent(reader))
        return served

    def serve_lookup(self, reader: Reader) -> ReadBy:
        """Decode the looked-up rows alone, where that is possible."""
        lookup = Lookup.on_codes(reader, self.site)
        reason = lookup.reason if isinstance(lookup, Unfit) else self.unfit_lookup()
        if isinstance(lookup, Unfit) or reason is not None:
            return ReadBy.of(reader, "decoded", f"{AT_LOAD}: {reason}")
        served = ReadBy.of(reader, "operator" if self.target.computes else "rows", LOOKED_UP)
        builder = self.builder(reader)
        self.replace(reader, builder, lookup.finish(builder, self.look_up(builder, lookup.ids)))
        return served

    def serve_product(self, reader: Reader) -> ReadBy:
        """Let an operator multiply with the codes, where that is possible and pays."""
        product = product_of(reader, self.site)
        reason = self.why_decoded()
        if isinstance(product, Unfit):
            return ReadBy.of(reader, "decoded", reason or f"{AT_LOAD}: {product.reason}")
        if reason is not None:
            return ReadBy.of(reader, "decoded", reason)
        served = ReadBy.of(reader, "operator", self.choice.reason, self.choice.speed)
        builder = self.builder(reader)
        self.replace(reader, builder, product.finish(builder, self.multiply(builder, product.operand(builder))))
        return served

    def why_decoded(self) -> str | None:
        """Return why no operator computes on these forms on this target; None where an operator does."""
        if not self.target.computes:
            return AT_LOAD
        unfit = self.unfit()
        if unfit is not None:
            return f"{AT_LOAD}: {unfit}"
        return None if self.choice.pays else self.choice.reason

    def builder(self, reader: Reader) -> GraphBuilder:
        """Return a builder for the nodes that stand for a reader."""
        return self.rewriting.builder(self.site, reader)

    @staticmethod
    def replace(reader: Reader, builder: GraphBuilder, output: ir.Value) -> None:
        """Put the builder's nodes in the place of a reader of one output."""
        replace_node(reader.node, builder, {reader.node.outputs[0]: output})


def lower_older(rewriting: Rewriting, items: Sequence[Compressed], row: FormKind, decode: Decoder) -> list[Lowered]:
    """Decode sites for all their readers, in a model of an older operator set than a kind of form needs otherwise."""
    reason = AT_LOAD
    if rewriting.target.functions:
        reason += f": operators need opset {row.opset}, the model has {opset_of(rewriting.model)}"
    return [_decoded_for_all(rewriting, item, row, decode, reason) for item in items]


def _decoded_for_all(rewriting: Rewriting, item: Compressed, row: FormKind, decode: Decoder, reason: str) -> Lowered:
    site, dtype = rewriting.current(item.site), item.site.value.dtype or ir.DataType.FLOAT
    front, shape = rewriting.front(site), (site.view.count * site.view.rows, site.view.cols)

    def dense() -> ir.Value:
        together = None if row.together is None else row.together(rewriting.joint, front, site, item.forms)
        return together or arranged(front, decode(front, item.forms, dtype), site, shape=shape)

    feed_readers(site, dense)
    insert_first(front)
    readers = tuple(ReadBy.of(reader, "decoded", reason) for reader in site.readers)
    return Lowered(item.site, item.forms, readers)


def lower_each(site: type[CodedSite], rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Lower sites one by one."""
    return [site(rewriting, item).run() for item in items]
