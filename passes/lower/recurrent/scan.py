"""LSTM and GRU as a `Scan` over standard operators, with a recurrent weight of any form.

The input part of all steps is computed in front of the Scan; its body holds the recurrent product and the cell, in as
few nodes as possible, because each costs a microsecond or two at each step. The factors lie outside of the body,
beside the old weight, so that nodes that share them (the branches of an `If`) go on to share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from dtc.graph.builder import Builder, GraphBuilder
from dtc.graph.cells import ACTIVATIONS, Recurrence, activations, hold, silence, step, zero_state


@dataclass(frozen=True, kw_only=True)
class Direction(Recurrence):
    """One direction of a node.

    Attributes:
        inputs: The input parts of the gates of all steps, biases added: LSTM `[T, N, 4H]`; GRU `[T, N, 2H]` and
            `[T, N, H]`.
        state: The initial states `[N, H]`.
        emits_projection: Whether the Scan gives out the projection of every step's output (`weight.begin`), because
            another node reads that too.
    """

    inputs: tuple[ir.Value, ...]
    state: tuple[ir.Value, ...]
    emits_projection: bool = False


@dataclass(frozen=True)
class Lengths:
    """Where samples end: `lasts` bool `[T, N, 1]`, `any` bool `[N, 1]` for those that have a step at all."""

    lasts: ir.Value
    any: ir.Value

    def final(self, builder: GraphBuilder, state: ir.Value) -> ir.Value:
        """Add nodes for the last state of an empty sample: zeros, as ONNX Runtime has it, not the initial state."""
        return builder.op("Where", [self.any, state, builder.constant(0.0)])


@dataclass(frozen=True)
class Scanned:
    """What a Scan gives: every step's output `[T, N, H]` (if asked for) and the last states `[N, H]`."""

    steps: ir.Value | None
    last: tuple[ir.Value, ...]
    projection: ir.Value | None = None
    """Of every step's output, `[T, N, rank]`, where the direction emits it."""


def can_be_scan(node: ir.Node, opset: int) -> bool:
    """Return whether an LSTM or GRU can become a Scan, which came with operator set 9.

    ONNX Runtime runs no node of layout 1 (batch first) either, so there is nothing to compare with.
    """
    plain = not node.attributes.get_int("layout", 0) and not node.attributes.get_int("input_forget", 0)
    return opset >= 9 and plain and all(name.lower() in ACTIVATIONS for name in activations(node))


def scan(
    builder: GraphBuilder, direction: Direction, lengths: Lengths | None, *, with_steps: bool, label: str
) -> Scanned:
    """Add the Scan of one direction.

    Args:
        builder: Takes the nodes.
        direction: What to compute.
        lengths: Beyond a sample's end the state is held and the output zero. A Scan that runs backwards so starts at
            each sample's own end, with its initial state, as ONNX asks.
        with_steps: Whether the outputs of all steps are read.
        label: Name of the Scan.
    """
    body = builder.inner(label)
    # Inputs of a Scan: first states, then sequences [T, ...], of which the body sees one step. Outputs: last states,
    # then what each step emits.
    sequences = [*direction.inputs, *([] if lengths is None else [lengths.lasts])]
    starts = list(direction.state)
    if direction.emits_projection:  # it is carried on to the next step, and so computed once
        starts.append(direction.weight.begin(builder, direction.state[0]))
    elements = [_body_input(builder, body, value, f"step_{i}") for i, value in enumerate(sequences)]
    states = [_body_input(builder, body, value, f"state_{i}") for i, value in enumerate(starts)]
    results, emitted = _body_outputs(body, direction, states, elements, with_steps=with_steps)
    name = f"{builder.prefix}/{label}"
    outputs = [*results, *emitted]
    reverse = int(direction.cell.reverse)
    attributes: dict[str, Any] = {
        "body": ir.Graph([*states, *elements], outputs, nodes=body.nodes, name=name, opset_imports={}),
        "num_scan_inputs": len(elements),
        "scan_input_directions": [reverse] * len(elements),
    }
    if emitted:
        attributes["scan_output_directions"] = [reverse] * len(emitted)
    values = builder.ops("Scan", [*starts, *sequences], len(outputs), label=label, **attributes)
    # A carried projection is the last one of the states: no state of the node.
    last = values[: len(direction.state)]
    return Scanned(
        steps=values[len(results)] if with_steps else None,
        last=tuple(last if lengths is None else [lengths.final(builder, value) for value in last]),
        projection=values[-1] if direction.emits_projection else None,
    )


