"""Which branches of a model's `If`s its inputs take: what no input takes, no comparison of outputs has seen."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from dtc.checking.session_memory import session_memory
from dtc.errors import ModelError
from dtc.graph import all_nodes, load_model, save_model
from dtc.passes.prepare.remove_unused import RemoveUnusedPass
from dtc.session import runner, session

WATCHED = 100_000_000
"""Bytes that a watch may take beside a large model."""

_BRANCHES = ("then", "else")
_SCAN_LAYOUT = frozenset({"scan_output_axes", "scan_output_directions"})


@dataclass(frozen=True, order=True)
class Branch:
    """One branch of an `If`, which goes by its name, or by what it writes."""

    node: str
    branch: str
    by_size: bool = False
    """Whether sizes alone decide on it, and no number of an input does."""

    def __str__(self) -> str:
        return f"the {self.branch} branch of If {self.node!r}"


Counted: TypeAlias = tuple[tuple[Branch, Branch], ir.Value]
"""Both branches of an `If`, and how often each was taken, int64 `[..., 2]`, one row a step of a loop."""


class BranchWatch:
    """A copy of a model that tells which branches an input takes.

    Attributes:
        branches: All branches whose condition no constant decides.
    """

    def __init__(self, path: Path, *, most: int | None = None, **settings: Any) -> None:
        """Load the copy, in which only what conditions need is left; where it cannot be made, `taken` finds nothing.

        Raises:
            ModelError: The model at `path` cannot be loaded, or the copy takes more than `most` bytes of memory.
        """
        self.branches: frozenset[Branch] = frozenset()
        self._pairs: dict[str, tuple[Branch, Branch]] = {}
        model = load_model(path)
        if model.functions:
            InlinePass()(model)
        counted = _Counter().count(model.graph)
        model.graph.outputs.clear()
        for number, (pair, value) in enumerate(counted):
            value.name = f"dtc.branches.{number}"
            model.graph.outputs.append(value)
            self._pairs[value.name] = pair
        self.branches = frozenset(each for pair in self._pairs.values() for each in pair)
        RemoveUnusedPass()(model)
        if most is not None and session_memory(model) > most:
            raise ModelError(f"{path}: its conditions need weights of more than {most} bytes")
        with tempfile.TemporaryDirectory(prefix="dtc-branches-") as folder:
            copy = Path(folder) / "branches.onnx"
            save_model(model, copy)
            self._run = runner(session(copy, called=str(path), **settings))

    def taken(self, feed: Mapping[str, Any]) -> frozenset[Branch]:
        """Return the branches that an input takes.

        Raises:
            ModelError: The model cannot run it.
        """
        if not self._pairs:
            return frozenset()
        outputs = self._run(feed)
        counts = {name: np.asarray(outputs[name]).reshape(-1, 2).sum(axis=0) for name in self._pairs}
        return frozenset(
            branch
            for name, pair in self._pairs.items()
            for branch, count in zip(pair, counts[name], strict=True)
            if count
        )


def has_branches(model: ir.Model) -> bool:
    """Return whether a model has any `If`."""
    return any(_is(node, "If") for node in _all_nodes(model))


def watch_branches(model: ir.Model, path: Path, *, most: int | None = None, **settings: Any) -> BranchWatch | None:
    """Return what watches the branches of the model at `path`; None where it has none, or they cannot be watched.

    Nor are they where the watch would take more than `most` bytes.
    """
    if not has_branches(model):
        return None
    try:
        watch = BranchWatch(path, most=most, **settings)
    except (ModelError, ValueError):
        return None
    return watch if watch.branches else None


def assignments(constants: Mapping[str, list[object]], most: int) -> Iterator[dict[str, object]]:
    """Yield at most `most` choices of a constant for some of the inputs, those of few inputs first.

    {"sr": [8000, 8001], "mode": [1]} gives sr=8000, sr=8001, mode=1, then both choices of sr with mode=1.
    """
    groups = (names for count in range(1, len(constants) + 1) for names in itertools.combinations(constants, count))
    chosen = (
        dict(zip(names, values, strict=True))
        for names in groups
        for values in itertools.product(*(constants[name] for name in names))
    )
    return itertools.islice(chosen, most)


class _Counter:
    """Puts nodes into a graph, in place, that count which branches are taken, in bodies too."""

    def __init__(self) -> None:
        self._names = itertools.count()

    def count(self, graph: ir.Graph) -> list[Counted]:
        found: list[Counted] = []
        for node in list(graph):
            if _is(node, "If"):
                found += self._count_if(graph, node)
            elif _is(node, "Loop") or (_is(node, "Scan") and not _SCAN_LAYOUT & node.attributes.keys()):
                found += self._count_body(node)
        return found

    def _count_if(self, graph: ir.Graph, node: ir.Node) -> list[Counted]:
        bodies = [node.attributes[f"{branch}_branch"].as_graph() for branch in _BRANCHES]
        inner = [self.count(body) for body in bodies]
        found = []
        condition = node.inputs[0]
        if condition is not None and ir.convenience.get_const_tensor(condition) is None:
            by_size = not _depends_on_numbers(condition)
            pair = (Branch(_name(node), "then", by_size), Branch(_name(node), "else", by_size))
            found.append((pair, self._flags(graph, node, condition)))
        for index, counted in enumerate(inner):
            for pair, value in counted:
                bodies[index].outputs.append(value)
                bodies[1 - index].outputs.append(self._zeros(bodies[1 - index]))
                found.append((pair, self._given_out(node)))
        return found

    def _count_body(self, node: ir.Node) -> list[Counted]:
        body = node.attributes["body"].as_graph()
        found = []
        for pair, value in self.count(body):
            body.outputs.append(value)
            found.append((pair, self._given_out(node)))
        return found

    def _given_out(self, node: ir.Node) -> ir.Value:
        node.resize_outputs(len(node.outputs) + 1)
        return self._named(node.outputs[-1], rank=None)

    def _flags(self, graph: ir.Graph, node: ir.Node, condition: ir.Value) -> ir.Value:
        """[1, 0] where the condition is true, [0, 1] where it is not; by operators of every opset from 7 on."""
        one = self._constant(graph, np.array([1], np.int64))
        cast = ir.node("Cast", [condition], attributes={"to": int(ir.DataType.INT64)})
        flat = ir.node("Reshape", [cast.outputs[0], one])
        other = ir.node("Sub", [one, flat.outputs[0]])
        both = ir.node("Concat", [flat.outputs[0], other.outputs[0]], attributes={"axis": 0})
        graph.insert_before(node, [cast, flat, other, both])
        for each in (cast, flat, other):
            self._named(each.outputs[0], rank=None)
        return self._named(both.outputs[0], rank=1)

    def _zeros(self, graph: ir.Graph) -> ir.Value:
        node = ir.node("Identity", [self._constant(graph, np.zeros(2, np.int64))])
        graph.append(node)
        return self._named(node.outputs[0], rank=1)

    def _constant(self, graph: ir.Graph, array: Any) -> ir.Value:
        name = f"dtc.count.{next(self._names)}"
        value = ir.val(name, const_value=ir.tensor(array, name=name))
        graph.register_initializer(value)
        return value

    def _named(self, value: ir.Value, *, rank: int | None) -> ir.Value:
        value.name = f"dtc.count.{next(self._names)}"
        value.type = ir.TensorType(ir.DataType.INT64)
        if rank is not None:
            value.shape = ir.Shape([2])
        return value


def _depends_on_numbers(value: ir.Value) -> bool:
    """True if numbers of an input decide on a value, seen through all operators but those that tell a size."""
    waiting: list[ir.Value | None] = [value]
    seen: set[ir.Value] = set()
    while waiting:
        read = waiting.pop()
        if read is None or read in seen:
            continue
        seen.add(read)
        node = read.producer()
        if node is None:
            if read.is_graph_input() and not read.is_initializer():
                return True
        elif not (_is(node, "Shape") or _is(node, "Size")):
            waiting += node.inputs
    return False


def _name(node: ir.Node) -> str:
    return node.name or str(node.outputs[0].name)


def _is(node: ir.Node, op_type: str) -> bool:
    return node.domain == "" and node.op_type == op_type


def _all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    yield from all_nodes(model)
    for function in model.functions.values():
        yield from function.all_nodes()
