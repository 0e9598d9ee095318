"""Lowering of the low-rank form: two small products in the place of a large one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN
from dtc.errors import ModelError
from dtc.forms import Form, LowRank
from dtc.graph import CONVOLUTIONS, DENSE_ROLES, RECURRENT_ROLES, Reader, Role, Site, all_nodes
from dtc.graph.builder import GraphBuilder
from dtc.graph.opset import opset_of
from dtc.graph.walk import PASS_THROUGH
from dtc.passes.lower.costs import choose
from dtc.passes.lower.low_rank.factors import FactorPart, Factors, LowRankSite
from dtc.passes.lower.low_rank.feedforward import (
    lower_conv,
    lower_einsum,
    lower_embedding,
    lower_gemm,
    lower_matmul,
)
from dtc.passes.lower.low_rank.recurrent import lower_input, lower_to_operator, lower_whole
from dtc.passes.lower.low_rank.shared_projection import SharedProjections
from dtc.passes.lower.low_rank.speed import speed_of_factors
from dtc.passes.lower.low_rank.storage import lower_to_storage
from dtc.passes.lower.lowered import Compressed, Lowered, ReadBy
from dtc.passes.lower.readers import Lookup, Unfit, compute_type, unfit_recurrence
from dtc.passes.lower.recurrent.scan import can_be_scan
from dtc.passes.lower.rewriting import Rewriting
from dtc.passes.lower.target import Target
from dtc.passes.prepare.constant_arrays import constant_array
from dtc.passes.prepare.remove_unused import RemoveUnusedPass

JOINED = "joined of its parts when a session loads: no node like its reader computes on them"

_FEEDFORWARD: dict[Role, Callable[[LowRankSite, Reader, Factors, GraphBuilder], None]] = {
    Role.MATMUL: lower_matmul,
    Role.GEMM: lower_gemm,
    Role.EINSUM: lower_einsum,
    **dict.fromkeys(CONVOLUTIONS, lower_conv),
    Role.EMBEDDING: lower_embedding,
}
_HANDING_ON = PASS_THROUGH | {"Transpose", "Cast"}
_TIED_LINEAR = frozenset({Role.MATMUL, Role.GEMM, Role.EMBEDDING})


def refuse(site: Site) -> str | None:
    """Return why `site` cannot be lowered to low rank, naming the node; None if it can."""
    # The product of the factors is the weight, and serves whoever reads it.
    if any(reader.role in DENSE_ROLES for reader in site.readers):
        return None
    return _refuse_tie(site) or next(filter(None, (_refuse_reader(site, reader) for reader in site.readers)), None)


def lower(rewriting: Rewriting, items: Sequence[Compressed]) -> list[Lowered]:
    """Replace the sites by their factors, in place, and remove what only the old weights needed.

    Targets with operators and without differ in recurrent weights alone: an operator of domain `dtc`, or a Scan.

    Raises:
        ModelError: A site that `refuse` has a reason against; where readers stay as they are, any site can be lowered.
    """
    sites = [LowRankSite(item.site, low_rank_forms(item.site, item.forms)) for item in items]
    return [factored.lowered for factored in lower_to_factors(rewriting, sites)]


@dataclass(frozen=True, eq=False)
class Factored:
    """A low-rank site in the graph.

    Attributes:
        lowered: How it stands there.
        parts: What each of its own initializers holds of its factors.
    """

    lowered: Lowered
    parts: Mapping[ir.Value, FactorPart]


def lower_to_factors(rewriting: Rewriting, items: Sequence[LowRankSite]) -> list[Factored]:
    """Lower, and return for each site how it stands in the graph and where its factors lie."""
    found: list[Factored] = []
    factored: list[LowRankSite] = []
    for given in items:
        item = replace(given, site=rewriting.current(given.site))
        reason = _why_dense(rewriting, item)
        if reason is None:
            factored.append(item)
        else:
            found.append(_multiplied_at_load(rewriting, item, reason))
    return found + (_FactoredSites(rewriting, factored).run() if factored else [])


def _multiplied_at_load(rewriting: Rewriting, item: LowRankSite, reason: str) -> Factored:
    parts = lower_to_storage(item, rewriting.front(item.site))
    readers = tuple(ReadBy.of(reader, "decoded", reason) for reader in item.site.readers)
    return Factored(Lowered(item.site, item.forms, readers), parts)


def _why_dense(rewriting: Rewriting, item: LowRankSite) -> str | None:
    """Return why the product of the factors is computed when a session loads; None if readers can do with factors."""
    target, opset = rewriting.target, opset_of(rewriting.model)
    if not target.replaces_readers:
        return "its factors are multiplied when a session loads"
    for reader in item.site.readers:
        if reader.role in RECURRENT_ROLES and not _takes_factors(item, reader.node, target, opset):
            return JOINED
    if any(reader.role in DENSE_ROLES for reader in item.site.readers):
        return JOINED
    return _why_slower(rewriting, item) if target.computes else None


def _why_slower(rewriting: Rewriting, item: LowRankSite) -> str | None:
    """Return why a reader would be slower with factors; None if all are faster, or share a basis with others."""
    if any(form.basis is not None for form in item.forms):
        return None
    costs = rewriting.target.costs
    for reader in item.site.readers:
        if reader.role is not Role.EMBEDDING:  # factors are what keeps a table small
            scanned = reader.role in RECURRENT_ROLES and _is_scanned(rewriting, item, reader)
            choice = choose(speed_of_factors(item, reader, costs, scanned=scanned), reader.rows, costs)
            if not choice.pays:
                return choice.reason
    return None


def _is_scanned(rewriting: Rewriting, item: LowRankSite, reader: Reader) -> bool:
    """True if a Scan stands for a recurrent node: no operator takes coded factors, or fits the node."""
    unfit = item.coded or not rewriting.target.computes
    return unfit or unfit_recurrence(rewriting.model, reader, item.site) is not None


def _takes_factors(item: LowRankSite, node: ir.Node, target: Target, opset: int) -> bool:
    """True if a node can become an operator on the factors of its recurrent weight, or a Scan on this target."""
    if node.domain == DOMAIN:  # its W is in a form that no Scan takes
        return target.computes and not item.coded
    given = [node.inputs[index] for index in (1, 3, 7) if index < len(node.inputs)]  # W, B, P: a Scan reads parts
    known = all(value is None or constant_array(value) is not None for value in given)
    return target.loops and known and can_be_scan(node, opset)


class _FactoredSites:
    """Sites whose readers compute with factors, on their way into the graph: together, as they may share factors."""

    def __init__(self, rewriting: Rewriting, items: Sequence[LowRankSite]) -> None:
        for item in items:
            reason = refuse(item.site)
            if reason is not None:
                raise ModelError(f"{reason}; leave the site out with --exclude {item.site.name!r}")
        self.rewriting, self.items, self.names = rewriting, items, rewriting.shared.names
        self.factors = Factors(rewriting.model, items, self.names, rewriting.shared.keep)
        self._readers: dict[str, list[ReadBy]] = {item.site.name: [] for item in items}

    def run(self) -> list[Factored]:
        """Replace all readers: products and look-ups one by one, recurrent nodes with both of their weights."""
        for item in self.items:
            for reader in item.site.readers:
                if reader.role in _FEEDFORWARD:
                    self._serve(item, reader, "two products with the factors")
                    _FEEDFORWARD[reader.role](item, reader, self.factors, self._builder(item, reader))
        self._recur()
        RemoveUnusedPass()(self.rewriting.model)
        self.factors.take_freed_names()
        for dense, value in self.factors.heirs.items():
            self.rewriting.replaced(dense, value)
        return [self._factored(item) for item in self.items]

    def _recur(self) -> None:
        """Replace recurrent nodes: a layer before the one that it feeds, whose projection it may compute."""
        weights: dict[ir.Node, dict[bool, tuple[LowRankSite, Reader]]] = {}
        for item in self.items:
            for reader in item.site.readers:
                if reader.role not in _FEEDFORWARD:
                    # By node, then by whether it is the recurrent weight: {node: {False: W, True: R}}.
                    weights.setdefault(reader.node, {})[reader.role in RECURRENT_ROLES] = (item, reader)
        shared = SharedProjections((both[False][0], node) for node, both in weights.items() if False in both)
        # Nodes stand in the order in which they run, so a layer comes before those that it feeds.
        for node in [node for node in all_nodes(self.rewriting.model) if node in weights]:
            both = weights[node]
            self._lower_node(node, both.get(False), both.get(True), shared)

    def _lower_node(
        self,
        node: ir.Node,
        given: tuple[LowRankSite, Reader] | None,
        recurrent: tuple[LowRankSite, Reader] | None,
        shared: SharedProjections,
    ) -> None:
        """Replace one LSTM or GRU of which the input weight, the recurrent one or both are in factors."""
        # What no operator takes becomes a Scan, which `_takes_factors` has found possible.
        scanned = recurrent is not None and _is_scanned(self.rewriting, *recurrent)
        if given is not None:
            self._serve(*given, "a product with one factor in front of the node, which reads the other")
        if recurrent is not None:
            how = "a Scan multiplies" if scanned else "an operator multiplies"
            self._serve(*recurrent, f"{how} with both factors at every step")
        # 1. A Scan in the place of the node, whether W is in factors or dense.
        if recurrent is not None and scanned:
            builder = self._builder(*recurrent)
            lower_whole(recurrent[0], given[0] if given else None, node, self.factors, shared, builder)
            return
        if given is not None:
            # 2. W in factors: a product in front of the node, which stays.
            lower_input(given[0], node, self.factors, shared, self._builder(*given))
        if recurrent is not None:
            # 3. R in factors: an operator in the place of the node, behind 2 where both are.
            lower_to_operator(self.rewriting, *recurrent, self.factors, self._builder(*recurrent))

    def _serve(self, item: LowRankSite, reader: Reader, reason: str) -> None:
        form = item.forms[0]
        (rows, cols), rank = form.shape, form.rank
        # A product with a matrix [rows, cols] against two with [rows, rank] and [rank, cols].
        speed = rows * cols / (rank * (rows + cols))
        told = ReadBy.of(reader, "factors", f"{reason}: {speed:.1f}x fewer multiplications", speed)
        self._readers[item.site.name].append(told)

    def _builder(self, item: LowRankSite, reader: Reader) -> GraphBuilder:
        """Return a builder for what stands for a reader; values have the type in which the weight reaches it."""
        builder = GraphBuilder(self.names, reader.node_name, dtype=compute_type(reader))
        return self.rewriting.ledger.watch(item.site, builder)

    def _factored(self, item: LowRankSite) -> Factored:
        parts = self.factors.parts.get(item.site.name, {})
        self.rewriting.ledger.made(item.site, *parts, *self.factors.derived.get(item.site.name, ()))
        readers = tuple(self._readers[item.site.name])
        return Factored(Lowered(item.site, item.forms, readers), parts)


def low_rank_forms(site: Site, given: Sequence[Form]) -> tuple[LowRank, ...]:
    """Return the forms of a site, if all are low rank, of one rank.

    Raises:
        ValueError: They are not.
    """
    forms = tuple(form for form in given if isinstance(form, LowRank))
    if len(forms) != len(given) or len({form.rank for form in forms}) != 1:
        raise ValueError(f"{site.name}: the matrices of one site are lowered together, in one rank")
    return forms


def _refuse_tie(site: Site) -> str | None:
    """Return why the readers of a tied weight cannot share its factors; None if they can."""
    readers = {(reader.node, reader.index) for reader in site.readers}
    # 1. A reader that knows no factors would keep the dense weight in the file.
    other = _dense_reader(site.value, readers)
    if other is not None:
        return f"weight {site.name!r} is also read by {other}, which needs it whole"
    # 2. Factors are stored once, in one element type.
    if len({compute_type(reader) for reader in site.readers}) > 1:
        return f"weight {site.name!r} is read in two element types, by {site.readers[0].node_name!r} and others"
    for reader in site.readers[1:]:
        # 3. All read the same matrix; MatMul, Gemm and Gather may read its transpose, as factors can be turned.
        same = reader.view == site.view
        if site.role in _TIED_LINEAR and reader.role in _TIED_LINEAR and len(site.shape) == 2:
            same = True  # [out, in] or [in, out]: both are served
        if not same or (site.role not in _TIED_LINEAR and site.role != reader.role):
            first = site.readers[0].node_name
            return f"{reader.node_name!r} reads the weight {site.name!r} as another matrix than {first!r} does"
    return None


def _dense_reader(value: ir.Value, readers: set[tuple[ir.Node, int]]) -> str | None:
    """Return who reads `value`, behind transpositions, other than as the weight of one of `readers`."""
    waiting = [value]
    while waiting:
        handed = waiting.pop()
        if handed.is_graph_output():
            return "the outputs of a graph"
        for node, index in handed.uses():
            if (node, index) in readers:
                continue
            if not (node.domain == "" and index == 0 and node.op_type in _HANDING_ON):
                return f"{node.op_type} {node.name!r}"
            # What hands the weight on is followed to its own readers.
            waiting.append(node.outputs[0])
    return None


def _refuse_reader(site: Site, reader: Reader) -> str | None:
    node = reader.node
    if reader.role in (Role.MATMUL, Role.GEMM, Role.EINSUM):
        others = [value for index, value in enumerate(node.inputs[:2]) if index != reader.index]
        if all(constant_array(value) is not None for value in others):
            return f"{node.op_type} {node.name!r} has two constant inputs; ONNX Runtime folds it"
    if reader.role is Role.MATMUL and len(site.shape) > 2:
        x = node.inputs[1 - reader.index]
        if x is None or x.shape is None or len(x.shape) < 2:
            return f"MatMul {node.name!r} has a stack of matrices, and an input that may be a vector"
    if reader.role is Role.EMBEDDING:
        lookup = Lookup.of(reader)
        return f"Gather {node.name!r}: {lookup.reason}" if isinstance(lookup, Unfit) else None
    return None
