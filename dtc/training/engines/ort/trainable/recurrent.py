"""LSTM, GRU and RNN, unrolled: one product over all steps for the input, then one a step for the state, and the gates.

The gates of a step are those of a Scan (`dtc.graph.cells`). Of the recurrent weight, read at each of T steps, the
gradient would be a sum of T matrix products of inner size `batch`. All of it is one product,
dR = sum_t dG_t' H_t-1 = [dG_1; ..; dG_T]' [H_0; ..; H_T-1] of inner size T*batch, so the weight is read through an
alias that the gradient builder does not differentiate, and the product is appended to the gradient graph
(`gradient.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from dtc.errors import EngineError
from dtc.graph.builder import Builder, Shared, replace_node
from dtc.graph.cells import (
    Cell,
    Recurrence,
    activations,
    cells,
    default_activations,
    has_default_activations,
    hidden_size,
    hold,
    silence,
    step,
    zero_state,
)

_INPUTS = {"W": 1, "R": 2, "B": 3, "initial_h": 5, "initial_c": 6, "P": 7}
"""The inputs that each direction has its part of, by ONNX's names."""

_STATES = {"LSTM": ("initial_h", "initial_c"), "GRU": ("initial_h",), "RNN": ("initial_h",)}

_OF_RNN = ["tanh", "relu", "sigmoid"]
"""Activations of an RNN that have a gradient; other cells have ONNX's defaults."""


