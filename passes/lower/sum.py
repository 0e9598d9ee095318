"""Lowering of a sum of two forms: the reader twice, one for each term, and an Add behind them.

LSTM and GRU are not linear in their weights: there the terms are decoded and added when a session loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.forms import Form
from dtc.forms.composite import Sum
from dtc.graph import Reader, Site, find_sites
from dtc.graph.builder import GraphBuilder, Shared, insert_first, replace_node
from dtc.passes.lower import Compressed, Mode, lower_items, lowerings
from dtc.passes.lower.decode import arranged, dense_site, feed_readers
from dtc.passes.lower.recurrent.operator import INPUT_ROLES, RECURRENT_ROLES
from dtc.passes.prepare.remove_unused import RemoveUnusedPass

KIND = Sum.kind


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to two terms, naming the node; None if it can."""
    if any(reader.role in RECURRENT_ROLES | INPUT_ROLES for reader in site.readers):
        return lowerings()["sparse"].refuse(site)
    for reader in site.readers:
        if reader.perm != site.readers[0].perm:
            return f"node {reader.node_name!r} reads the transpose of what another node reads"
    return lowerings()["low-rank"].refuse(site) or lowerings()["sparse"].refuse(site)


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode = "compute") -> None:
    """Replace each reader by two and an Add, or its weight by an Add, in place, and lower both terms."""
    shared = Shared(model)
    split: dict[str, tuple[Form, ...]] = {}
    added: list[Compressed] = []
    for item in items:
        if item.site.role in RECURRENT_ROLES | INPUT_ROLES:
            added += _add_terms(item, shared)
        else:
            split |= _split(item, shared)
    RemoveUnusedPass()(model)
    sites = {site.name: site for site in find_sites(model)}
    lower_items(model, [*added, *(Compressed(sites[name], forms) for name, forms in split.items())], mode)


def _terms(item: Compressed) -> dict[str, tuple[Form, ...]]:
    forms = [form for form in item.forms if isinstance(form, Sum)]
    return {label: tuple(getattr(form, label) for form in forms) for label in ("first", "second")}


def _add_terms(item: Compressed, shared: Shared) -> list[Compressed]:
    """Feed the readers from the sum of two initializers; return these, each with the forms of its term."""
    site, front, terms = item.site, _front(item.site, shared), _terms(item)
    values = [front.initializer(label, np.stack([form.dense() for form in forms])) for label, forms in terms.items()]
    shape = (site.view.count, site.view.rows, site.view.cols)
    feed_readers(site, lambda: arranged(front, front.op("Add", values), site, shape=shape))
    insert_first(front)
    return [Compressed(dense_site(value, (0, 1, 2)), own) for value, own in zip(values, terms.values(), strict=True)]


def _split(item: Compressed, shared: Shared) -> dict[str, tuple[Form, ...]]:
    """Let the readers read two initializers instead of one; return the forms of these, by their names."""
    site, front = item.site, _front(item.site, shared)
    dtype = site.value.dtype or ir.DataType.FLOAT
    terms: dict[ir.Value, tuple[Form, ...]] = {}
    for label, forms in _terms(item).items():
        dense = site.restore(np.stack([form.dense() for form in forms])).transpose(site.readers[0].perm)
        terms[front.initializer(label, np.ascontiguousarray(dense).astype(dtype.numpy()))] = forms
    for reader in site.readers:
        _read_twice(reader, list(terms), shared.builder(reader.node_name, front.graph))
    return {value.name or "": forms for value, forms in terms.items()}


def _read_twice(reader: Reader, values: Sequence[ir.Value], builder: GraphBuilder) -> None:
    """Put two copies of the reading node in its place; a bias is added once."""
    node, outputs = reader.node, []
    attributes: dict[str, Any] = dict(node.attributes)
    for index, value in enumerate(values):
        inputs = [value if i == reader.index else given for i, given in enumerate(node.inputs)]
        if index:
            inputs = inputs[:2]
        outputs.append(builder.op(node.op_type, inputs, label=f"term_{index}", **attributes))
        outputs[-1].type, outputs[-1].shape = node.outputs[0].type, node.outputs[0].shape
    replace_node(node, builder, {node.outputs[0]: builder.op("Add", outputs)})


def _front(site: Site, shared: Shared) -> GraphBuilder:
    graph = site.value.graph
    assert isinstance(graph, ir.Graph), "a site's initializer is registered in a graph"
    return shared.builder(site.name, graph)
