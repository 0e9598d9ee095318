"""Inlining model-local functions that hold weights, or are given some: a site is a weight of a graph."""

from __future__ import annotations

import graphlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from dtc.deploy.ops import DOMAIN, operators
from dtc.formatting import size
from dtc.graph import Site, all_graphs, all_nodes, find_sites
from dtc.graph.builder import Names, add_initializer
from dtc.graph.scopes import separate_names

MOST_NODES = 100_000
"""Nodes that inlining may make: thirty functions of which each calls the one before twice would make a billion."""

_WITHIN = "dtc.within."
"""Key of a node's metadata in a trial: the node came out of the function of that number."""

_CONSTANT_BYTES = 64
"""Of a Constant node without its numbers, which stand in a file once however often they are read."""


@dataclass(frozen=True)
class Inlining:
    """Which functions of a model are inlined.

    Attributes:
        wanted: Those that sites come out of, by domain, name and overload.
        left: Why others stay although they hold weights or are given some.
    """

    wanted: frozenset[ir.OperatorIdentifier] = frozenset()
    left: Mapping[ir.OperatorIdentifier, str] = field(default_factory=dict)


class InlineWeightFunctionsPass(ir.passes.InPlacePass):
    """Inline the functions that weights are in or go into; all others stay as they are.

    A constant of a function that is called several times becomes one initializer.

    Args:
        regularise: What else makes weights lie in initializers, in place.
    """

    def __init__(self, regularise: Callable[[ir.Model], None]) -> None:
        super().__init__()
        self._regularise = regularise

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Inline what `plan_inlining` wants."""
        wanted = plan_inlining(model, self._regularise).wanted
        if wanted:
            _inline(model, wanted)
            _share_constants(model)
            separate_names(model)
        return ir.passes.PassResult(model, modified=bool(wanted))


def plan_inlining(model: ir.Model, regularise: Callable[[ir.Model], None]) -> Inlining:
    """Return which functions have to be inlined for sites to be found; `regularise` as for the pass."""
    found = _Functions(model)
    if not found.foreign:
        return Inlining()
    unfit = found.unfit()
    # 1. On a copy, everything that can be is inlined, and each node says which functions it came through.
    trial = model.clone()
    numbers = {function: f"{_WITHIN}{number}" for number, function in enumerate(found.foreign)}
    for function, number in numbers.items():
        for node in trial.functions[function].all_nodes():
            node.metadata_props[number] = ""
    _inline(trial, frozenset(found.foreign - unfit.keys()))
    _share_constants(trial)
    ways = _constant_ways(trial)
    regularise(trial)
    # 2. What a site is read by, and what it was handed on by, has to be inlined; what costs more than it brings is not.
    through = {site: _ways_to(site, ways) for site in find_sites(trial)}
    rejected: dict[ir.OperatorIdentifier, str] = {}
    for function, number in numbers.items():
        held = sum(site.nbytes for site, passed in through.items() if number in passed)
        added = found.added_by(function)
        if held and 2 * added > held:
            calls = found.copies[function]
            rejected[function] = (
                f"called {calls} times, it would add {size(added)} inlined, for weights of {size(held)}"
            )
    closed = {numbers[function] for function in rejected}
    passed = {number for each in through.values() if not each & closed for number in each}
    wanted = frozenset(function for function, number in numbers.items() if number in passed)
    return Inlining(wanted, {**unfit, **rejected})


class _Functions:
    """The functions of a model that are no operators of dtc, and how they call each other."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self.foreign = frozenset(
            key for key in model.functions if not (key[0] == DOMAIN and key[1] in operators() and not key[2])
        )
        self._callees = {key: self._calls(model.functions[key].all_nodes()) for key in self.foreign}
        try:
            order = tuple(graphlib.TopologicalSorter(self._callees).static_order())
        except graphlib.CycleError:
            order = ()
        self.recursive = bool(self._callees) and not order
        self.copies = self._count(order)

    def unfit(self) -> dict[ir.OperatorIdentifier, str]:
        """Return the functions that cannot be inlined, each with the reason."""
        functions = self._model.functions
        if self.recursive:
            return dict.fromkeys(self.foreign, "functions of the model call themselves")
        if sum(self.copies[key] * len(functions[key]) for key in self.foreign) > MOST_NODES:
            return dict.fromkeys(self.foreign, f"all functions together would be more than {MOST_NODES} nodes")
        reasons = {key: self._reason(functions[key]) for key in self.foreign}
        return {key: reason for key, reason in reasons.items() if reason is not None}

    def added_by(self, function: ir.OperatorIdentifier) -> int:
        """Return the bytes that inlining a function adds: those of its nodes, once for each call but the first."""
        nodes = sum(map(_node_bytes, self._model.functions[function]))
        return max(self.copies[function] - 1, 0) * nodes

    def _calls(self, nodes: Iterable[ir.Node]) -> Counter[ir.OperatorIdentifier]:
        return Counter(key for node in nodes if (key := node.op_identifier()) in self.foreign)

    def _count(self, order: tuple[ir.OperatorIdentifier, ...]) -> Mapping[ir.OperatorIdentifier, int]:
        """Return how often each function would stand in the graph; `order` has those that are called first."""
        copies = self._calls(all_nodes(self._model))
        for caller in reversed(order):
            for callee, times in self._callees[caller].items():
                copies[callee] += times * copies[caller]
        return copies

    def _reason(self, function: ir.Function) -> str | None:
        """Return why a function cannot be inlined; None if it can."""
        if any(attribute.type in _GRAPHS for attribute in function.attributes.values()):
            return "it takes a graph as attribute"
        key = function.identifier()
        callers = [self._model.functions[each] for each in self.foreign if key in self._callees[each]]
        for imports in (self._model.opset_imports, *(caller.opset_imports for caller in callers)):
            for node in function.all_nodes():
                if node.op_identifier() not in self.foreign and not _means_the_same(node, function, imports):
                    theirs, ours = function.opset_imports.get(node.domain), imports.get(node.domain)
                    domain = node.domain or "ai.onnx"
                    return f"its {node.op_type} is that of {domain} {theirs}, which is another one in {domain} {ours}"
        return None


