"""An ONNX graph as a function of its inputs and its live weights.

Nothing of the graph is renamed or reordered: values are told apart by what they are, not by their names, so that a body
reads the values around it, and two branches may have values of one name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch

from dtc.errors import DataError, DtcError, EngineError, one_line
from dtc.graph.opset import opset_of
from dtc.training.engines.torch import operators as _families  # noqa: F401 - importing it registers the operators
from dtc.training.engines.torch.calls import OPERATORS, Call, Implementation, Moment, Present
from dtc.training.engines.torch.dtypes import constant_of
from dtc.training.engines.torch.placement import HOST, Placement

Scope = dict[ir.Value, Any]
"""The values that are known at a place of a graph."""


@dataclass(frozen=True, eq=False)
class _Instruction:
    """One node, ready to run.

    Attributes:
        call: What its function is told.
        operator: Computes it.
        inputs: What it reads, None where an input is left out.
        outputs: What it gives.
        bodies: Its graphs, by attribute.
        captured: What these graphs read of the scope around them.
        placement: Brings the inputs together on one device.
    """

    call: Call
    operator: Implementation
    inputs: tuple[ir.Value | None, ...]
    outputs: tuple[ir.Value, ...]
    bodies: dict[str, _Body]
    captured: tuple[ir.Value, ...]
    placement: Placement

    def reads(self) -> Iterator[ir.Value]:
        """Yield everything that must be known before it."""
        yield from (value for value in self.inputs if value is not None)
        yield from self.captured

    def run(self, scope: Scope) -> None:
        """Compute the outputs from what is known.

        Raises:
            DataError: The node cannot be computed from these values; names it.
            EngineError: Torch cannot compute such a node at all.
        """
        known = [None if value is None else scope[value] for value in self.inputs]
        given = self.placement.together(self.inputs, known, self.operator.numbers)
        try:
            if self.operator.has_bodies:
                found = self.operator.function(self.call, _Bodies(self.bodies, scope), *given)
            else:
                found = self.operator.function(self.call, *given)
        except DtcError:
            raise
        except NotImplementedError as error:
            raise self.call.refuse(f"torch cannot compute it ({one_line(error)})") from error
        except Exception as error:
            node = self.call.node
            raise DataError(
                f"the model cannot be run on this batch: node {node.name!r} ({node.op_type}): {one_line(error)}"
            ) from error
        if not isinstance(found, tuple):
            found = (found,)
        for value, result in zip(self.outputs, found, strict=False):
            scope[value] = result


@dataclass(frozen=True, eq=False)
class _Body:
    """A graph inside of a node: its inputs, its steps, its outputs and its own constants."""

    graph: ir.Graph
    steps: tuple[_Instruction, ...]
    constants: Scope


@dataclass(frozen=True)
class _Bodies:
    """The graphs of a node in the scope around it; see `dtc.training.engines.torch.calls.Bodies`."""

    bodies: dict[str, _Body]
    scope: Scope

    def run(self, name: str, inputs: Sequence[Any] = ()) -> list[Any]:
        """Return the outputs of the graph in the attribute `name`."""
        body = self.bodies[name]
        # A scope of its own, above that of the node: each round of a loop computes its values anew.
        scope = {**self.scope, **body.constants, **dict(zip(body.graph.inputs, inputs, strict=False))}
        for step in body.steps:
            step.run(scope)
        return [scope[value] for value in body.graph.outputs]


class Program:
    """A graph, compiled once and run for whatever of its values is wanted.

    Args:
        model: Without functions of its own; not changed.
        live: The initializers whose values are given with every run, on the device.
        device: What computes.

    Raises:
        EngineError: The engine has no such operator, or torch no such type; names the node or the initializer.
    """

    def __init__(self, model: ir.Model, live: Sequence[ir.Value], device: torch.device = HOST) -> None:
        self._present, self._placement = Present(), Placement(device)
        self._model, self._live = model, frozenset(live)
        self._numbers: dict[tuple[str, str], int] = {}
        self._constants = self._constants_of(model.graph)
        self._steps = tuple(self._compile(node) for node in model.graph)
        self._fold()
        self._plans: dict[tuple[ir.Value, ...], tuple[tuple[_Instruction, tuple[ir.Value, ...]], ...]] = {}

    def run(self, known: Mapping[ir.Value, Any], wanted: Sequence[ir.Value], moment: Moment) -> list[Any]:
        """Return the wanted values.

        `known` has the inputs that they depend on, in host memory, and the live initializers.

        Raises:
            DataError: An input is missing, or a node cannot be computed from these values; names it.
            EngineError: Torch cannot compute a node at all; names it.
        """
        self._present.moment = moment
        inputs = {value: self._placement.input(known[value]) for value in self._model.graph.inputs if value in known}
        scope: Scope = {**self._constants, **known, **inputs}
        for step, done in self._plan(tuple(wanted)):
            step.run(scope)
            # What nothing reads any more goes; while gradients are recorded, autograd keeps what it needs.
            for value in done:
                scope.pop(value, None)
        return [scope[value] for value in wanted]

    def _plan(self, wanted: tuple[ir.Value, ...]) -> tuple[tuple[_Instruction, tuple[ir.Value, ...]], ...]:
        """Return the steps that `wanted` depends on, each with the values that nothing reads after it."""
        if wanted not in self._plans:
            needed, chosen = set(wanted), []
            for step in reversed(self._steps):
                if any(value in needed for value in step.outputs):
                    needed.update(step.reads())
                    chosen.append(step)
            kept, plan = set(wanted) | self._live | set(self._constants), []
            for step in chosen:  # from the last to the first: what is read for the first time here is read last
                last = [value for value in dict.fromkeys([*step.reads(), *step.outputs]) if value not in kept]
                kept.update(last)
                plan.append((step, tuple(last)))
            self._plans[wanted] = tuple(reversed(plan))
        return self._plans[wanted]

    def _constants_of(self, graph: ir.Graph) -> Scope:
        found = {
            value: constant_of(value.const_value)
            for value in graph.initializers.values()
            if value not in self._live and value.const_value is not None and _is_read(value)
        }
        self._placement.keep(found)
        return found

    def _compile(self, node: ir.Node) -> _Instruction:
        operator = OPERATORS.get(node)
        if operator is None:
            domain = "" if node.domain in ("", "ai.onnx") else f" of domain {node.domain}"
            raise EngineError(f"node {node.name!r}: the torch engine has no operator {node.op_type}{domain}")
        number = self._numbers.get((node.domain, node.op_type), 0)
        self._numbers[node.domain, node.op_type] = number + 1
        call = Call(node, opset_of(self._model), self._present, number)
        bodies = {
            name: self._body(attribute.as_graph())
            for name, attribute in node.attributes.items()
            if attribute.type == ir.AttributeType.GRAPH
        }
        # A name that is empty stands for an input that is left out.
        inputs = tuple(value if value is not None and value.name != "" else None for value in node.inputs)
        captured = dict.fromkeys(value for body in bodies.values() for value in _captured(body))
        return _Instruction(call, operator, inputs, tuple(node.outputs), bodies, tuple(captured), self._placement)

    def _body(self, graph: ir.Graph) -> _Body:
        return _Body(graph, tuple(self._compile(node) for node in graph), self._constants_of(graph))

    def _fold(self) -> None:
        """Compute once what depends on constants alone."""
        rest = []
        with torch.no_grad():
            for step in self._steps:
                if _is_constant(step, self._constants):
                    step.run(self._constants)
                    self._placement.keep(step.outputs)
                else:
                    rest.append(step)
        self._steps = tuple(rest)


def _is_constant(step: _Instruction, constants: Scope) -> bool:
    """True for a step that gives the same in every run."""
    steps = [step]
    while steps:
        each = steps.pop()
        # What a Dropout does depends on the run, whatever it reads.
        if each.operator.draws or each.call.node.op_type == "Dropout":
            return False
        steps += [inner for body in each.bodies.values() for inner in body.steps]
    return all(value in constants for value in step.reads())


def _captured(body: _Body) -> Iterator[ir.Value]:
    """Yield what a body reads of the scope around it."""
    own = {*body.graph.inputs, *body.constants}
    for step in body.steps:
        yield from (value for value in step.reads() if value not in own)
        own.update(step.outputs)
    yield from (value for value in body.graph.outputs if value not in own)


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