@dataclass
class Block:
    """Rows of one recurrent weight: `products[t] = states[t] @ rows.T + ...`, by value name."""

    states: list[str] = field(default_factory=list)
    products: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Unrolled:
    """A recurrent node after the rewrite: the blocks of its recurrent weight, row-major over directions."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class _DenseWeight:
    """`h R^T` with the rows of R `[gates * hidden, hidden]` by gates; each product is noted for the gradient of R."""

    rows: Mapping[str, ir.Value]
    blocks: Mapping[str, Block]

    def begin(self, body: Builder, state: ir.Value) -> ir.Value:
        """Return the state itself: the gates have nothing in common."""
        return state

    def finish(self, body: Builder, begun: ir.Value, gates: str, addend: ir.Value | None) -> ir.Value:
        """Return `[batch, gates * hidden]`: one Gemm."""
        product = body.gemm(begun, self.rows[gates], addend, transB=1)
        self.blocks[gates].states.append(str(begun.name))
        self.blocks[gates].products.append(str(product.name))
        return product


@dataclass(frozen=True, kw_only=True)
class _Direction(Recurrence):
    """One direction of a node: the input part of the gates step by step, and the states that it begins with."""

    weight: _DenseWeight
    inputs: Sequence[tuple[ir.Value, ...]]
    state: Sequence[ir.Value]


def unroll(node: ir.Node, length: int, shared: Shared) -> Unrolled:
    """Replace a recurrent node by its steps, for sequences of exactly `length` steps.

    Raises:
        EngineError: Something that ONNX Runtime cannot run or the rewrite does not know; names the node.
    """
    _refuse_untrainable(node)
    build, found = shared.builder(str(node.name)), cells(node)
    insides = _insides(build, _input(node, 4), length)
    # x [T, N, n] as [T N, n]: one product for all steps.
    flat = build.op("Flatten", [node.inputs[0]], axis=-1)
    joined: list[list[ir.Value]] = []
    blocks: list[Block] = []
    for cell, parts in zip(found, _parts(build, node, found), strict=True):
        direction = _direction(build, cell, parts, flat, length)
        outputs, states = _run(build, direction, insides)
        # T outputs [N, H], joined to [T N, H], are read as [T, 1, N, H], and directions joined along axis 1: Y [T, D,
        # N, H]. States [N, H] become [1, N, H], joined along axis 0.
        steps = build.op("Reshape", [build.concat(outputs, 0), build.constant([length, 1, -1, cell.hidden])])
        joined.append([steps, *(build.unsqueeze(state, [0]) for state in states)])
        blocks += direction.weight.blocks.values()
    axes = [1, 0, 0]  # of the directions, in Y, Y_h and Y_c
    read = {index: old for index, old in enumerate(node.outputs) if old.uses() or old.is_graph_output()}
    results = {old: build.concat([each[index] for each in joined], axes[index]) for index, old in read.items()}
    replace_node(node, build, results)
    return Unrolled(tuple(blocks))


def _refuse_untrainable(node: ir.Node) -> None:
    known = default_activations(node)[: {"LSTM": 3, "GRU": 2, "RNN": 1}[node.op_type]]
    if node.op_type == "RNN":
        known, fits = _OF_RNN, all(name.lower() in _OF_RNN for name in activations(node))
    else:
        fits = has_default_activations(node)
    if not fits:
        raise _refusal(node, f"activations {', '.join(activations(node))}; only {', '.join(known)} can be trained")
    if node.attributes.get_int("layout", 0):
        raise _refusal(node, "layout 1, which ONNX Runtime does not run; export it with layout 0")
    if node.attributes.get_int("input_forget", 0):
        raise _refusal(node, "input_forget, which cannot be trained")
    if hidden_size(node) is None:
        raise _refusal(node, "no hidden_size; set the attribute")


def _refusal(node: ir.Node, what: str) -> EngineError:
    return EngineError(f"node {node.name!r} ({node.op_type}): has {what}")


def _parts(build: Builder, node: ir.Node, found: Sequence[Cell]) -> list[dict[str, ir.Value]]:
    """Return the inputs that are given, `[directions, ...]` each, cut into one value `[...]` a direction, by name.

    A state that is left out is made explicit so that every part of every gate has a gradient: the gradient builder
    joins only those parts of a Split that have one.
    """
    x = node.inputs[0]
    assert x is not None
    cut: list[dict[str, ir.Value]] = [{} for _ in found]
    for name, index in _INPUTS.items():
        whole = _input(node, index)
        if whole is not None:
            parts = [build.squeeze(part, [0]) for part in build.split_evenly(whole, len(found), 0)]
        elif name in _STATES[node.op_type]:
            parts = [zero_state(build, x, cell.hidden) for cell in found]
        else:
            continue
        for direction, part in zip(cut, parts, strict=True):
            direction[name] = part
    return cut


def _direction(build: Builder, cell: Cell, parts: Mapping[str, ir.Value], flat: ir.Value, length: int) -> _Direction:
    """Add the product with the input of all steps, `flat [T * batch, n]`, and cut it into steps."""
    ahead, hidden_bias = _biases(build, cell, parts.get("B"))
    gates = build.gemm(flat, parts["W"], ahead, transB=1)
    if cell.op_type != "GRU":
        # 1. LSTM: the gates of a step read the same state, so that one product makes all four. An RNN has but one.
        rows, columns = {"iofc" if cell.op_type == "LSTM" else "i": parts["R"]}, [gates]
    else:
        sizes = [2 * cell.hidden, cell.hidden]
        # 2. GRU: z and r read the state, the candidate reads what the reset gate made of it, so there are two products.
        rows = dict(zip(("zr", "h"), build.split(parts["R"], sizes, 0), strict=True))
        columns = build.split(gates, sizes, 1)
    return _Direction(
        cell=cell,
        weight=_DenseWeight(rows, {name: Block() for name in rows}),
        peepholes=tuple(build.split_evenly(parts["P"], 3, 0)) if "P" in parts else (),
        hidden_bias=hidden_bias,
        inputs=list(zip(*(build.split_evenly(column, length, 0) for column in columns), strict=True)),
        state=[parts[name] for name in _STATES[cell.op_type]],
    )


def _biases(build: Builder, cell: Cell, both: ir.Value | None) -> tuple[ir.Value | None, ir.Value | None]:
    """Return the biases `[gates * hidden]` that are added ahead of the steps, and the one that a reset gate scales."""
    if both is None:
        return None, None
    of_input, of_state = build.split_evenly(both, 2, 0)
    # Usually both biases are just added to the input part, ahead of the steps. With `linear_before_reset` the reset
    # gate scales h R_h' + b_h, so that b_h must wait for the step; the biases of z and r need not.
    if not cell.linear_before_reset:
        return build.op("Add", [of_input, of_state]), None
    sizes = [2 * cell.hidden, cell.hidden]
    (input_zr, input_h), (state_zr, state_h) = (build.split(bias, sizes, 0) for bias in (of_input, of_state))
    return build.concat([build.op("Add", [input_zr, state_zr]), input_h], 0), state_h


def _run(
    build: Builder, direction: _Direction, insides: Sequence[ir.Value] | None
) -> tuple[list[ir.Value], list[ir.Value]]:
    """Add all steps; return the outputs, `[batch, hidden]` each, and the last states."""
    states, length = list(direction.state), len(direction.inputs)
    # The list is filled by index: a reverse direction computes step T-1 first, and its output still stands at T-1.
    outputs: list[ir.Value] = [states[0]] * length
    for t in reversed(range(length)) if direction.cell.reverse else range(length):
        begun = direction.weight.begin(build, states[0])
        new = step(build, direction, states, direction.inputs[t], begun)
        outputs[t] = new[0] if insides is None else silence(build, insides[t], new[:1])[0]
        states = new if insides is None else hold(build, insides[t], new, states)
    return outputs, states


def _insides(build: Builder, lengths: ir.Value | None, length: int) -> list[ir.Value] | None:
    """Return for each step where a sample goes on, bool `[batch, 1]`, for lengths `[batch]`."""
    if lengths is None:
        return None
    # Lengths [3, 1] of two samples in T = 3 steps: [T, N] = [[1, 1], [1, 0], [1, 0]], read as [T N, 1] and cut into T
    # of [N, 1].
    steps = build.constant(np.arange(length, dtype=np.int32)[:, None])
    inside = build.op("Less", [steps, build.unsqueeze(lengths, [0])])
    return build.split_evenly(build.op("Reshape", [inside, build.constant([-1, 1])]), length, 0)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None
