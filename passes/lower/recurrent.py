"""LSTM and GRU as a `Scan` over standard operators, with a recurrent weight of any form.

The input part of all steps is computed in front of the Scan; its body holds the recurrent product and the cell, in as
few nodes as possible, because each costs a microsecond or two at each step.
Equations and gate orders: ONNX operators LSTM (i o f c) and GRU (z r h), https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import onnx_ir as ir

from dtc.passes.lower.emit import Emitter

ACTIVATIONS = {name.lower(): name for name in ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus")}


class RecurrentWeight(Protocol):
    """The recurrent product `h R^T` in whatever form `R` has; its nodes are added to the Scan's body."""

    def begin(self, body: Emitter, state: ir.Value) -> ir.Value:
        """Return what all gates need of `state`, `[batch, hidden]`: the projected state, or the state itself."""
        ...

    def finish(self, body: Emitter, begun: ir.Value, gates: str, addend: ir.Value | None) -> ir.Value:
        """Return the product for some gates, plus `addend`: "iofc" of an LSTM; "zr" and "h" of a GRU."""
        ...


@dataclass(frozen=True)
class Cell:
    """What the node's attributes say of one direction."""

    op_type: str
    hidden: int
    reverse: bool
    activations: tuple[str, ...]
    clip: float | None
    linear_before_reset: bool


@dataclass(frozen=True)
class Direction:
    """One direction of a node.

    `inputs` are the input parts of the gates of all steps, biases added: LSTM `[T, N, 4H]`; GRU `[T, N, 2H]` and
    `[T, N, H]`. `state` are the initial states `[N, H]`.
    """

    cell: Cell
    weight: RecurrentWeight
    inputs: tuple[ir.Value, ...]
    state: tuple[ir.Value, ...]
    peepholes: tuple[ir.Value, ...] = ()
    hidden_bias: ir.Value | None = None


@dataclass(frozen=True)
class Unrolled:
    """What a Scan gives: every step's output `[T, N, H]` (if asked for) and the last states `[N, H]`."""

    steps: ir.Value | None
    last: tuple[ir.Value, ...]


def scan(emitter: Emitter, direction: Direction, mask: ir.Value | None, *, with_steps: bool, label: str) -> Unrolled:
    """Add the Scan of one direction.

    Args:
        emitter: Takes the nodes.
        direction: What to compute.
        mask: bool `[T, N, 1]`, true while a sample lasts; beyond, the state is held and the output zero. A Scan that
            runs backwards so starts at each sample's own end, with its initial state, as ONNX asks.
        with_steps: Whether the outputs of all steps are read.
        label: Name of the Scan.
    """
    body = emitter.inner(label)
    hidden = direction.cell.hidden
    widths = [4 * hidden] if direction.cell.op_type == "LSTM" else [2 * hidden, hidden]
    sequences = [*direction.inputs, *([] if mask is None else [mask])]
    states = [_body_input(body, value, f"state_{i}", hidden) for i, value in enumerate(direction.state)]
    elements = [
        _body_input(body, value, f"step_{i}", width)
        for i, (value, width) in enumerate(zip(sequences, [*widths, 1], strict=False))
    ]
    step = _lstm_step if direction.cell.op_type == "LSTM" else _gru_step
    results = step(body, direction, states, elements[: len(direction.inputs)])
    output = results[0]
    if mask is not None:
        lasts = elements[-1]
        zero = body.constant(0.0, dtype=body.dtype)
        output = body.add("Where", [lasts, results[0], zero])
        results = [body.add("Where", [lasts, new, old]) for new, old in zip(results, states, strict=True)]
    elif with_steps:
        output = body.add("Identity", [results[0]])  # a value can be an output of a graph once
    outputs = [*results, *([output] if with_steps else [])]
    for value in outputs:
        value.shape = ir.Shape([None, hidden])  # inside of an `If`, ONNX Runtime does not infer it
    graph = ir.Graph(
        [*states, *elements], outputs, nodes=body.nodes, name=f"{emitter.prefix}/{label}", opset_imports={}
    )
    reverse = int(direction.cell.reverse)
    attributes: dict[str, Any] = {
        "body": graph,
        "num_scan_inputs": len(elements),
        "scan_input_directions": [reverse] * len(elements),
    }
    if with_steps:
        attributes["scan_output_directions"] = [reverse]
    values = emitter.add_many("Scan", [*direction.state, *sequences], attributes, count=len(outputs), label=label)
    return Unrolled(values[-1] if with_steps else None, tuple(values[: len(states)]))


