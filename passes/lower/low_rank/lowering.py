"""Lowering of the low-rank form: two small products in the place of a large one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN
from dtc.errors import ModelError
from dtc.forms import Array, Form, LowRank
from dtc.graph import Reader, Role, Site, all_nodes
from dtc.graph.builder import GraphBuilder, Names, Shared
from dtc.graph.walk import PASS_THROUGH
from dtc.passes.lower import Compressed, Mode, costs
from dtc.passes.lower.low_rank.factors import Factors, LowRankSite
from dtc.passes.lower.low_rank.feedforward import lower_conv, lower_embedding, lower_gemm, lower_matmul
from dtc.passes.lower.low_rank.recurrent import lower_input, lower_to_operator, lower_whole
from dtc.passes.lower.low_rank.shared_projection import SharedProjections
from dtc.passes.lower.low_rank.storage import lower_to_storage
from dtc.passes.lower.recurrent.operator import RECURRENT_ROLES, can_be_operator
from dtc.passes.lower.recurrent.scan import can_be_scan
from dtc.passes.prepare.constant_arrays import constant_array
from dtc.passes.prepare.remove_unused import RemoveUnusedPass

KIND = LowRank.kind

_FEEDFORWARD: dict[Role, Callable[[LowRankSite, Reader, Factors, GraphBuilder], None]] = {
    Role.MATMUL: lower_matmul,
    Role.GEMM: lower_gemm,
    Role.CONV: lower_conv,
    Role.EMBEDDING: lower_embedding,
}
_TIED_LINEAR = frozenset({Role.MATMUL, Role.GEMM, Role.EMBEDDING})


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to low rank, naming the node; None if it can."""
    return _refuse_tie(site) or next(filter(None, (_refuse_reader(site, reader) for reader in site.readers)), None)


def lower(model: ir.Model, items: Sequence[Compressed], mode: Mode = "compute") -> None:
    """Replace the sites by their factors, in place; what only the old weights needed is gone afterwards.

    `compute` and `standard` differ in recurrent weights alone: an operator of domain `dtc`, or a Scan.

    Raises:
        ModelError: A site that `refuse` has a reason against; `storage` lowers any site.
    """
    lower_to_factors(model, [LowRankSite(item.site, low_rank_forms(item.site, item.forms)) for item in items], mode)


def lower_to_factors(model: ir.Model, items: Sequence[LowRankSite], mode: Mode) -> dict[ir.Value, Array]:
    """Lower, and return the initializers of factors that will be coded, or of rows of them, with their numbers.

    They are stored as their readers like best, one matrix after another, and maybe in another element type.
    """
    stored: dict[ir.Value, Array] = {}
    shared = Shared(model)
    factored: list[LowRankSite] = []
    for item in items:
        if mode != "storage" and not _needs_dense(item, mode):
            factored.append(item)
            continue
        new = lower_to_storage(item, shared)
        stored |= new if item.coded else {}
    return stored | _lower_to_factors(model, factored, mode)


def _needs_dense(item: LowRankSite, mode: Mode) -> bool:
    """True if a reader needs the product of the factors, which is computed when a session loads."""
    for reader in item.site.readers:
        if reader.role in RECURRENT_ROLES and not _takes_factors(item, reader.node, mode):
            return True
    return item.site.role is Role.OTHER


def _takes_factors(item: LowRankSite, node: ir.Node, mode: Mode) -> bool:
    """True if a node can become an operator on the factors of its recurrent weight, or a Scan."""
    if node.domain == DOMAIN:  # its W is in a form that no Scan takes
        return mode == "compute" and not item.coded
    given = [node.inputs[index] for index in (1, 3, 7) if index < len(node.inputs)]  # W, B, P: a Scan reads parts
    known = all(value is None or constant_array(value) is not None for value in given)
    return known and can_be_scan(node, _opset(item.site))