_WORDED_ANEW = frozenset({"Add", "Concat", "Div", "Gather", "Gemm", "Mul", "Slice", "Sub"})
"""Operators whose text changed between versions of one signature, and their meaning did not."""

_GRAPHS = frozenset({ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS})


def _means_the_same(node: ir.Node, function: ir.Function, imports: Mapping[str, int]) -> bool:
    """True if a node of a function computes the same under the operator sets of its caller."""
    theirs, ours = function.opset_imports.get(node.domain), imports.get(node.domain)
    if theirs is None or ours is None or theirs == ours:
        return True
    try:
        schemas = [onnx.defs.get_schema(node.op_type, version, node.domain) for version in (theirs, ours)]
    except onnx.defs.SchemaError:
        return False
    first, second = (_signature(schema) for schema in schemas)
    return first == second and (node.op_type in _WORDED_ANEW or _words(schemas[0]) == _words(schemas[1]))


def _words(schema: onnx.defs.OpSchema) -> list[str]:
    return (schema.doc or "").split()


def _signature(schema: onnx.defs.OpSchema) -> tuple[object, ...]:
    """Return what a schema says of inputs, outputs and attributes, but for the types: versions mostly add some."""
    attributes = {
        name: (each.type, each.required, each.default_value.SerializeToString())
        for name, each in schema.attributes.items()
    }
    return [(each.name, each.option) for each in schema.inputs], [each.name for each in schema.outputs], attributes


def _node_bytes(node: ir.Node) -> int:
    if node.op_type == "Constant" and node.domain == "":
        return _CONSTANT_BYTES
    return int(ir.serde.serialize_node(node).ByteSize()) + 4


def _inline(model: ir.Model, wanted: frozenset[ir.OperatorIdentifier]) -> None:
    """Put the nodes of functions in the place of their calls, in place; the functions go."""
    for key in wanted:
        function = model.functions[key]
        _own_outputs(function)
        # What differs in version only, and means the same, is the model's own from now on.
        for domain in function.opset_imports:
            function.opset_imports[domain] = model.opset_imports.setdefault(domain, function.opset_imports[domain])
    for function in model.functions.values():
        for key in {node.op_identifier() for node in function.all_nodes()} & wanted:
            for domain, version in model.functions[key].opset_imports.items():
                function.opset_imports.setdefault(domain, version)
    InlinePass(criteria=lambda function: function.identifier() in wanted)(model)


def _own_outputs(function: ir.Function) -> None:
    """Let a function write each of its outputs by a node: one that is an input, or stands twice, is copied."""
    seen: set[ir.Value] = set(function.inputs)
    for index, output in enumerate(function.outputs):
        if output in seen:
            copy = ir.node("Identity", [output])
            copy.outputs[0].name = f"{output.name}_{index}"
            function.append(copy)
            function.outputs[index] = copy.outputs[0]
        seen.add(output)


def _share_constants(model: ir.Model) -> None:
    """Make one initializer of the constants that came from one node of a function which was called several times."""
    groups: dict[int, list[ir.Node]] = {}
    for node in all_nodes(model):
        attribute = node.attributes.get("value")
        if node.op_type == "Constant" and node.domain == "" and attribute is not None and not attribute.is_ref():
            groups.setdefault(id(attribute.value), []).append(node)
    names = Names(model)
    for nodes in (nodes for nodes in groups.values() if len(nodes) > 1):
        if any(node.outputs[0].is_graph_output() for node in nodes):
            continue
        shared = add_initializer(model.graph, names.unique(f"{nodes[0].outputs[0].name}.shared"), _tensor_of(nodes[0]))
        shared.metadata_props.update(nodes[0].metadata_props)
        for node in nodes:
            node.outputs[0].replace_all_uses_with(shared)
            assert node.graph is not None
            node.graph.remove(node, safe=True)


def _tensor_of(node: ir.Node) -> ir.TensorProtocol:
    return node.attributes["value"].as_tensor()


Way = frozenset[str]
"""The functions that something came through, by the keys of their numbers."""


def _constant_ways(model: ir.Model) -> dict[tuple[ir.Node, int], Way]:
    """Return the inputs of nodes that are made of constants alone, each with the functions that it came through."""
    ways: dict[ir.Value, Way] = {
        value: _within(value) for graph in all_graphs(model) for value in graph.initializers.values()
    }
    for node in all_nodes(model):
        given = [value for value in node.inputs if value is not None]
        if all(value in ways for value in given):
            ways |= dict.fromkeys(node.outputs, _within(node).union(*(ways[value] for value in given)))
    return {
        (node, index): ways[value]
        for node in all_nodes(model)
        for index, value in enumerate(node.inputs)
        if value is not None and value in ways
    }


def _ways_to(site: Site, ways: Mapping[tuple[ir.Node, int], Way]) -> Way:
    """Return the functions that a site's readers and their weights came through."""
    nothing: Way = frozenset()
    inputs = (ways.get((reader.node, reader.index), nothing) for reader in site.readers)
    return nothing.union(*inputs, *(_within(reader.node) for reader in site.readers))


def _within(item: ir.Node | ir.Value) -> Way:
    return frozenset(key for key in item.metadata_props if key.startswith(_WITHIN))
