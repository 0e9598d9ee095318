"""The cells of LSTM, GRU and RNN: their settings as a node's attributes give them, and the nodes of one step.

A step is written once, for the body of a Scan and for every step of an unrolled node. With x the input part of the
gates, biases added, h and c the states, P the peepholes, `*` by element, f, g and out the activations:

    LSTM, gates in the order i o f c, peepholes in the order i o f
        i = f(x_i + h R_i' + P_i * c)        k = f(x_f + h R_f' + P_f * c)        e = g(x_c + h R_c')
        c_new = k * c + i * e                o = f(x_o + h R_o' + P_o * c_new)    h_new = o * out(c_new)
    GRU, gates in the order z r h
        z = f(x_z + h R_z')                  r = f(x_r + h R_r')
        e = g(x_h + (r * h) R_h')            or, with `linear_before_reset`, g(x_h + r * (h R_h' + b))
        h_new = (1 - z) * e + z * h
    RNN
        h_new = f(x + h R')

`clip` bounds what enters f and g, not what enters out. Beyond a sample's end states are held and the output is zero.
Source: the ONNX operators LSTM, GRU and RNN, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from dtc.graph.builder import Builder

ACTIVATIONS = {name.lower(): name for name in ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus")}
"""The activations of ONNX that are an operator too and have no parameters, by their names in small letters."""


@dataclass(frozen=True)
class Cell:
    """The settings of one direction of a recurrent node, from the node's attributes."""

    op_type: str
    hidden: int
    reverse: bool
    activations: tuple[str, ...]
    clip: float | None
    linear_before_reset: bool