def _body_outputs(
    body: Builder, direction: Direction, states: list[ir.Value], elements: list[ir.Value], *, with_steps: bool
) -> tuple[list[ir.Value], list[ir.Value]]:
    """Add the nodes of the body; return the new states, and what is given out at each step."""
    carried = direction.emits_projection
    begun = states[-1] if carried else direction.weight.begin(body, states[0])
    inputs, lasts = elements[: len(direction.inputs)], elements[len(direction.inputs) :]
    results = step(body, direction, states, inputs, begun)
    if carried:
        results.append(direction.weight.begin(body, results[0]))
    # Emitted: h if the steps are read, then the projection of the new h.
    emitted = [*(results[:1] if with_steps else []), *(results[-1:] if carried else [])]
    if lasts:
        emitted = silence(body, lasts[0], emitted)
        results = hold(body, lasts[0], results, states)
    else:
        emitted = [body.op("Identity", [value]) for value in emitted]  # a value can be an output of a graph once
    for value in (*results, *emitted):
        value.shape = ir.Shape([None, None])  # inside of an `If`, ONNX Runtime does not infer it
    for value in (*results[: len(direction.state)], *emitted[: int(with_steps)]):
        value.shape = ir.Shape([None, direction.cell.hidden])
    return results, emitted


def _body_input(builder: GraphBuilder, body: Builder, outside: ir.Value, name: str) -> ir.Value:
    name = builder.names.unique(f"{body.prefix}/{name}")
    return ir.Value(name=name, type=outside.type, shape=ir.Shape([None, None]))


def sample_lengths(builder: GraphBuilder, x: ir.Value, lengths: ir.Value) -> Lengths:
    """Add nodes that compare `lengths [N]` to the steps of `x [T, N, ...]`."""
    int64 = ir.DataType.INT64
    steps = builder.op("Gather", [builder.op("Shape", [x], dtype=int64), builder.constant([0])], dtype=int64)
    ones = builder.op("ConstantOfShape", [steps], value=ir.tensor([1], dtype=int64), dtype=int64)
    # Range came with operator set 11, NonZero with 9
    times = builder.op(
        "Reshape", [builder.op("NonZero", [ones], dtype=int64), builder.constant([-1, 1, 1])], dtype=int64
    )
    ends = builder.op("Cast", [lengths], to=int64, dtype=int64)
    # times [T, 1, 1], ends [N, 1] -> lasts [T, N, 1]. Lengths (2, 0) of 3 steps: true at steps 0 and 1 of the first
    # sample.
    ends = builder.op("Reshape", [ends, builder.constant([-1, 1])], dtype=int64)
    return Lengths(
        lasts=builder.op("Less", [times, ends], dtype=ir.DataType.BOOL),
        any=builder.op("Less", [builder.constant(0), ends], dtype=ir.DataType.BOOL),
    )


def initial_state(builder: GraphBuilder, given: ir.Value | None, x: ir.Value, direction: int, hidden: int) -> ir.Value:
    """Add nodes for the initial state `[N, H]` of one direction: of the given `[directions, N, H]`, or zeros."""
    if given is not None:
        return builder.op("Gather", [given, builder.constant(direction)], axis=0)
    return zero_state(builder, x, hidden)


def join(builder: GraphBuilder, results: list[Scanned], hidden: int) -> dict[int, ir.Value]:
    """Add nodes for the node's outputs by number: Y `[T, D, N, H]`, Y_h and Y_c `[D, N, H]`."""
    columns: dict[int, list[tuple[ir.Value, list[int]]]] = {}
    # steps [T, N, H] -> [T, 1, N, H]: a 0 in the shape of a Reshape copies the size T, -1 is N. last [N, H] -> [1, N,
    # H].
    for result in results:
        if result.steps is not None:
            columns.setdefault(0, []).append((result.steps, [0, 1, -1, hidden]))
        for index, last in enumerate(result.last):
            columns.setdefault(index + 1, []).append((last, [1, -1, hidden]))
    joined: dict[int, ir.Value] = {}
    for index, parts in columns.items():
        values = [builder.op("Reshape", [value, builder.constant(shape)]) for value, shape in parts]
        axis = 1 if index == 0 else 0
        joined[index] = values[0] if len(values) == 1 else builder.op("Concat", values, axis=axis)
    return joined


def read_outputs(node: ir.Node, joined: Mapping[int, ir.Value]) -> dict[ir.Value, ir.Value]:
    """Return the new value for each output of `node` that is read."""
    return {old: joined[index] for index, old in enumerate(node.outputs) if old.uses() or old.is_graph_output()}