def _body_input(body: Emitter, outside: ir.Value, name: str, width: int) -> ir.Value:
    name = body.names.unique(f"{body.prefix}/{name}")
    return ir.Value(name=name, type=outside.type, shape=ir.Shape([None, width]))


def _lstm_step(body: Emitter, d: Direction, states: list[ir.Value], inputs: list[ir.Value]) -> list[ir.Value]:
    """Return the new h and c."""
    h, c = states
    hidden, (f, g, out) = d.cell.hidden, d.cell.activations
    gates = d.weight.finish(body, d.weight.begin(body, h), "iofc", inputs[0])
    if d.peepholes:
        i_gate, o_gate, f_gate, c_gate = body.split(gates, [hidden] * 4, 1)
        i_gate = _gate(body, d, f, _peep(body, i_gate, d.peepholes[0], c))
        f_gate = _gate(body, d, f, _peep(body, f_gate, d.peepholes[2], c))
        c_gate = _gate(body, d, g, c_gate)
    else:
        gates = body.clip(gates, d.cell.clip) if d.cell.clip is not None else gates
        iof, c_gate = body.split(gates, [3 * hidden, hidden], 1)
        i_gate, o_gate, f_gate = body.split(body.add(f, [iof]), [hidden] * 3, 1)
        c_gate = body.add(g, [c_gate])
    kept, written = body.add("Mul", [f_gate, c]), body.add("Mul", [i_gate, c_gate])
    new_c = body.add("Add", [kept, written])
    if d.peepholes:
        o_gate = _gate(body, d, f, _peep(body, o_gate, d.peepholes[1], new_c))
    return [body.add("Mul", [o_gate, body.add(out, [new_c])]), new_c]


def _gru_step(body: Emitter, d: Direction, states: list[ir.Value], inputs: list[ir.Value]) -> list[ir.Value]:
    """Return the new h."""
    (h,) = states
    f, g = d.cell.activations
    begun = d.weight.begin(body, h)
    gates = _gate(body, d, f, d.weight.finish(body, begun, "zr", inputs[0]))
    update, reset = body.split(gates, [d.cell.hidden] * 2, 1)
    if d.cell.linear_before_reset:
        recalled = body.add("Mul", [reset, d.weight.finish(body, begun, "h", d.hidden_bias)])
        candidate = body.add("Add", [inputs[1], recalled])
    else:
        begun = d.weight.begin(body, body.add("Mul", [reset, h]))
        candidate = d.weight.finish(body, begun, "h", inputs[1])
    candidate = _gate(body, d, g, candidate)
    # (1 - z) candidate + z h, in one node less
    change = body.add("Mul", [update, body.add("Sub", [h, candidate])])
    return [body.add("Add", [candidate, change])]


def _gate(body: Emitter, d: Direction, activation: str, value: ir.Value) -> ir.Value:
    if d.cell.clip is not None:
        value = body.clip(value, d.cell.clip)
    return body.add(activation, [value])


def _peep(body: Emitter, gate: ir.Value, weight: ir.Value, c: ir.Value) -> ir.Value:
    return body.add("Add", [gate, body.add("Mul", [weight, c])])


def cells(node: ir.Node) -> list[Cell]:
    """Return the directions of an LSTM or GRU node."""
    names = _activations(node)
    each = 3 if node.op_type == "LSTM" else 2
    direction = node.attributes.get_string("direction", "forward")
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction or "forward"]
    clip = node.attributes.get("clip")
    return [
        Cell(
            op_type=node.op_type,
            hidden=node.attributes["hidden_size"].as_int(),
            reverse=reverse,
            activations=tuple(ACTIVATIONS[name.lower()] for name in names[index * each : (index + 1) * each]),
            clip=clip.as_float() if clip is not None else None,
            linear_before_reset=bool(node.attributes.get_int("linear_before_reset", 0)),
        )
        for index, reverse in enumerate(reverses)
    ]


