"""What the unrolled LSTM and GRU have in common: directions, masks, and the gradient of the recurrent weight.

A recurrent weight read at each of T steps would get its gradient as a sum of T matrix products of inner size
`batch`. All of it is one product, dR = sum_t dG_t' H_t-1 = [dG_1; ..; dG_T]' [H_0; ..; H_T-1] of inner size
T*batch, so the weight is read through an alias that the gradient builder does not differentiate, and the product
is appended to the gradient graph (`gradient.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from dtc.errors import EngineError
from dtc.training.engines.ort.trainable.builder import Builder


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
class Shape:
    """Sizes and options that both kinds share."""

    hidden: int
    directions: int
    reverse: tuple[bool, ...]
    length: int
    clip: float | None


def read_shape(node: ir.Node, length: int, activations: Sequence[str]) -> Shape:
    """Check the attributes of a recurrent node.

    Raises:
        EngineError: Something that ONNX Runtime cannot run or the rewrite does not know; names the node.
    """
    attributes = node.attributes
    direction = attributes.get_string("direction", "forward") or "forward"
    reverse = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    given = attributes.get_strings("activations", None)
    if given and [name.lower() for name in given] != [name.lower() for name in activations] * len(reverse):
        raise refuse(node, f"activations {', '.join(given)}; only {', '.join(activations)} can be trained")
    if attributes.get_int("layout", 0):
        raise refuse(node, "layout 1, which ONNX Runtime does not run; export it with layout 0")
    if attributes.get_int("input_forget", 0):
        raise refuse(node, "input_forget, which cannot be trained")
    recurrent = node.inputs[2]
    hidden = attributes.get_int("hidden_size", None)
    if hidden is None and recurrent is not None and recurrent.shape is not None:
        hidden = int(str(recurrent.shape[2]))
    if hidden is None:
        raise refuse(node, "no hidden_size; set the attribute")
    clip = attributes.get_float("clip", None)
    return Shape(int(hidden), len(reverse), reverse, length, clip)


def refuse(node: ir.Node, what: str) -> EngineError:
    """Return the error for a recurrent node with something that cannot be trained."""
    return EngineError(f"node {node.name!r} ({node.op_type}): has {what}")


def optional_input(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input, or None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def per_direction(build: Builder, value: ir.Value | None, shape: Shape) -> list[ir.Value | None]:
    """Cut `[directions, ...]` into one value `[...]` a direction."""
    if value is None:
        return [None] * shape.directions
    parts = build.split(value, shape.directions, 0)
    return [build.op("Squeeze", part, build.integers(0)) for part in parts]


def step_masks(build: Builder, lengths: ir.Value | None, shape: Shape) -> list[ir.Value | None]:
    """Return for each step `[batch, 1]`: 1 where the step is inside the sample, 0 where it is padding."""
    if lengths is None:
        return [None] * shape.length
    steps = build.constant(np.arange(shape.length, dtype=np.int32)[:, None])
    inside = build.op("Less", steps, build.op("Unsqueeze", lengths, build.integers(0)))
    floats = build.op("Cast", inside, to=int(ir.DataType.FLOAT))
    column = build.op("Reshape", floats, build.integers(-1, 1))
    return list(build.split(column, shape.length, 0))


def zero_state(build: Builder, inputs: ir.Value, shape: Shape) -> ir.Value:
    """Return zeros `[batch, hidden]` for inputs `[steps*batch, width]`.

    A state that is left out is made explicit so that every part of every gate has a gradient: the gradient builder
    joins only those parts of a Split that have one.
    """
    rows = build.op("Slice", build.op("Shape", inputs), build.integers(0), build.integers(1))
    batch = build.op("Div", rows, build.integers(shape.length))
    return build.op("ConstantOfShape", build.op("Concat", batch, build.integers(shape.hidden), axis=0))


def hold(build: Builder, new: ir.Value, old: ir.Value | None, mask: ir.Value | None) -> ir.Value:
    """Return `new` inside the sample and `old` at padded steps."""
    if mask is None:
        return new
    return build.op("Add", old, build.op("Mul", build.op("Sub", new, old), mask))


def clipped(build: Builder, value: ir.Value, shape: Shape) -> ir.Value:
    """Return what enters an activation."""
    if not shape.clip:
        return value
    low, high = (build.constant(np.array(bound, dtype=np.float32)) for bound in (-shape.clip, shape.clip))
    return build.op("Clip", value, low, high)


def product(build: Builder, block: Block, state: ir.Value, weight: ir.Value, addend: ir.Value | None) -> ir.Value:
    """Return `state @ weight.T + addend` and note it for the gradient of `weight`."""
    inputs = [state, weight] if addend is None else [state, weight, addend]
    result = build.op("Gemm", *inputs, transB=1)
    block.states.append(str(state.name))
    block.products.append(str(result.name))
    return result


def join_steps(build: Builder, outputs: Sequence[ir.Value], shape: Shape) -> ir.Value:
    """Return T values `[batch, hidden]` as `[T, 1, batch, hidden]`."""
    return build.op("Reshape", build.concat(outputs, 0), build.integers(shape.length, 1, -1, shape.hidden))


def join_states(build: Builder, states: Sequence[ir.Value]) -> ir.Value:
    """Return a state `[batch, hidden]` a direction as `[directions, batch, hidden]`."""
    return build.concat([build.op("Unsqueeze", state, build.integers(0)) for state in states], 0)
