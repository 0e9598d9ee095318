"""The branches that samples take come to stand in the place of their `If`: inside of a branch no value can be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from dtc.forms import AnyArray
from dtc.graph.builder import Names, add_initializer
from dtc.passes.prepare.take_branch import take_branch

Run: TypeAlias = Callable[[ir.Model], Iterable[Mapping[str, AnyArray]]]
"""Yields the outputs of a model on batches of samples, and what it was fed with."""

_BATCHES = 4


def open_branches(model: ir.Model, run: Run) -> None:
    """Put the nodes of each branch that all of the first batches take in the place of its `If`, in place.

    The model is then the same for samples like these alone: conditions are mostly about the sizes of inputs.
    """
    names, seen = Names(model), set[ir.Node]()
    # Branches within branches come to the main graph with them.
    while nodes := [node for node in model.graph if node.op_type == "If" and node.domain == "" and node not in seen]:
        seen.update(nodes)
        for node, condition in _always(model, nodes, run):
            node.replace_input_with(0, add_initializer(model.graph, names.unique("taken"), np.array(condition)))
            take_branch(node)
    NameFixPass()(model)


def _always(model: ir.Model, nodes: list[ir.Node], run: Run) -> Iterator[tuple[ir.Node, bool]]:
    """Yield the nodes whose condition is the same on all batches, with it."""
    watched = model.clone()
    conditions = [str(node.inputs[0].name) for node in nodes if node.inputs[0] is not None]
    given = {value.name for value in (*watched.graph.inputs, *watched.graph.outputs)}
    made = {value.name: value for node in watched.graph for value in node.outputs}
    for name in dict.fromkeys(conditions):
        if name in made and name not in given:
            made[name].type = ir.TensorType(ir.DataType.BOOL)
            watched.graph.outputs.append(made[name])
    found: dict[str, set[bool]] = {name: set() for name in conditions}
    for values in islice(run(watched), _BATCHES):
        for name in conditions:
            if name in values:
                found[name].add(bool(np.all(values[name])))
    for node, name in zip(nodes, conditions, strict=True):
        if len(found[name]) == 1:
            yield node, next(iter(found[name]))