def refuse_recurrent(node: ir.Node, opset: int) -> str | None:
    """Return why an LSTM or GRU cannot become a Scan; None if it can."""
    if opset < 9:
        return f"{node.op_type} {node.name!r}: Scan needs operator set 9, the model has {opset}"
    if node.attributes.get_int("layout", 0):
        return f"{node.op_type} {node.name!r} has layout=1 (batch first), which ONNX Runtime does not run either"
    if node.attributes.get_int("input_forget", 0):
        return f"{node.op_type} {node.name!r} couples input and forget gate (input_forget=1)"
    unknown = [name for name in _activations(node) if name.lower() not in ACTIVATIONS]
    if unknown:
        known = ", ".join(ACTIVATIONS.values())
        return f"{node.op_type} {node.name!r} has the activation {unknown[0]}; supported: {known}"
    return None


def _activations(node: ir.Node) -> list[str]:
    directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    default = ["Sigmoid", "Tanh", "Tanh"] if node.op_type == "LSTM" else ["Sigmoid", "Tanh"]
    return list(node.attributes.get_strings("activations", ()) or default * directions)


def length_mask(emitter: Emitter, x: ir.Value, lengths: ir.Value) -> ir.Value:
    """Add nodes for the bool `[T, N, 1]` that is true while a sample lasts; `x` is `[T, N, ...]`."""
    int64 = ir.DataType.INT64
    steps = emitter.add("Gather", [_shape(emitter, x), emitter.constant([0])], dtype=int64)
    ones = emitter.add("ConstantOfShape", [steps], {"value": ir.tensor([1], dtype=int64)}, dtype=int64)
    # Range came with operator set 11, NonZero with 9
    times = emitter.add(
        "Reshape", [emitter.add("NonZero", [ones], dtype=int64), emitter.constant([-1, 1, 1])], dtype=int64
    )
    ends = emitter.add("Cast", [lengths], {"to": int(int64)}, dtype=int64)
    ends = emitter.add("Reshape", [ends, emitter.constant([-1, 1])], dtype=int64)
    return emitter.add("Less", [times, ends], dtype=ir.DataType.BOOL)


def initial_state(emitter: Emitter, given: ir.Value | None, x: ir.Value, direction: int, hidden: int) -> ir.Value:
    """Add nodes for the initial state `[N, H]` of one direction: of the given `[directions, N, H]`, or zeros."""
    if given is not None:
        return emitter.add("Gather", [given, emitter.constant(direction)], {"axis": 0})
    batch = emitter.add("Gather", [_shape(emitter, x), emitter.constant([1])], dtype=ir.DataType.INT64)
    sizes = emitter.add("Concat", [batch, emitter.constant([hidden])], {"axis": 0}, dtype=ir.DataType.INT64)
    zero = ir.tensor([0.0], dtype=emitter.dtype)
    return emitter.add("ConstantOfShape", [sizes], {"value": zero})


def _shape(emitter: Emitter, x: ir.Value) -> ir.Value:
    return emitter.add("Shape", [x], dtype=ir.DataType.INT64)


def join(emitter: Emitter, results: list[Unrolled], hidden: int) -> dict[int, ir.Value]:
    """Add nodes for the node's outputs by number: Y `[T, D, N, H]`, Y_h and Y_c `[D, N, H]`."""
    columns: dict[int, list[tuple[ir.Value, list[int]]]] = {}
    for result in results:
        if result.steps is not None:
            columns.setdefault(0, []).append((result.steps, [0, 1, -1, hidden]))
        for index, last in enumerate(result.last):
            columns.setdefault(index + 1, []).append((last, [1, -1, hidden]))
    joined: dict[int, ir.Value] = {}
    for index, parts in columns.items():
        values = [emitter.add("Reshape", [value, emitter.constant(shape)]) for value, shape in parts]
        axis = 1 if index == 0 else 0
        joined[index] = values[0] if len(values) == 1 else emitter.add("Concat", values, {"axis": axis})
    return joined


def read_outputs(node: ir.Node, joined: Mapping[int, ir.Value]) -> dict[ir.Value, ir.Value]:
    """Return the new value for each output of `node` that is read."""
    return {old: joined[index] for index, old in enumerate(node.outputs) if old.uses() or old.is_graph_output()}
