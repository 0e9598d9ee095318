"""What values of a graph are computed from, back to other values: a part that can be run without the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from dtc.checking.sites.scopes import outer_values


class UnboundedError(Exception):
    """Something is computed from a value that is none of those to stop at; `value` is its name."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


@dataclass(frozen=True, eq=False)
class Cone:
    """What some values are computed from, in the order in which it is.

    Attributes:
        outputs: These values.
        stops: Where it begins: values that are given.
        initializers: The arrays that it reads.
        constant: Nodes that read no stop, not even by others: a weight is decoded by them.
        dependent: The nodes that do.
    """

    outputs: tuple[ir.Value, ...]
    stops: tuple[ir.Value, ...]
    initializers: tuple[ir.Value, ...]
    constant: tuple[ir.Node, ...]
    dependent: tuple[ir.Node, ...]

    @property
    def nodes(self) -> Iterator[ir.Node]:
        """All nodes."""
        yield from self.constant
        yield from self.dependent

    @property
    def handed(self) -> tuple[ir.Value, ...]:
        """The constant values that are outputs, or that dependent nodes read."""
        made = {*self.initializers, *(value for node in self.constant for value in node.outputs)}
        read = [value for node in self.dependent for value in _reads(node)]
        return tuple(dict.fromkeys(value for value in (*self.outputs, *read) if value in made))


def cone(outputs: Sequence[ir.Value], stops: Collection[ir.Value]) -> Cone:
    """Follow values upstream to stops and initializers, through all graphs.

    Raises:
        UnboundedError: A graph input is reached that is no stop.
    """
    reached: dict[ir.Value, None] = {}
    initializers: dict[ir.Value, None] = {}
    order: dict[ir.Node, bool] = {}
    # Depth first, a node after all that it reads; a chain of thousands of nodes is no recursion.
    waiting: list[tuple[ir.Value, bool]] = [(value, True) for value in reversed(outputs)]
    opened: set[ir.Node] = set()
    while waiting:
        value, is_output = waiting.pop()
        node = value.producer()
        if value in stops and not is_output:
            reached[value] = None
        elif value.is_initializer():
            initializers[value] = None
        elif node is None:
            raise UnboundedError(str(value.name))
        elif node not in opened:
            opened.add(node)
            waiting.append((value, is_output))
            waiting += [(read, False) for read in _reads(node) if read.producer() not in order]
        elif node not in order:
            order[node] = any(_depends(read, reached, order) for read in _reads(node))
    return Cone(
        tuple(outputs),
        tuple(reached),
        tuple(initializers),
        tuple(node for node, depends in order.items() if not depends),
        tuple(node for node, depends in order.items() if depends),
    )


def _depends(value: ir.Value, reached: Collection[ir.Value], order: dict[ir.Node, bool]) -> bool:
    node = value.producer()
    return value in reached or (node is not None and order.get(node, False))


def _reads(node: ir.Node) -> list[ir.Value]:
    return [value for value in (*node.inputs, *outer_values(node)) if value is not None]
