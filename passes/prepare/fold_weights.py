"""Folding weights that the graph computes from constants into initializers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from dtc.graph import all_nodes, nesting, weight_inputs
from dtc.passes.prepare.constant_arrays import AnyArray, constant_array, data_of, is_constant

_BIASES: dict[str, tuple[int, ...]] = {
    "Gemm": (2,),
    "Conv": (2,),
    "ConvTranspose": (2,),
    "DeformConv": (3,),
    "LSTM": (3, 7),
    "GRU": (3,),
    "RNN": (3,),
}
"""The inputs of a node that hold no weights, but are added or multiplied with what they make."""
# A chain of these alone is no computation to `find_sites`: it sees the initializer behind.
_SEEN_THROUGH = frozenset({"Identity", "Transpose", "Cast", "Dropout"})
SPLIT_BYTES = 1 << 18
"""Bytes of a part of a Split from which it is a weight of its own; less stays one site, decoded once for all parts.

Each site takes half a kilobyte of nodes and names, which is a sixtieth of 4-bit codes of that many floats; at that size
operators on codes begin to pay.
"""
SMALL = 2**20
"""Bytes that may be made in any case, as of the bounds of a Slice."""

_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})


@dataclass(eq=False)
class _Computed:
    """A parameter that a chain of nodes computes: the values it is known by (one a branch), and its sources."""

    array: AnyArray
    dtype: ir.DataType
    sources: list[ir.Value]
    values: list[ir.Value] = field(default_factory=list)
    chain: set[ir.Node] = field(default_factory=set)

    @property
    def wholes(self) -> list[ir.Value]:
        """The sources that hold a part of the elements; a scalar or a vector that scales them holds none."""
        largest = max(map(_size, self.sources))
        return [source for source in self.sources if 16 * _size(source) >= min(largest, self.array.size)]


class FoldComputedWeightsPass(ir.passes.InPlacePass):
    """Make one initializer of each weight or bias that is computed from initializers, by `constant_array`.

    Equal results of equal sources, as in the two branches of an `If`, become one initializer. It takes the name of
    its source where it has one alone, else of the value it replaces. A weight is left as it is where its
    source would have to stay for another reader: folding must not double a tied weight.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold all computed weights that free their sources."""
        found = _computed_parameters(model)
        paths = nesting(model)
        modified = False
        for group in _connected(found):
            if _frees_its_sources(group):
                for item in group:
                    _fold(item, paths)
                _name_after_sources(group)
                modified = True
        return ir.passes.PassResult(model, modified=modified)


def _computed_parameters(model: ir.Model) -> list[_Computed]:
    """Return the parameters that are computed of float initializers, equal ones as one."""
    found: dict[tuple[object, ...], _Computed] = {}
    for node in all_nodes(model):
        for index in _parameters(node):
            value = node.inputs[index] if index < len(node.inputs) else None
            # Most are activations, and all of the model may lie behind one.
            if value is None or value.producer() is None or not is_constant(value):
                continue
            chain, sources = _chain(value)
            # 1. A chain that `find_sites` sees through is no computation: the initializer behind is the site.
            if not sources or all(step.op_type in _SEEN_THROUGH for step in chain):
                continue
            moved = all(step.op_type in _SEEN_THROUGH or step.op_type == "Split" for step in chain)
            held = sum(source.const_value.nbytes for source in sources if source.const_value is not None)
            # 2. A chain may read more than its sources hold, such as a Concat of a source with itself, time and again:
            # the limit ends that.
            array = constant_array(value, limit=max(held, SMALL))
            if array is None:
                continue
            dtype = ir.tensor(array).dtype
            # 3. Integers, such as the indices of a Gather, are no weights.
            if dtype not in _FLOATS or (moved and array.nbytes < SPLIT_BYTES):
                continue
            # Equal sources and equal elements, as in the two branches of an If: one parameter with several values.
            key = (frozenset(map(id, sources)), array.shape, dtype, _digest(array))
            item = found.setdefault(key, _Computed(array, dtype, sources))
            if value not in item.values:
                item.values.append(value)
            item.chain |= chain
    return list(found.values())


def _parameters(node: ir.Node) -> list[int]:
    """Return the inputs of a node that hold weights and biases."""
    biases = _BIASES.get(node.op_type, ()) if node.domain == "" else ()
    return [*(index for index, _ in weight_inputs(node)), *biases]


def _chain(value: ir.Value) -> tuple[set[ir.Node], list[ir.Value]]:
    """Return the nodes upstream of `value`, and the float initializers that they start from."""
    nodes: set[ir.Node] = set()
    sources: list[ir.Value] = []
    waiting: list[ir.Value | None] = [value]
    while waiting:
        read = waiting.pop()
        if read is None:
            continue
        node = read.producer()
        if node is None:
            if read.dtype in _FLOATS and read not in sources:
                sources.append(read)
        elif node not in nodes:
            nodes.add(node)
            waiting.extend(reversed(data_of(node)))
    return nodes, sources


def _digest(array: AnyArray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).tobytes()).digest()


def _connected(found: list[_Computed]) -> list[list[_Computed]]:
    """Group parameters that share sources: a group is folded together or not at all."""
    group_of: dict[ir.Value, list[_Computed]] = {}
    for item in found:
        # Items 1 of {a}, 2 of {b}, 3 of {a, b}: the third joins the groups of the first two to one.
        touching = {id(group_of[source]): group_of[source] for source in item.wholes if source in group_of}
        group = [item, *(other for known in touching.values() for other in known)]
        group_of |= {source: group for member in group for source in member.wholes}
    return list({id(group): group for group in group_of.values()}.values())


def _frees_its_sources(group: list[_Computed]) -> bool:
    """True if the sources that nothing needs any more then hold as many bytes as the results."""
    results = {value for item in group for value in item.values if not value.is_graph_output()}
    staying = _staying({node for item in group for node in item.chain}, results)
    sources = {source for item in group for source in item.sources}
    freed = [source for source in sources if not _is_needed(source, staying)]
    # A vector that scales many weights may stay; a weight that something else reads would be doubled, and slices that
    # overlap could make more bytes than there were.
    held = sum(source.const_value.nbytes for source in freed if source.const_value is not None)
    return sum(item.array.nbytes for item in group) <= held


def _staying(chain: set[ir.Node], results: set[ir.Value]) -> Callable[[ir.Node], bool]:
    """Return which nodes are still there when all readers of `results` read initializers instead."""
    known: dict[ir.Node, bool] = {}

    def stays(node: ir.Node) -> bool:
        if node not in chain:
            return True
        if node not in known:
            known[node] = any(value not in results and _is_needed(value, stays) for value in node.outputs)
        return known[node]

    return stays


def _is_needed(value: ir.Value, stays: Callable[[ir.Node], bool]) -> bool:
    return value.is_graph_output() or value.is_graph_input() or any(stays(node) for node, _ in value.uses())


def _fold(item: _Computed, paths: dict[ir.Graph, tuple[ir.Graph, ...]]) -> None:
    # The sources lie on one path of nested graphs; what the deepest holds may be read wherever they were.
    graph = max((source.graph for source in item.sources if source.graph in paths), key=lambda g: len(paths[g]))
    name = item.values[0].name or "weight"
    for value in item.values:
        node = value.producer()
        if node is not None and not value.is_graph_output():
            value.name = None  # its node is about to go; the initializer has the name
    tensor = ir.tensor(np.ascontiguousarray(item.array), dtype=item.dtype, name=name)
    folded = ir.Value(name=name, shape=ir.Shape(item.array.shape), type=ir.TensorType(item.dtype), const_value=tensor)
    graph.register_initializer(folded)
    for value in item.values:
        for node, index in list(value.uses()):
            node.replace_input_with(index, folded)
    item.values = [folded]


def _name_after_sources(group: list[_Computed]) -> None:
    """Hand the name of a source on, where exactly one result was made of it: of it alone, or of it and smaller ones."""
    for item in group:
        (folded,) = item.values
        whole = [source for source in item.sources if _size(source) == item.array.size]
        named = item.sources if len(item.sources) == 1 else whole
        if len(named) != 1 or not isinstance(named[0].graph, ir.Graph):
            continue
        source = named[0]
        # A split bias stays two: neither part may take the whole one's name.
        if any(source in other.sources for other in group if other is not item):
            continue
        name = source.name
        source.name = f"{name}.before_folding"  # unused from now on
        folded.name = name


def _size(value: ir.Value) -> int:
    return value.const_value.size if value.const_value is not None else 0