class RecurrentWeight(Protocol):
    """The recurrent product `h R^T` in whatever form `R` has."""

    def begin(self, body: Builder, state: ir.Value) -> ir.Value:
        """Return the part of the product common to all gates: `state` `[batch, hidden]` itself, or its projection."""
        ...

    def finish(self, body: Builder, begun: ir.Value, gates: str, addend: ir.Value | None) -> ir.Value:
        """Return the product for some gates, plus `addend`: "iofc"; "zr", "h" of a GRU; "i" of an RNN."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """The parameters that every step of one direction computes with.

    Attributes:
        cell: The attributes.
        weight: The recurrent product.
        peepholes: Those of i, o and f, `[hidden]` each; none: the node has none.
        hidden_bias: The b of `linear_before_reset`, `[hidden]`; all other biases are in the input part.
    """

    cell: Cell
    weight: RecurrentWeight
    peepholes: tuple[ir.Value, ...] = ()
    hidden_bias: ir.Value | None = None


def step(
    body: Builder, r: Recurrence, states: Sequence[ir.Value], inputs: Sequence[ir.Value], begun: ir.Value
) -> list[ir.Value]:
    """Add the nodes of one step and return the new states.

    Args:
        body: Takes the nodes.
        r: What to compute with.
        states: `[batch, hidden]` each: h, and c of an LSTM.
        inputs: The input part of the gates: `[batch, 4 hidden]` of an LSTM; of a GRU `[batch, 2 hidden]` for z and r,
            and `[batch, hidden]`; `[batch, hidden]` of an RNN.
        begun: What the weight's `begin` made of h.
    """
    return _STEPS[r.cell.op_type](body, r, states, inputs, begun)


def _lstm_step(
    body: Builder, r: Recurrence, states: Sequence[ir.Value], inputs: Sequence[ir.Value], begun: ir.Value
) -> list[ir.Value]:
    """Return the new h and c."""
    # gates [batch, 4 hidden] in the order i o f c, which is ONNX's; h R' of all four is one product.
    c, hidden, (f, g, out) = states[1], r.cell.hidden, r.cell.activations
    gates = r.weight.finish(body, begun, "iofc", inputs[0])
    if r.peepholes:
        # A peephole is added to its gate alone, so each gate has an activation of its own.
        i_gate, o_gate, f_gate, c_gate = body.split(gates, [hidden] * 4, 1)
        i_gate = _gate(body, r, f, _peep(body, i_gate, r.peepholes[0], c))
        f_gate = _gate(body, r, f, _peep(body, f_gate, r.peepholes[2], c))
        c_gate = _gate(body, r, g, c_gate)
    else:
        # i, o and f lie side by side and share one activation: a node costs more than its numbers here.
        iof, c_gate = body.split(_clipped(body, r, gates), [3 * hidden, hidden], 1)
        i_gate, o_gate, f_gate = body.split(body.op(f, [iof]), [hidden] * 3, 1)
        c_gate = body.op(g, [c_gate])
    kept, written = body.op("Mul", [f_gate, c]), body.op("Mul", [i_gate, c_gate])
    new_c = body.op("Add", [kept, written])
    # The output gate looks at the new c, the other gates at the old one.
    if r.peepholes:
        o_gate = _gate(body, r, f, _peep(body, o_gate, r.peepholes[1], new_c))
    return [body.op("Mul", [o_gate, body.op(out, [new_c])]), new_c]


def _gru_step(
    body: Builder, r: Recurrence, states: Sequence[ir.Value], inputs: Sequence[ir.Value], begun: ir.Value
) -> list[ir.Value]:
    """Return the new h."""
    # z and r come from one product, [batch, 2 hidden]; the candidate needs r first, so its product comes after.
    h, (f, g) = states[0], r.cell.activations
    gates = _gate(body, r, f, r.weight.finish(body, begun, "zr", inputs[0]))
    update, reset = body.split(gates, [r.cell.hidden] * 2, 1)
    # The order of reset and product: r * (h R_h' + b), or (r * h) R_h'. Only the first can use the h that `begun` was
    # made of; the second begins anew with r * h.
    if r.cell.linear_before_reset:
        recalled = body.op("Mul", [reset, r.weight.finish(body, begun, "h", r.hidden_bias)])
        candidate = body.op("Add", [inputs[1], recalled])
    else:
        begun = r.weight.begin(body, body.op("Mul", [reset, h]))
        candidate = r.weight.finish(body, begun, "h", inputs[1])
    candidate = _gate(body, r, g, candidate)
    # (1 - z) candidate + z h, in one node less
    change = body.op("Mul", [update, body.op("Sub", [h, candidate])])
    return [body.op("Add", [candidate, change])]


def _rnn_step(
    body: Builder, r: Recurrence, _: Sequence[ir.Value], inputs: Sequence[ir.Value], begun: ir.Value
) -> list[ir.Value]:
    """Return the new h."""
    return [_gate(body, r, r.cell.activations[0], r.weight.finish(body, begun, "i", inputs[0]))]


_STEPS = {"LSTM": _lstm_step, "GRU": _gru_step, "RNN": _rnn_step}


def _gate(body: Builder, r: Recurrence, activation: str, value: ir.Value) -> ir.Value:
    return body.op(activation, [_clipped(body, r, value)])


def _clipped(body: Builder, r: Recurrence, value: ir.Value) -> ir.Value:
    return value if r.cell.clip is None else body.clip(value, -r.cell.clip, r.cell.clip)


def _peep(body: Builder, gate: ir.Value, weight: ir.Value, c: ir.Value) -> ir.Value:
    return body.op("Add", [gate, body.op("Mul", [weight, c])])


def hold(body: Builder, inside: ir.Value, new: Sequence[ir.Value], old: Sequence[ir.Value]) -> list[ir.Value]:
    """Return states that are new where `inside`, bool `[batch, 1]`, and old beyond the end of a sample."""
    return [body.op("Where", [inside, after, before]) for after, before in zip(new, old, strict=True)]


def silence(body: Builder, inside: ir.Value, outputs: Sequence[ir.Value]) -> list[ir.Value]:
    """Return the outputs of a step where `inside`, bool `[batch, 1]`, and zeros beyond the end of a sample."""
    zero = body.constant(0.0)
    return [body.op("Where", [inside, output, zero]) for output in outputs]


def zero_state(builder: Builder, x: ir.Value, hidden: int) -> ir.Value:
    """Return the initial state of a node without one: zeros `[batch, hidden]` for x `[T, batch, n]`."""
    # Shape [T, batch, n] -> Gather 1 -> [batch] -> Concat -> [batch, hidden] -> zeros; batch is known only at run time.
    shape = builder.op("Shape", [x], dtype=ir.DataType.INT64)
    batch = builder.op("Gather", [shape, builder.constant([1])], dtype=ir.DataType.INT64)
    sizes = builder.op("Concat", [batch, builder.constant([hidden])], axis=0, dtype=ir.DataType.INT64)
    return builder.op("ConstantOfShape", [sizes], value=ir.tensor([0.0], dtype=builder.dtype))


def cells(node: ir.Node) -> list[Cell]:
    """Return the directions of a recurrent node whose activations are all among `ACTIVATIONS`.

    Raises:
        ValueError: Nothing says how large the state is; see `hidden_size`.
    """
    hidden = hidden_size(node)
    if hidden is None:
        raise ValueError(f"node {node.name!r} ({node.op_type}) has no hidden_size")
    names = activations(node)
    # Activations of all directions stand in one list: a bidirectional LSTM has f g h of forward, then f g h of reverse.
    each = len(_DEFAULTS[node.op_type])
    direction = node.attributes.get_string("direction", "forward")
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction or "forward"]
    clip = node.attributes.get("clip")
    return [
        Cell(
            op_type=node.op_type,
            hidden=hidden,
            reverse=reverse,
            activations=tuple(ACTIVATIONS[name.lower()] for name in names[index * each : (index + 1) * each]),
            clip=clip.as_float() if clip is not None else None,
            linear_before_reset=bool(node.attributes.get_int("linear_before_reset", 0)),
        )
        for index, reverse in enumerate(reverses)
    ]


def hidden_size(node: ir.Node) -> int | None:
    """Return the width of the state of a recurrent node: its attribute `hidden_size`, or else the columns of its R."""
    recurrent = node.inputs[2]
    size: object = node.attributes.get_int("hidden_size", None)
    if size is None and recurrent is not None and recurrent.shape is not None:
        size = recurrent.shape[2]
    return size if isinstance(size, int) else None


def activations(node: ir.Node) -> list[str]:
    """Return the activations of a recurrent node, direction after direction, as the node spells them."""
    return list(node.attributes.get_strings("activations", ()) or default_activations(node))


def default_activations(node: ir.Node) -> list[str]:
    """Return the activations that ONNX gives a recurrent node that names none, direction after direction."""
    directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    return _DEFAULTS[node.op_type] * directions


_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
"""Activations of one direction."""


def has_default_activations(node: ir.Node) -> bool:
    """Return whether a recurrent node has ONNX's default activations, named or not."""
    return [name.lower() for name in activations(node)] == [name.lower() for name in default_activations(node)]
