"""The search for trainable parameters before the first step: which have a gradient, and which nodes block others."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from dtc.errors import EngineError
from dtc.training.engines.ort.gradient import UNROLLED, GradientPlan
from dtc.training.engines.ort.trial import Trials
from dtc.training.scores import scores_of
from dtc.training.selection import Paths, find_weights, nothing_left

_MISSING = re.compile(r"gradient builder has not been registered:?\s*(\w+)", re.IGNORECASE)
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(\d+\) node with name '([^']*)'")
_NAMED = re.compile(r"Node[: ]+\(?'?([^\s')]+)")
_PROBE_STEPS = 2


@dataclass(frozen=True)
class Capability:
    """The result of the search for trainable parameters.

    Attributes:
        parameters: Names of the initializers to train.
        frozen: Why the other weights stay as they are, by name.
        unrolled: Recurrent nodes that the gradient goes through.
    """

    parameters: tuple[str, ...]
    frozen: dict[str, str]
    unrolled: tuple[str, ...]


def examine(base: ir.Model, plan: GradientPlan, freeze: Sequence[str]) -> Capability:
    """Return what can be trained: trials freeze the weights before each node without gradient until the rest runs.

    Raises:
        EngineError: Nothing is left to train; the message names the nodes in the way.
    """
    # What the gradient of each weight goes through, in the order of the graph; it alone can stand in its way.
    paths = Paths(base.graph, scores_of(base, plan.kind, plan.output))
    downstream = {name: paths.downstream(base.graph.initializers[name]) for name in find_weights(base.graph)}
    steps = {str(node.name): _declared_steps(node) for node in base.graph if node.op_type in UNROLLED}
    blocked = {node: reason for node in base.graph if (reason := _hopeless(node))}
    trials = Trials(base)

    # Only those recurrent nodes are unrolled that a gradient goes through: unrolling makes a node of each step.
    def planned(names: Sequence[str]) -> GradientPlan:
        unrolled = dict.fromkeys(str(n.name) for p in names for n in downstream[p] if n.op_type in UNROLLED)
        return replace(plan, parameters=tuple(names), lengths={name: steps[name] for name in unrolled})

    # Each round freezes what lies before one more blocked node, so that there are at most as many as there are nodes.
    while True:
        # 1. What is trained, if the nodes that are blocked so far are all.
        frozen = _inside_bodies(base) | _frozen(downstream, blocked, freeze)
        names = tuple(name for name in downstream if name not in frozen)
        if not names:
            raise nothing_left(frozen)
        # 2. Whether the gradient of that can be built and run.
        trial = planned(names)
        failure = trials.run(trial)
        if failure is None:
            return Capability(names, frozen, tuple(trial.lengths))
        # 3. If not: which node is in the way. A crash says nothing, an error names a node or a kind of node.
        through = {name: downstream[name] for name in names}
        if failure.crashed:
            found = _crashing(through, lambda some: (f := trials.run(planned(some))) is not None and f.crashed)
        else:
            found = _blame(failure.message, {node for nodes in through.values() for node in nodes})
        # Without news the next round would be the same as this one.
        if not found.keys() - blocked.keys():
            raise EngineError(
                f"onnxruntime-training cannot build the gradient of this model: {_brief(failure.message)}"
            )
        blocked |= found


def _crashing(through: dict[str, list[ir.Node]], crashes: Callable[[Sequence[str]], bool]) -> dict[ir.Node, str]:
    """Return a node whose gradient crashes the process, with the reason.

    Parameters are added from the loss backwards until the process crashes; the node is the last one that the parameter
    added last passes and the others do not. With gradients of a, b, c that go through the nodes a: [3], b: [2, 3], c:
    [1, 2, 3], where {a, b} is fine and {a, b, c} crashes, that is node 1.
    """
    # The nearer to the loss, the fewer nodes; so sets of names only ever grow by nodes further from it.
    names = sorted(through, key=lambda name: len(through[name]))
    # Bisection: names[:fine] is known to be fine, names[:crashing] to crash. 100 names take 7 trials, each of which may
    # end a process.
    fine, crashing = 0, len(names)
    while crashing - fine > 1:
        middle = (fine + crashing) // 2
        fine, crashing = (fine, middle) if crashes(names[:middle]) else (middle, crashing)
    # names[:fine] is fine, names[:fine + 1] crashes: it is one of the nodes that the last name adds.
    passed = {node for name in names[:fine] for node in through[name]}
    suspects = [node for node in through[names[fine]] if node not in passed]
    # Without suspects the last name passes no node of its own (the second weight of one node, say): then it is the
    # first node behind that name.
    node = suspects[-1] if suspects else through[names[fine]][0]
    return {node: f"node {node.name!r}: onnxruntime-training crashes over the gradient of this {node.op_type}"}


def _declared_steps(node: ir.Node) -> int:
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    return shape[0] if shape is not None and isinstance(shape[0], int) else _PROBE_STEPS


def _hopeless(node: ir.Node) -> str | None:
    """Return why the gradient through a node would be missing, or silently wrong; None for other nodes."""
    # 1. A body: the builder aborts the process over control flow, so it is set aside, and with it every gradient.
    if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
        return f"node {node.name!r}: {node.op_type} has no gradient in onnxruntime-training"
    # 2. A Split with an output that nothing reads: the parts of the gradient that are there would be joined as if they
    #    were all.
    if node.op_type == "Split" and not all(value.uses() or value.is_graph_output() for value in node.outputs):
        return f"node {node.name!r}: the gradient of a Split with unused outputs is wrong in onnxruntime-training"
    return None


def _frozen(downstream: dict[str, list[ir.Node]], blocked: dict[ir.Node, str], freeze: Sequence[str]) -> dict[str, str]:
    frozen = {}
    for name, nodes in downstream.items():
        pattern = next((glob for glob in freeze if fnmatch.fnmatchcase(name, glob)), None)
        blocker = next((blocked[node] for node in nodes if node in blocked), None)
        # The first reason that holds is told: what the user asked for, then what the graph is like, then what the
        # runtime lacks.
        if pattern is not None:
            frozen[name] = f"frozen by the option {pattern!r}"
        elif not nodes:
            frozen[name] = "the loss does not depend on it"
        elif blocker is not None:
            frozen[name] = f"lies before {blocker}"
    return frozen


def _inside_bodies(base: ir.Model) -> dict[str, str]:
    frozen = {}
    for node in base.graph:
        for attribute in node.attributes.values():
            if attribute.type != ir.AttributeType.GRAPH:
                continue
            body = attribute.as_graph()
            for graph in (body, *body.subgraphs()):
                for name in find_weights(graph):
                    frozen[name] = f"lies inside node {node.name!r}: {node.op_type} has no gradient"
    return frozen


def _blame(error: str, nodes: set[ir.Node]) -> dict[ir.Node, str]:
    """Return the nodes that an error message of the builder or the session names, each with the reason.

    The runtime has three kinds of errors, told apart by their text.
    """
    # 1. "gradient builder has not been registered: Round": no node of that kind has a gradient.
    if match := _MISSING.search(error):
        kind = match[1]
        return {
            node: f"node {node.name!r}: {kind} has no gradient in onnxruntime-training"
            for node in nodes
            if node.op_type == kind
        }
    # 2. "Could not find an implementation for ConvGrad(9) node with name 'conv_Grad/ConvGrad_0'": one node.
    # 3. "... Node (conv_Grad/ConvGrad_0) Op (ConvGrad) ...": one node, too; nodes of gradients begin with its name.
    named = {str(node.name): node for node in nodes}
    words = [match[2]] if (match := _NO_KERNEL.search(error)) else _NAMED.findall(error)
    for word in words:
        # "conv1_Grad/ConvGrad_0" and "conv1::Gemm7_Grad/GemmGrad_0" both lead to the node "conv1".
        owner = named.get(word) or named.get(re.split(r"_Grad/|::|_Grad_", word)[0])
        if owner is not None:
            return {owner: f"node {owner.name!r}: the gradient of this {owner.op_type} cannot be run"}
    return {}


def _brief(error: str) -> str:
    return " ".join(error.split())[-300:]