def _lower_to_factors(model: ir.Model, sites: Sequence[LowRankSite], mode: Mode) -> dict[ir.Value, Array]:
    for item in sites:
        reason = refuse(item.site)
        if reason is not None:
            raise ModelError(f"{reason}; leave the site out with --exclude {item.site.name!r}")
    names = Names(model)
    factors = Factors(model, sites, names)
    recurrent: dict[ir.Node, dict[bool, tuple[LowRankSite, Reader]]] = {}
    for item in sites:
        for reader in item.site.readers:
            if reader.role in _FEEDFORWARD:
                _FEEDFORWARD[reader.role](item, reader, factors, _builder(names, reader))
            else:
                recurrent.setdefault(reader.node, {})[reader.role in RECURRENT_ROLES] = (item, reader)
    shared = SharedProjections((weights[False][0], node) for node, weights in recurrent.items() if False in weights)
    for node in [node for node in all_nodes(model) if node in recurrent]:  # a layer before the one that it feeds
        weights = recurrent[node]
        builder = _builder(names, next(iter(weights.values()))[1])
        given = weights[False][0] if False in weights else None
        if True in weights and not (mode == "compute" and _is_operator(model, *weights[True])):
            lower_whole(weights[True][0], given, node, factors, shared, builder)
            continue
        if given is not None:
            lower_input(given, node, factors, shared, builder)
        if True in weights:
            again = _builder(names, weights[True][1])
            lower_to_operator(model, *weights[True], factors, again)
    RemoveUnusedPass()(model)
    factors.take_freed_names()
    return factors.stored


def _is_operator(model: ir.Model, item: LowRankSite, reader: Reader) -> bool:
    return not item.coded and can_be_operator(model, reader) and costs.choose(item.forms[0], item.site.rows).on_codes


def low_rank_forms(site: Site, given: Sequence[Form]) -> tuple[LowRank, ...]:
    """Return the forms of a site, if all are low rank, of one rank.

    Raises:
        ValueError: They are not.
    """
    forms = tuple(form for form in given if isinstance(form, LowRank))
    if len(forms) != len(given) or len({form.rank for form in forms}) != 1:
        raise ValueError(f"{site.name}: the matrices of one site are lowered together, in one rank")
    return forms


def _builder(names: Names, reader: Reader) -> GraphBuilder:
    return GraphBuilder(names, reader.node_name, dtype=_compute_type(reader))


def _compute_type(reader: Reader) -> ir.DataType:
    """The element type that reaches the node, which a Cast may have made."""
    value = reader.node.inputs[reader.index]
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Cast":
            return ir.DataType(node.attributes["to"].as_int())
        value = node.inputs[0]
    return (value.dtype if value is not None else None) or ir.DataType.FLOAT


def _refuse_tie(site: Site) -> str | None:
    readers = {(reader.node, reader.index) for reader in site.readers}
    other = _dense_reader(site.value, readers)
    if other is not None:
        return f"weight {site.name!r} is also read by {other}, which needs it whole"
    if len({_compute_type(reader) for reader in site.readers}) > 1:
        return f"weight {site.name!r} is read in two element types, by {site.readers[0].node_name!r} and others"
    for reader in site.readers[1:]:
        same = reader.view == site.view
        if site.role in _TIED_LINEAR and reader.role in _TIED_LINEAR and len(site.shape) == 2:
            same = True  # [out, in] or [in, out]: both are served
        if not same or (site.role not in _TIED_LINEAR and site.role != reader.role):
            first = site.readers[0].node_name
            return f"{reader.node_name!r} reads the weight {site.name!r} as another matrix than {first!r} does"
    return None


def _dense_reader(value: ir.Value, readers: set[tuple[ir.Node, int]]) -> str | None:
    """Return who reads `value`, behind transpositions, other than as the weight of one of `readers`."""
    if value.is_graph_output():
        return "the outputs of a graph"
    for node, index in value.uses():
        if (node, index) in readers:
            continue
        if node.domain == "" and index == 0 and (node.op_type in PASS_THROUGH or node.op_type in ("Transpose", "Cast")):
            found = _dense_reader(node.outputs[0], readers)
            if found is not None:
                return found
            continue
        return f"{node.op_type} {node.name!r}"
    return None


def _refuse_reader(site: Site, reader: Reader) -> str | None:
    node = reader.node
    if reader.role == Role.MATMUL:
        x = node.inputs[1 - reader.index]
        if constant_array(x) is not None:
            return f"MatMul {node.name!r} has two constant inputs; ONNX Runtime folds it"
        if len(site.shape) == 2:
            return None
        if x is None or x.shape is None or len(x.shape) < 2:
            return f"MatMul {node.name!r} has a stack of matrices, and an input that may be a vector"
    return None


def _opset(site: Site) -> int:
    imports = site.value.graph.opset_imports if site.value.graph is not None else {}
    return imports.get("", 9)  # a subgraph has none of its own
