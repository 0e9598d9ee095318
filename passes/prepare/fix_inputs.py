"""Fixing inputs of a model: what only they decide is computed once, and branches that are never taken go away.

A voice detector that takes `sr` keeps a whole network for 8000 Hz beside that for 16000; a device has one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, RemoveUnusedFunctionsPass, RemoveUnusedOpsetsPass

from dtc.formatting import size
from dtc.graph import all_graphs, all_nodes
from dtc.graph.builder import Names, add_initializer
from dtc.graph.inference import infer_shapes
from dtc.graph.walk import all_tensors
from dtc.passes.prepare.evaluation import can_evaluate, evaluate
from dtc.passes.prepare.known_sizes import known_sizes
from dtc.passes.prepare.remove_identities import RemoveIdentitiesPass
from dtc.passes.prepare.remove_unused import RemoveUnusedPass
from dtc.passes.prepare.take_branch import take_branch

LARGEST = 2**20
"""Bytes of an array that is stored instead of what computes it: beyond, a file would grow by being folded."""

LARGEST_OF_SIZES = 2**12
"""The same of what known sizes decide, which is small: what integers decode, as a compressed weight, is not."""


SHOWN = 4
"""Numbers of a fixed input that a sentence tells; of more its name has to do."""


class FixInputsPass(ir.passes.InPlacePass):
    """Make constants of inputs, compute what only they and other constants decide, and take the branches that follow.

    The fixed inputs are inputs no more. What an output of the model itself is stays computed by a node.

    Args:
        values: Arrays by the names of inputs, of their types and shapes.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self._values = values

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fix the inputs, and fold until no branch is decided any more."""
        names = Names(model)
        decided = {_fix(model, value, self._values) for value in list(model.graph.inputs) if value.name in self._values}
        if not decided:
            return ir.passes.PassResult(model, modified=False)
        while _settle(model, decided, names, LARGEST):
            pass
        _clean(model)
        return ir.passes.PassResult(model, modified=True)


class FoldSizesPass(ir.passes.InPlacePass):
    """Make constants of sizes that are known before a run, fold what they decide, and take the branches that follow.

    For models whose inputs have one size: where sizes are free, they decide nothing.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold until nothing is new, and no branch is decided."""
        names, decided = Names(model), set[ir.Value]()
        while True:
            infer_shapes(model)
            decided |= _integers(model)
            known = len(decided)
            decided |= _store_sizes(model, names)
            if not _settle(model, decided, names, LARGEST_OF_SIZES) and len(decided) == known:
                break
        _clean(model)
        return ir.passes.PassResult(model, modified=True)


def _settle(model: ir.Model, decided: set[ir.Value], names: Names, largest: int) -> bool:
    """Fold what decided values decide, and take the branches that follow; return whether there were any."""
    _fold(model, decided, names, largest)
    taken = [node for node in list(all_nodes(model)) if take_branch(node)]
    # What a branch hands on by name alone is its source from here on, so that the next round sees through.
    RemoveIdentitiesPass()(model)
    return bool(taken)


def _clean(model: ir.Model) -> None:
    """Remove what only the other branches needed; bodies of branches had names of their own."""
    RemoveUnusedPass()(model)
    RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    RemoveUnusedOpsetsPass()(model)
    NameFixPass()(model)


def _integers(model: ir.Model) -> set[ir.Value]:
    """Return the constants that are integers, as sizes and axes are: what they decide alone is folded too."""
    kinds = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)
    given = [value for graph in all_graphs(model) for value in graph.initializers.values()]
    given += [node.outputs[0] for node in all_nodes(model) if node.op_type == "Constant"]
    return {value for value in given if value.dtype in kinds and not value.is_graph_input()}


def _store_sizes(model: ir.Model, names: Names) -> set[ir.Value]:
    """Have what reads sizes that are known read constants; return these."""
    stored = set()
    for node in list(all_nodes(model)):
        sizes, value = known_sizes(node), node.outputs[0]
        if sizes is None or not value.uses():
            continue
        constant = add_initializer(model.graph, names.unique(f"{value.name}.fixed"), sizes)
        stored.add(constant)
        # One by one: an output of the graph stays what the node computes.
        for use in list(value.uses()):
            use.node.replace_input_with(use.idx, constant)
    return stored


def fix_inputs(model: ir.Model, values: Mapping[str, Any]) -> list[str]:
    """Fix inputs of a model, in place; return what it saved, in sentences. Nothing is done where none are named."""
    if not values:
        return []
    told = ", ".join(name if value.size > SHOWN else f"{name}={value.tolist()}" for name, value in values.items())
    return _saved(model, FixInputsPass(values), told)


def fold_sizes(model: ir.Model) -> list[str]:
    """Fold what known sizes decide, in place; return what it saved, in sentences."""
    return _saved(model, FoldSizesPass(), "inputs of one size")


def _saved(model: ir.Model, change: ir.passes.InPlacePass, told: str) -> list[str]:
    before = _contents(model)
    change(model)
    after = _contents(model)
    (nodes, branches, weights), (nodes_left, branches_left, weights_left) = before, after
    fewer = f"{nodes} nodes became {nodes_left}, {branches} branchings {branches_left}"
    return [f"With {told} fixed {fewer}, and {size(weights)} of weights {size(weights_left)}."]


def _contents(model: ir.Model) -> tuple[int, int, int]:
    nodes = list(all_nodes(model))
    branchings = sum(node.op_type == "If" for node in nodes)
    return len(nodes), branchings, sum(tensor.nbytes for tensor in all_tensors(model))


def _fix(model: ir.Model, value: ir.Value, values: Mapping[str, Any]) -> ir.Value:
    """Make a constant of an input; a default that it had goes."""
    array = np.asarray(values[str(value.name)])
    model.graph.inputs.remove(value)
    value.const_value = ir.tensor(array, name=value.name)
    value.shape = ir.Shape(array.shape)
    if value.name not in model.graph.initializers:
        model.graph.register_initializer(value)
    return value


def _fold(model: ir.Model, decided: set[ir.Value], names: Names, largest: int) -> None:
    """Store what nodes compute of decided values, in place of the nodes; `decided` grows by what is stored."""
    known: dict[ir.Value, Any] = {}
    for graph in all_graphs(model):
        for node in list(graph):
            if not any(value in decided for value in node.inputs) or not can_evaluate(node):
                continue
            for value, array in _results(node, known, model):
                # An output of a graph is written by a node.
                if array.nbytes <= largest and not value.is_graph_output():
                    stored = add_initializer(model.graph, names.unique(f"{value.name}.fixed"), array)
                    value.replace_all_uses_with(stored)
                    decided.add(stored)
    RemoveUnusedPass()(model)


def _results(node: ir.Node, known: dict[ir.Value, Any], model: ir.Model) -> Iterator[tuple[ir.Value, Any]]:
    """Yield the outputs of a node that something reads, with their arrays; nothing where an input is not constant."""
    arrays = [None if value is None else _constant(value, known, model) for value in node.inputs]
    if any(array is None and value is not None for array, value in zip(arrays, node.inputs, strict=True)):
        return
    found = evaluate(node, arrays, model.opset_imports)
    for value, array in zip(node.outputs, found or (), strict=bool(found)):
        if isinstance(array, np.ndarray) and value.uses():
            yield value, array


def _constant(value: ir.Value, known: dict[ir.Value, Any], model: ir.Model) -> Any:
    """Return the array that a value always has; None where it depends on an input, or is large."""
    if value not in known:
        known[value] = _computed(value, known, model)
    return known[value]


def _computed(value: ir.Value, known: dict[ir.Value, Any], model: ir.Model) -> Any:
    node = value.producer()
    if node is None:
        fixed = value.const_value is not None and value.is_initializer() and not value.is_graph_input()
        small = fixed and value.const_value is not None and value.const_value.nbytes <= LARGEST
        return value.const_value.numpy() if small and value.const_value is not None else None
    if not can_evaluate(node):
        return None
    arrays = [None if each is None else _constant(each, known, model) for each in node.inputs]
    if any(array is None and each is not None for array, each in zip(arrays, node.inputs, strict=True)):
        return None
    found = evaluate(node, arrays, model.opset_imports)
    return None if found is None else found[node.outputs.index(value)]
