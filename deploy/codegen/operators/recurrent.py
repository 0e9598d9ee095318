"""LSTM, GRU and RNN, weights in any form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dtc.deploy.codegen.compiling import Compiler, NodeCompiling
from dtc.deploy.codegen.program import AnyArray, Struct, Tensor
from dtc.deploy.codegen.weights.stored import StoredWeight
from dtc.passes.prepare.known_sizes import static_shape

_DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}


def _lstm(at: NodeCompiling) -> None:
    _recurrent(at, gates=4, spare=0, state=("h", "c"))


def _gru(at: NodeCompiling) -> None:
    _recurrent(at, gates=3, spare=4, state=("h",))


def _rnn(at: NodeCompiling) -> None:
    _recurrent(at, gates=1, spare=0, state=("h",))


def _recurrent(at: NodeCompiling, *, gates: int, spare: int, state: tuple[str, ...]) -> None:
    _expect_usual(at)
    x = at.tensor(0)
    at.expect_float(x)
    hidden = at.node.attributes["hidden_size"].as_int()
    direction = at.node.attributes.get_string("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    members: dict[str, Any] = {"steps": x.shape[0], "batch": x.shape[1], "input": x.shape[2], "hidden": hidden}
    members |= {"directions": directions, "reverse": direction == "reverse"}
    members |= {"before_reset": bool(at.node.attributes.get_int("linear_before_reset", 0))}
    members |= {"clip": at.node.attributes.get_float("clip", 0.0)}
    arrays = [at.constant(index, "the weights") for index in (1, 2)]
    # Of all directions, one below the other.
    weights = [at.weight(array.reshape(-1, array.shape[-1]), directions) for array in arrays]
    biases = _biases(at, directions, gates * hidden)
    if at.node.op_type == "LSTM":
        biases.append(at.floats(at.constant(7, "the peepholes")) if at.has(7) else None)
    first = [at.optional(index) for index in (5, 6)[: len(state)]]
    shape = (directions, x.shape[1], hidden)
    y = at.output() if at.writes(0) else None
    kept = [at.output(index) if at.writes(index) else at.memory(shape) for index in range(1, len(state) + 1)]
    steps, batch, _ = x.shape
    members["together"], scratch, work = _of_inputs(at, weights[0], steps, batch, gates * hidden)
    kept_gates = members["together"] * batch * gates * hidden
    memory = at.memory([kept_gates + spare * hidden + max(scratch, weights[1].scratch)])
    work = steps * batch * (work + weights[1].multiply_adds)
    told = Struct("dtc_recurrent_shape", members)
    function = f"dtc_{at.node.op_type.lower()}"
    at.call(function, told, *weights, *biases, x, *first, y, *kept, memory, multiply_adds=work)


def _of_inputs(at: NodeCompiling, weight: StoredWeight, steps: int, batch: int, rows: int) -> tuple[int, int, int]:
    """Return of how many steps the inputs are multiplied at once, the scratch of it, and what each product adds up."""
    kernels = at.graph.kernels
    together = min(steps, kernels.together(steps * batch, weight.cols + rows) // batch)
    if weight.several is None or together * batch < weight.several.least:
        return 1, weight.scratch, weight.multiply_adds
    vectors = math.ceil(together * batch / kernels.width) * kernels.width
    return together, vectors * weight.cols + weight.several.scratch, weight.several.multiply_adds


def _expect_usual(at: NodeCompiling) -> None:
    """Refuse what the kernels do not have.

    Raises:
        ModelError: There is some of it.
    """
    attributes = at.node.attributes
    usual = _DEFAULTS[at.node.op_type]
    asked = [each.lower() for each in attributes.get_strings("activations", [])]
    if asked not in ([], list(usual), list(usual) * 2):
        raise at.refuse(f"activations other than {', '.join(usual)} are not there")
    if attributes.get_int("layout", 0) or attributes.get_int("input_forget", 0):
        raise at.refuse("layout 1 and input_forget are not there")
    steps = static_shape(at.value(0))
    lengths = at.array(4)
    if at.has(4) and (lengths is None or steps is None or np.any(lengths != steps[0])):
        raise at.refuse("sequences of several lengths are not there")


def _biases(at: NodeCompiling, directions: int, rows: int) -> list[Tensor | None]:
    """Return the biases of input and state, each `[directions, rows]`; None where there are none."""
    if not at.has(3):
        return [None, None]
    both: AnyArray = at.constant(3, "the biases").reshape(directions, 2, rows)
    return [at.floats(both[:, 0]), at.floats(both[:, 1])]


COMPILERS: Mapping[str, Compiler] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
