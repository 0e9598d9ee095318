"""Lowering of a sum of two forms: the reader twice, one for each term, and an Add behind them.

LSTM, GRU, RNN and fused operators are not linear in their weights: there the terms are decoded and added when a session
loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.forms import Form
from dtc.forms.composite import Sum
from dtc.graph import DENSE_ROLES, INPUT_ROLES, RECURRENT_ROLES, MatrixView, Reader, Site, view_of
from dtc.graph.builder import GraphBuilder, insert_first, replace_node
from dtc.passes.lower.decode import arranged, dense_site, feed_readers, forget, remove_unread
from dtc.passes.lower.kinds import FormKind
from dtc.passes.lower.low_rank import KIND as LOW_RANK
from dtc.passes.lower.low_rank.lowering import JOINED
from dtc.passes.lower.lowered import Compressed, How, Lowered, ReadBy
from dtc.passes.lower.lowering import lower_items
from dtc.passes.lower.readers import compute_type
from dtc.passes.lower.rewriting import Rewriting
from dtc.passes.lower.sparse import KIND as SPARSE

_BIAS = {"Gemm": 2, "Conv": 2, "ConvTranspose": 2, "DeformConv": 3}
"""The input that a node adds to its product."""


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to two terms, naming the node; None if it can."""
    if _is_added(site):
        return SPARSE.refuse(site)
    for reader in site.readers:
        if reader.perm != site.readers[0].perm:
            return f"node {reader.node_name!r} reads the transpose of what another node reads"
    return LOW_RANK.refuse(site) or SPARSE.refuse(site)


def lower(rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Replace each reader by two and an Add, or its weight by an Add, in place, and lower both terms."""
    found = []
    for item in items:
        lowered = _lower_site(rewriting, Compressed(rewriting.current(item.site), item.forms))
        found.append(replace(lowered, site=item.site))
    return found


def _is_added(site: Site) -> bool:
    """True if the sum is made before the weight is read, as some reader is not linear in it, or no single product."""
    return any(reader.role in RECURRENT_ROLES | INPUT_ROLES | DENSE_ROLES for reader in site.readers)


def _lower_site(rewriting: Rewriting, item: Compressed) -> Lowered:
    """Make two sites of one, and lower them; what the report tells of the sum is put together from both terms."""
    added = _is_added(item.site)
    # 1. LSTM, GRU, RNN and what is fused: the sum is decoded in front of the node. 2. All others are linear in their
    # weight: two nodes and an Add.
    terms = (_add_terms if added else _split)(rewriting, item)
    for term in terms:
        rewriting.ledger.belongs(term.site, item.site)
    inner = lower_items(rewriting, terms)
    how: How = "decoded" if added else "terms"
    reason = JOINED if added else "; ".join(each.reason for each in inner)
    return Lowered(
        item.site,
        item.forms,
        tuple(ReadBy.of(reader, how, reason) for reader in item.site.readers),
        caveats=tuple(dict.fromkeys(caveat for each in inner for caveat in each.caveats)),
        tolerance=max((each.tolerance for each in inner if each.tolerance is not None), default=None),
    )


def _terms(item: Compressed) -> dict[str, tuple[Form, ...]]:
    forms = [form for form in item.forms if isinstance(form, Sum)]
    return {label: tuple(getattr(form, label) for form in forms) for label in ("first", "second")}


def _add_terms(rewriting: Rewriting, item: Compressed) -> list[Compressed]:
    """Feed the readers from the sum of two initializers; return these, each with the forms of its term."""
    site, front, terms = item.site, rewriting.front(item.site), _terms(item)
    values = [front.initializer(label, np.stack([form.dense() for form in forms])) for label, forms in terms.items()]
    # Two initializers [count, rows, cols] -> Add -> the shape that the readers know.
    shape = (site.view.count, site.view.rows, site.view.cols)
    feed_readers(site, lambda: arranged(front, front.op("Add", values), site, shape=shape))
    insert_first(front)
    return [Compressed(dense_site(value, (0, 1, 2)), own) for value, own in zip(values, terms.values(), strict=True)]


def _split(rewriting: Rewriting, item: Compressed) -> list[Compressed]:
    """Let the readers read two initializers instead of one; return these as sites, with the forms of the terms."""
    site, front = item.site, rewriting.front(item.site)
    dtype = compute_type(site.readers[0])  # that of the nodes: they read the terms without a Cast
    terms: dict[ir.Value, tuple[Form, ...]] = {}
    for label, forms in _terms(item).items():
        # [count, out, in] -> the initializer's shape -> as the nodes see it: a Transpose between weight and reader is
        # done here.
        dense = site.restore(np.stack([form.dense() for form in forms])).transpose(site.readers[0].perm)
        terms[front.initializer(label, np.ascontiguousarray(dense).astype(dtype.numpy()))] = forms
    readers: dict[ir.Value, list[Reader]] = {value: [] for value in terms}
    for reader in site.readers:
        nodes = _read_twice(reader, list(terms), rewriting.builder(site, reader))
        for value, node in zip(terms, nodes, strict=True):
            readers[value].append(_reading_as_seen(reader, node))
    remove_unread(site.value)
    if not site.value.uses() and not site.value.is_graph_output():
        forget(site.value)
    return [Compressed(Site(value.name or "", value, tuple(readers[value])), forms) for value, forms in terms.items()]


def _reading_as_seen(reader: Reader, node: ir.Node) -> Reader:
    """Return what `node` reads in the place of `reader`: the weight as it reached that one, behind transpositions."""
    # A weight [out, in] reaches a MatMul behind a Transpose, perm (1, 0), as [in, out]. The term is stored as [in,
    # out]: no transposition stands before the reader any more, and the view's perm (0, 1) becomes (1, 0).
    view = view_of(node, reader.role, reader.index, reader.shape)
    assert isinstance(view, MatrixView), "the node in whose place it stands reads it so"
    return Reader(node, reader.index, reader.role, tuple(range(len(reader.perm))), view, reader.shape, reader.rows)


def _read_twice(reader: Reader, values: Sequence[ir.Value], builder: GraphBuilder) -> list[ir.Node]:
    """Put two copies of the reading node in its place; a bias is added once."""
    node, outputs = reader.node, []
    for index, value in enumerate(values):
        inputs = [value if i == reader.index else given for i, given in enumerate(node.inputs)]
        if index and node.op_type in _BIAS:  # which the first copy adds
            inputs = [None if i == _BIAS[node.op_type] else given for i, given in enumerate(inputs)]
            inputs = inputs if inputs[-1] is not None else inputs[:-1]
        outputs.append(_product(builder, node, inputs, f"term_{index}"))
        outputs[-1].type, outputs[-1].shape = node.outputs[0].type, node.outputs[0].shape
    nodes = [output.producer() for output in outputs]
    replace_node(node, builder, {node.outputs[0]: builder.op("Add", outputs)})
    return [made for made in nodes if made is not None]


def _product(builder: GraphBuilder, node: ir.Node, inputs: Sequence[ir.Value | None], label: str) -> ir.Value:
    """Add a node like `node` with other inputs."""
    attributes: dict[str, Any] = dict(node.attributes)
    if (node.domain, node.op_type) == ("", "Gemm") and len(inputs) == 2:
        a, b = inputs
        assert a is not None
        assert b is not None
        return builder.gemm(a, b, label=label, **attributes)
    return builder.op(node.op_type, inputs, domain=node.domain, label=label, **attributes)


KIND = FormKind(form=Sum, lower=lower, refuse=refuse, parts=lambda form: (form.first, form.second))
