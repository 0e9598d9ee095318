"""The cells of LSTM and GRU: what a node says of them, and the nodes of one step.

Equations and gate orders: ONNX operators LSTM (i o f c) and GRU (z r h), https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from dtc.passes.builder import Builder

ACTIVATIONS = {name.lower(): name for name in ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus")}


class RecurrentWeight(Protocol):
    """The recurrent product `h R^T` in whatever form `R` has; its nodes are added to the Scan's body."""

    def begin(self, body: Builder, state: ir.Value) -> ir.Value:
        """Return what all gates need of `state`, `[batch, hidden]`: the projected state, or the state itself."""
        ...

    def finish(self, body: Builder, begun: ir.Value, gates: str, addend: ir.Value | None) -> ir.Value:
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
    `[T, N, H]`. `state` are the initial states `[N, H]`. `emits_projection`: what `weight.begin` makes of every
    step's output is read by another node too, and is given out.
    """

    cell: Cell
    weight: RecurrentWeight
    inputs: tuple[ir.Value, ...]
    state: tuple[ir.Value, ...]
    peepholes: tuple[ir.Value, ...] = ()
    hidden_bias: ir.Value | None = None
    emits_projection: bool = False


def step(
    body: Builder, d: Direction, states: list[ir.Value], inputs: list[ir.Value], begun: ir.Value
) -> list[ir.Value]:
    """Add the nodes of one step; return the new states. `begun` is what the weight's `begin` made of h."""
    return (_lstm_step if d.cell.op_type == "LSTM" else _gru_step)(body, d, states, inputs, begun)


def _lstm_step(
    body: Builder, d: Direction, states: list[ir.Value], inputs: list[ir.Value], begun: ir.Value
) -> list[ir.Value]:
    """Return the new h and c."""
    c = states[1]
    hidden, (f, g, out) = d.cell.hidden, d.cell.activations
    gates = d.weight.finish(body, begun, "iofc", inputs[0])
    if d.peepholes:
        i_gate, o_gate, f_gate, c_gate = body.split(gates, [hidden] * 4, 1)
        i_gate = _gate(body, d, f, _peep(body, i_gate, d.peepholes[0], c))
        f_gate = _gate(body, d, f, _peep(body, f_gate, d.peepholes[2], c))
        c_gate = _gate(body, d, g, c_gate)
    else:
        gates = body.clip(gates, d.cell.clip) if d.cell.clip is not None else gates
        iof, c_gate = body.split(gates, [3 * hidden, hidden], 1)
        i_gate, o_gate, f_gate = body.split(body.op(f, [iof]), [hidden] * 3, 1)
        c_gate = body.op(g, [c_gate])
    kept, written = body.op("Mul", [f_gate, c]), body.op("Mul", [i_gate, c_gate])
    new_c = body.op("Add", [kept, written])
    if d.peepholes:
        o_gate = _gate(body, d, f, _peep(body, o_gate, d.peepholes[1], new_c))
    return [body.op("Mul", [o_gate, body.op(out, [new_c])]), new_c]


def _gru_step(
    body: Builder, d: Direction, states: list[ir.Value], inputs: list[ir.Value], begun: ir.Value
) -> list[ir.Value]:
    """Return the new h."""
    h = states[0]
    f, g = d.cell.activations
    gates = _gate(body, d, f, d.weight.finish(body, begun, "zr", inputs[0]))
    update, reset = body.split(gates, [d.cell.hidden] * 2, 1)
    if d.cell.linear_before_reset:
        recalled = body.op("Mul", [reset, d.weight.finish(body, begun, "h", d.hidden_bias)])
        candidate = body.op("Add", [inputs[1], recalled])
    else:
        begun = d.weight.begin(body, body.op("Mul", [reset, h]))
        candidate = d.weight.finish(body, begun, "h", inputs[1])
    candidate = _gate(body, d, g, candidate)
    # (1 - z) candidate + z h, in one node less
    change = body.op("Mul", [update, body.op("Sub", [h, candidate])])
    return [body.op("Add", [candidate, change])]


def _gate(body: Builder, d: Direction, activation: str, value: ir.Value) -> ir.Value:
    if d.cell.clip is not None:
        value = body.clip(value, d.cell.clip)
    return body.op(activation, [value])


def _peep(body: Builder, gate: ir.Value, weight: ir.Value, c: ir.Value) -> ir.Value:
    return body.op("Add", [gate, body.op("Mul", [weight, c])])


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


def can_be_scan(node: ir.Node, opset: int) -> bool:
    """True if an LSTM or GRU can become a Scan, which came with operator set 9.

    ONNX Runtime runs no node of layout 1 (batch first) either, so there is nothing to compare with.
    """
    plain = not node.attributes.get_int("layout", 0) and not node.attributes.get_int("input_forget", 0)
    return opset >= 9 and plain and all(name.lower() in ACTIVATIONS for name in _activations(node))


def has_default_activations(node: ir.Node) -> bool:
    """True if an LSTM or GRU has the activations that ONNX gives it where it names none."""
    return [name.lower() for name in _activations(node)] == [name.lower() for name in _default_activations(node)]


def _activations(node: ir.Node) -> list[str]:
    return list(node.attributes.get_strings("activations", ()) or _default_activations(node))


def _default_activations(node: ir.Node) -> list[str]:
    directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    return (["Sigmoid", "Tanh", "Tanh"] if node.op_type == "LSTM" else ["Sigmoid", "Tanh"]) * directions
