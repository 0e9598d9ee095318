"""LSTM, unrolled: one product over all steps for the input, then a product and the gates at each step.

Equations: the ONNX specification of LSTM; gates are stacked in the order input, output, forget, cell.
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

_ACTIVATIONS = ("Sigmoid", "Tanh", "Tanh")


@dataclass(frozen=True)
class _Direction:
    weight: ir.Value
    recurrent: ir.Value
    bias: ir.Value | None
    hidden: ir.Value | None
    cell: ir.Value | None
    peepholes: tuple[ir.Value, ir.Value, ir.Value] | None
    block: Block


def unroll_lstm(node: ir.Node, length: int, opset: int) -> Unrolled:
    """Replace an LSTM node by its steps, for sequences of exactly `length` steps.

    Raises:
        EngineError: An attribute that cannot be trained; names the node.
    """
    shape = read_shape(node, length, _ACTIVATIONS)
    build = Builder(node, opset)
    masks = step_masks(build, optional_input(node, 4), shape)
    inputs = build.op("Flatten", node.inputs[0], axis=-1)
    outputs, hiddens, cells, blocks = [], [], [], []
    for direction, reverse in zip(_directions(build, node, shape), shape.reverse, strict=True):
        steps, hidden, cell = _run(build, direction, inputs, masks, shape, reverse=reverse)
        outputs.append(join_steps(build, steps, shape))
        hiddens.append(hidden)
        cells.append(cell)
        blocks.append(direction.block)
    results = {}
    for index, old in enumerate(node.outputs):
        if old.uses() or old.is_graph_output():
            joined = build.concat(outputs, 1) if index == 0 else join_states(build, hiddens if index == 1 else cells)
            results[old] = joined
    build.finish(results)
    return Unrolled(tuple(blocks))


def _directions(build: Builder, node: ir.Node, shape: Shape) -> list[_Direction]:
    parts = [per_direction(build, optional_input(node, index), shape) for index in (1, 2, 3, 5, 6, 7)]
    found = []
    for weight, recurrent, bias, hidden, cell, peepholes in zip(*parts, strict=True):
        assert weight is not None
        assert recurrent is not None
        both = None if bias is None else build.op("Add", *build.split(bias, 2, 0))
        cuts = None if peepholes is None else tuple(build.split(peepholes, 3, 0))
        found.append(_Direction(weight, recurrent, both, hidden, cell, cuts, Block()))  # type: ignore[arg-type]
    return found


def _run(
    build: Builder,
    direction: _Direction,
    inputs: ir.Value,
    masks: list[ir.Value | None],
    shape: Shape,
    *,
    reverse: bool,
) -> tuple[list[ir.Value], ir.Value, ir.Value]:
    operands = [inputs, direction.weight] + ([] if direction.bias is None else [direction.bias])
    projected = build.split(build.op("Gemm", *operands, transB=1), shape.length, 0)
    hidden = direction.hidden or zero_state(build, inputs, shape)
    cell = direction.cell or zero_state(build, inputs, shape)
    outputs: list[ir.Value] = [inputs] * shape.length
    for step in reversed(range(shape.length)) if reverse else range(shape.length):
        gates = product(build, direction.block, hidden, direction.recurrent, projected[step])
        new_hidden, new_cell = _cell(build, gates, cell, direction.peepholes, shape)
        mask = masks[step]
        outputs[step] = new_hidden if mask is None else build.op("Mul", new_hidden, mask)
        hidden, cell = hold(build, new_hidden, hidden, mask), hold(build, new_cell, cell, mask)
    return outputs, hidden, cell


def _cell(
    build: Builder,
    gates: ir.Value,
    cell: ir.Value,
    peepholes: tuple[ir.Value, ir.Value, ir.Value] | None,
    shape: Shape,
) -> tuple[ir.Value, ir.Value]:
    """Return the next hidden and cell state `[batch, hidden]` from the gates `[batch, 4*hidden]`."""
    if peepholes is not None:
        return _peephole_cell(build, gates, cell, peepholes, shape)
    gates = clipped(build, gates, shape)
    squashed, candidate = build.split_sizes(gates, (3 * shape.hidden, shape.hidden), 1)
    enter, leave, keep = build.split_sizes(build.op("Sigmoid", squashed), (shape.hidden,) * 3, 1)
    entering = build.op("Mul", enter, build.op("Tanh", candidate))
    new_cell = build.op("Add", build.op("Mul", keep, cell), entering)
    return build.op("Mul", leave, build.op("Tanh", new_cell)), new_cell


def _peephole_cell(
    build: Builder,
    gates: ir.Value,
    cell: ir.Value,
    peepholes: tuple[ir.Value, ir.Value, ir.Value],
    shape: Shape,
) -> tuple[ir.Value, ir.Value]:
    def gate(value: ir.Value, weight: ir.Value, state: ir.Value) -> ir.Value:
        seen = build.op("Add", value, build.op("Mul", state, weight))
        return build.op("Sigmoid", clipped(build, seen, shape))

    enter, leave, keep, candidate = build.split_sizes(gates, (shape.hidden,) * 4, 1)
    squashed = build.op("Tanh", clipped(build, candidate, shape))
    entering = build.op("Mul", gate(enter, peepholes[0], cell), squashed)
    new_cell = build.op("Add", build.op("Mul", gate(keep, peepholes[2], cell), cell), entering)
    output = gate(leave, peepholes[1], new_cell)
    return build.op("Mul", output, build.op("Tanh", new_cell)), new_cell
