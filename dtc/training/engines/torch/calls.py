"""What an operator is to this engine: a function of tensors, found by its domain and name.

A function takes the `Call`, which tells of the node, and then the node's inputs in their order, None where one is left
out. It returns the outputs: one value, or a tuple where there are several. Values are `torch.Tensor`, a list for a
sequence, None for an empty optional.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import onnx_ir as ir
import torch

from dtc.errors import EngineError

Function: TypeAlias = Callable[..., Any]

MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Moment:
    """What differs between the runs of one graph.

    Attributes:
        training: Dropout drops.
        seed: Of the step; everything random follows from it.
        by_batch: The BatchNormalizations that normalise by the moments of the batch.
        collected: Where these leave node, mean, variance and number of values; None where nobody asks.
        joint: Where the batch is a part of a larger one: sums a tensor over all parts, with a gradient.
    """

    training: bool = False
    seed: int = 0
    by_batch: frozenset[ir.Node] = frozenset()
    collected: list[tuple[ir.Node, torch.Tensor, torch.Tensor, int]] | None = None
    joint: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass
class Present:
    """The run of a graph that is going on; all calls of a program look at the same one."""

    moment: Moment = field(default_factory=Moment)


@dataclass(frozen=True, eq=False)
class Call:
    """What a function is told of the node that it computes.

    Attributes:
        node: The node.
        version: The opset version of its domain that the model imports.
        present: The run that is going on.
        number: The node's place among those of its operator, in the order of the graph.
    """

    node: ir.Node
    version: int
    present: Present
    number: int = 0

    @property
    def moment(self) -> Moment:
        """What is true of the run that is going on."""
        return self.present.moment

    def integer(self, name: str, default: int = 0) -> int:
        """Return an integer attribute."""
        return int(self.node.attributes.get_int(name, default) or 0)

    def real(self, name: str, default: float = 0.0) -> float:
        """Return a float attribute."""
        found = self.node.attributes.get_float(name, default)
        return default if found is None else float(found)

    def text(self, name: str, default: str = "") -> str:
        """Return a string attribute."""
        return self.node.attributes.get_string(name, default) or default

    def integers(self, name: str) -> list[int] | None:
        """Return a list of integers, None where the attribute is left out."""
        found = self.node.attributes.get_ints(name, None)
        return None if found is None else [int(number) for number in found]

    def reals(self, name: str) -> list[float] | None:
        """Return a list of floats, None where the attribute is left out."""
        found = self.node.attributes.get_floats(name, None)
        return None if found is None else [float(number) for number in found]

    def texts(self, name: str) -> list[str] | None:
        """Return a list of strings, None where the attribute is left out."""
        found = self.node.attributes.get_strings(name, None)
        return None if found is None else list(found)

    def has(self, name: str) -> bool:
        """True where the node has the attribute."""
        return name in self.node.attributes

    def wants(self, output: int) -> bool:
        """True where the node has an output of that number with a name."""
        return len(self.node.outputs) > output and bool(self.node.outputs[output].name)

    def refuse(self, reason: str) -> EngineError:
        """Return the error that says why the node cannot be computed."""
        return EngineError(f"node {self.node.name!r} ({self.node.op_type}): {reason}")


class Bodies(Protocol):
    """Runs the graphs that a node of control flow holds, in the scope of that node."""

    def run(self, name: str, inputs: Sequence[Any] = ()) -> list[Any]:
        """Return the outputs of the graph in the attribute `name`."""
        ...


@dataclass(frozen=True)
class Implementation:
    """The function that computes an operator, and what is to be known of it.

    Attributes:
        function: Computes it.
        has_bodies: The function takes `Bodies` behind the `Call`.
        differentiable: A gradient passes from its outputs to its float inputs; that of a step function is zero.
        draws: Its outputs are random: never the same in two runs.
        numbers: Which inputs it reads as Python numbers, such as shapes and axes; these stay in host memory.
    """

    function: Function
    has_bodies: bool = False
    differentiable: bool = True
    draws: bool = False
    numbers: frozenset[int] = frozenset()


@dataclass
class Registry:
    """The operators, by domain and name."""

    found: dict[tuple[str, str], Implementation] = field(default_factory=dict)

    def add(self, name: str, operator: Implementation, domain: str = "") -> None:
        """Register an operator; a name taken twice is a mistake in the program."""
        assert (domain, name) not in self.found, f"{domain}::{name} is registered twice"
        self.found[domain, name] = operator

    def get(self, node: ir.Node) -> Implementation | None:
        """Return the operator of a node."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        return self.found.get((domain, node.op_type))


OPERATORS = Registry()


def operator(
    *names: str,
    domain: str = "",
    bodies: bool = False,
    differentiable: bool = True,
    draws: bool = False,
    numbers: Iterable[int] = (),
) -> Callable[[Function], Function]:
    """Register a function as the operators called `names`."""

    def register(function: Function) -> Function:
        for name in names:
            made = Implementation(function, bodies, differentiable, draws, frozenset(numbers))
            OPERATORS.add(name, made, domain)
        return function

    return register


def elementwise(
    functions: dict[str, Callable[..., torch.Tensor]], *, domain: str = "", differentiable: bool = True
) -> None:
    """Register functions that read nothing of their node, by the name of the operator."""

    def without_call(function: Callable[..., torch.Tensor]) -> Function:
        return lambda _, *inputs: function(*inputs)

    for name, function in functions.items():
        OPERATORS.add(name, Implementation(without_call(function), differentiable=differentiable), domain)


def integers_of(tensor: torch.Tensor) -> list[int]:
    """Return a tensor of whole numbers, such as a shape or axes, as Python numbers."""
    return [int(number) for number in tensor.reshape(-1).tolist()]
