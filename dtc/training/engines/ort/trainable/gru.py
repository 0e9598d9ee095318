"""GRU, unrolled, with `linear_before_reset` 0 and 1.

Equations: the ONNX specification of GRU; gates are stacked in the order update, reset, hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from dtc.training.engines.ort.trainable.builder import Builder
from dtc.training.engines.ort.trainable.recurrent import (
    Block,
    Shape,
    Unrolled,
    clipped,
    hold,
    join_states,
    join_steps,
    optional_input,
    per_direction,
    product,
    read_shape,
    step_masks,
    zero_state,
)

_ACTIVATIONS = ("Sigmoid", "Tanh")


@dataclass(frozen=True)
class _Direction:
    projected: tuple[ir.Value, ...]
    recurrent: ir.Value
    bias: ir.Value | None
    hidden: ir.Value | None


def unroll_gru(node: ir.Node, length: int, opset: int) -> Unrolled:
    """Replace a GRU node by its steps, for sequences of exactly `length` steps.

    Raises:
        EngineError: An attribute that cannot be trained; names the node.
    """
    shape = read_shape(node, length, _ACTIVATIONS)
    build = Builder(node, opset)
    masks = step_masks(build, optional_input(node, 4), shape)
    linear_first = bool(node.attributes.get_int("linear_before_reset", 0))
    outputs, hiddens = [], []
    blocks: list[Block] = []
    inputs = build.op("Flatten", node.inputs[0], axis=-1)
    for direction, reverse in zip(_directions(build, node, inputs, shape), shape.reverse, strict=True):
        cell = _LinearFirst(build, direction, shape) if linear_first else _ResetFirst(build, direction, shape)
        steps, hidden = _run(build, cell, direction, inputs, masks, shape, reverse=reverse)
        outputs.append(join_steps(build, steps, shape))
        hiddens.append(hidden)
        blocks.extend(cell.blocks)
    results = {}
    for index, old in enumerate(node.outputs):
        if old.uses() or old.is_graph_output():
            results[old] = build.concat(outputs, 1) if index == 0 else join_states(build, hiddens)
    build.finish(results)
    return Unrolled(tuple(blocks))


def _directions(build: Builder, node: ir.Node, inputs: ir.Value, shape: Shape) -> list[_Direction]:
    parts = [per_direction(build, optional_input(node, index), shape) for index in (1, 2, 3, 5)]
    found = []
    for weight, recurrent, bias, hidden in zip(*parts, strict=True):
        assert weight is not None
        assert recurrent is not None
        of_input, of_state = (None, None) if bias is None else build.split(bias, 2, 0)
        operands = [inputs, weight] + ([] if of_input is None else [of_input])
        projected = build.split(build.op("Gemm", *operands, transB=1), shape.length, 0)
        found.append(_Direction(tuple(projected), recurrent, of_state, hidden))
    return found


def _run(
    build: Builder,
    cell: _LinearFirst | _ResetFirst,
    direction: _Direction,
    inputs: ir.Value,
    masks: list[ir.Value | None],
    shape: Shape,
    *,
    reverse: bool,
) -> tuple[list[ir.Value], ir.Value]:
    hidden = direction.hidden or zero_state(build, inputs, shape)
    outputs: list[ir.Value] = [direction.recurrent] * shape.length
    for step in reversed(range(shape.length)) if reverse else range(shape.length):
        update, candidate = cell.gates(direction.projected[step], hidden)
        new = build.op("Add", candidate, build.op("Mul", update, build.op("Sub", hidden, candidate)))
        mask = masks[step]
        outputs[step] = new if mask is None else build.op("Mul", new, mask)
        hidden = hold(build, new, hidden, mask)
    return outputs, hidden


class _LinearFirst:
    """h~ = tanh(x + r * (h R' + b)): one product for all three gates."""

    def __init__(self, build: Builder, direction: _Direction, shape: Shape) -> None:
        self._build, self._direction, self._shape = build, direction, shape
        self.blocks = (Block(),)

    def gates(self, projected: ir.Value, hidden: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return the update gate and the candidate."""
        build, size = self._build, self._shape.hidden
        squashed, candidate = build.split_sizes(projected, (2 * size, size), 1)
        recurrent = product(build, self.blocks[0], hidden, self._direction.recurrent, self._direction.bias)
        first, second = build.split_sizes(recurrent, (2 * size, size), 1)
        gates = build.op("Sigmoid", clipped(build, build.op("Add", squashed, first), self._shape))
        update, reset = build.split(gates, 2, 1)
        seen = build.op("Add", candidate, build.op("Mul", reset, second))
        return update, build.op("Tanh", clipped(build, seen, self._shape))


class _ResetFirst:
    """h~ = tanh(x + (r * h) R' + b): a product for the gates, a second one for the candidate."""

    def __init__(self, build: Builder, direction: _Direction, shape: Shape) -> None:
        self._build, self._bias, self._shape = build, direction.bias, shape
        sizes = (2 * shape.hidden, shape.hidden)
        self._of_gates, self._of_candidate = build.split_sizes(direction.recurrent, sizes, 0)
        self.blocks = (Block(), Block())

    def gates(self, projected: ir.Value, hidden: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Return the update gate and the candidate."""
        build, size = self._build, self._shape.hidden
        biased = projected if self._bias is None else build.op("Add", projected, self._bias)
        squashed, candidate = build.split_sizes(biased, (2 * size, size), 1)
        squashed = product(build, self.blocks[0], hidden, self._of_gates, squashed)
        update, reset = build.split(build.op("Sigmoid", clipped(build, squashed, self._shape)), 2, 1)
        state = build.op("Mul", reset, hidden)
        candidate = product(build, self.blocks[1], state, self._of_candidate, candidate)
        return update, build.op("Tanh", clipped(build, candidate, self._shape))
