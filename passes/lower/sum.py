"""Lowering of a sum of two forms: the reader twice, one for each term, and an Add behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dtc.forms import Form
from dtc.forms.composite import Sum
from dtc.graph import Reader, Role, Site, find_sites
from dtc.passes.lower import Compressed, Mode, lower_items, lowerings
from dtc.passes.prepare.remove_unused import RemoveUnusedPass

KIND = Sum.kind

_LINEAR = frozenset({Role.MATMUL, Role.GEMM, Role.CONV, Role.EMBEDDING})


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to two terms, naming the node; None if it can."""
    for reader in site.readers:
        if reader.role not in _LINEAR:
            return f"node {reader.node_name!r}: {reader.role} is not linear in its weight, so it cannot be split in two"
        if reader.perm != site.readers[0].perm:
            return f"node {reader.node_name!r} reads the transpose of what another node reads"
    return lowerings()["low-rank"].refuse(site) or lowerings()["sparse"].refuse(site)


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode = "compute") -> None:
    """Replace each reader by two and an Add, in place, and lower both terms."""
    terms: dict[str, tuple[Form, ...]] = {}
    for item in items:
        forms = [form for form in item.forms if isinstance(form, Sum)]
        terms |= _split(item.site, forms)
    RemoveUnusedPass()(model)
    sites = {site.name: site for site in find_sites(model)}
    lower_items(model, [Compressed(sites[name], forms) for name, forms in terms.items()], mode)


def _split(site: Site, forms: Sequence[Sum]) -> dict[str, tuple[Form, ...]]:
    graph = site.value.graph
    assert isinstance(graph, ir.Graph), "a site's initializer is registered in a graph"
    terms: dict[str, tuple[Form, ...]] = {}
    values = []
    for label in ("first", "second"):
        own = tuple(getattr(form, label) for form in forms)
        dense = site.restore(np.stack([form.dense() for form in own])).transpose(site.readers[0].perm)
        value = ir.val(f"{site.name}.{label}", const_value=ir.tensor(np.ascontiguousarray(dense)))
        graph.register_initializer(value)
        values.append(value)
        terms[value.name or ""] = own
    for reader in site.readers:
        _read_twice(reader, values)
    return terms


def _read_twice(reader: Reader, values: Sequence[ir.Value]) -> None:
    """Put two copies of the reading node in its place; a bias is added once."""
    node = reader.node
    assert node.graph is not None
    copies = []
    for index, value in enumerate(values):
        inputs = [value if i == reader.index else given for i, given in enumerate(node.inputs)]
        if index and len(inputs) > 2:
            inputs = inputs[:2]
        attributes = list(node.attributes.values())
        copy = ir.Node("", node.op_type, inputs, attributes, name=f"{reader.node_name}/term_{index}")
        copies.append(copy)
    add = ir.node("Add", [copy.outputs[0] for copy in copies], name=f"{reader.node_name}/sum")
    for copy in copies:
        copy.outputs[0].name = f"{copy.name}:0"
        copy.outputs[0].type, copy.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
    node.graph.insert_before(node, [*copies, add])
    ir.convenience.replace_all_uses_with(node.outputs[0], add.outputs[0], replace_graph_outputs=True)
    add.outputs[0].type, add.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
    add.outputs[0].name, node.outputs[0].name = node.outputs[0].name, f"{reader.node_name}/replaced"
    node.graph.remove(node, safe=True)
