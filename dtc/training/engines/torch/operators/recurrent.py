"""RNN, LSTM and GRU: by torch's own layers where the node is one of them, else step by step.

Torch's layers want the gates in another order and no more than one kind of bias added up; the weights keep the order of
ONNX, and are put in torch's order at each call, so that gradients come back in the order of ONNX.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from dtc.training.engines.torch.calls import Call, operator
from dtc.training.engines.torch.operators.shaping import reversed_steps

Activation = Callable[[Tensor], Tensor]

# In which order torch wants the gates of ONNX: LSTM has i o f c, torch i f c o; GRU has z r h, torch r z h.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}

# The weights of ONNX are none of cuDNN's, which it brings together for each call, and complains.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk of memory")


@dataclass(frozen=True)
class _Node:
    """A recurrent node: x `[T, N, I]`, weights `[D, gates H, ...]`, states `[D, N, H]`, lengths `[N]`."""

    call: Call
    x: Tensor
    W: Tensor
    R: Tensor
    B: Tensor | None
    lengths: Tensor | None
    h: Tensor
    c: Tensor | None
    P: Tensor | None

    @property
    def kind(self) -> str:
        return self.call.node.op_type

    @property
    def directions(self) -> list[bool]:
        """For each direction whether it runs backwards."""
        return {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
            self.call.text("direction", "forward")
        ]

    def activations(self) -> list[str]:
        """The names of the activations of all directions."""
        return self.call.texts("activations") or _DEFAULTS[self.kind] * len(self.directions)


@operator("LSTM", "GRU", "RNN", numbers=(4,))
def _recurrent(
    call: Call,
    x: Tensor,
    W: Tensor,
    R: Tensor,
    B: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    P: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Compute Y `[T, D, N, H]`, Y_h and, of LSTM, Y_c `[D, N, H]`; with `layout` 1 samples come first everywhere."""
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # On a CPU torch trains no recurrent layer in half precision.
        with torch.autocast("cpu", enabled=False):
            wide = [None if each is None else each.float() for each in (h, c, P)]
            return _recurrent(call, x.float(), W, R, B, lengths, *wide)
    turned = bool(call.integer("layout"))
    if turned:
        x, h, c = x.transpose(0, 1), _turned(h), _turned(c)
    zeros = x.new_zeros(W.shape[0], x.shape[1], R.shape[-1])
    if call.node.op_type == "LSTM":
        c = zeros if c is None else c
    node = _Node(call, x, W, R, B, lengths, zeros if h is None else h, c, P)
    y, h, c = _layer(node) if _is_layer(node) else _steps(node)
    if turned:
        y, h, c = y.permute(2, 0, 1, 3), h.transpose(0, 1), _turned(c)
    return (y, h) if c is None else (y, h, c)


def _turned(state: Tensor | None) -> Tensor | None:
    return None if state is None else state.transpose(0, 1)


def _is_layer(node: _Node) -> bool:
    """True where torch has a layer that computes what the node computes."""
    call = node.call
    plain = node.P is None and not call.has("clip") and not call.integer("input_forget")
    defaults = node.activations() == _DEFAULTS[node.kind] * len(node.directions)
    if node.kind == "RNN":
        defaults = len(set(node.activations())) == 1 and node.activations()[0] in ("Tanh", "Relu")
    before = node.kind != "GRU" or bool(call.integer("linear_before_reset"))
    whole = node.lengths is None or bool((node.lengths > 0).all())
    return plain and defaults and before and whole


def _layer(node: _Node) -> tuple[Tensor, Tensor, Tensor | None]:
    kind, backwards = node.kind, node.directions
    # Torch has no layer that runs backwards alone: the steps are turned around, before and after.
    alone = backwards == [True]
    x = reversed_steps(node.x, node.lengths) if alone else node.x
    weights = _weights(node)
    state: Any = (node.h, node.c) if kind == "LSTM" else node.h
    has_biases, two = node.B is not None, len(backwards) == 2
    run = {
        "LSTM": torch._VF.lstm,  # type: ignore[attr-defined]  # noqa: SLF001 - what nn.LSTM calls, without a module
        "GRU": torch._VF.gru,  # type: ignore[attr-defined]  # noqa: SLF001
        "RNN": torch._VF.rnn_relu if node.activations()[0] == "Relu" else torch._VF.rnn_tanh,  # type: ignore[attr-defined]  # noqa: SLF001
    }[kind]
    if node.lengths is None:
        y, h, *c = run(x, state, weights, has_biases, 1, 0.0, torch.is_grad_enabled(), two, False)
    else:
        y, h, *c = _packed(run, node, x, state, weights, has_biases=has_biases, two=two)
    # y is [T, N, D H].
    y = y.reshape(x.shape[0], x.shape[1], len(backwards), -1).permute(0, 2, 1, 3)
    if alone:
        y = reversed_steps(y.transpose(1, 2), node.lengths).transpose(1, 2)
    return y, h, c[0] if c else None


def _packed(
    run: Callable[..., Any], node: _Node, x: Tensor, state: Any, weights: list[Tensor], *, has_biases: bool, two: bool
) -> tuple[Tensor, ...]:
    """Run a layer on sequences of several lengths, which torch wants sorted; outputs beyond a length are zero."""
    assert node.lengths is not None
    lengths = node.lengths.to(device="cpu", dtype=torch.int64)
    order = torch.sort(lengths, descending=True, stable=True).indices
    back = order.argsort()
    data, sizes, *_ = pack_padded_sequence(x.index_select(1, order.to(x.device)), lengths[order])
    sorted_state = tuple(
        s.index_select(1, order.to(x.device)) for s in (state if isinstance(state, tuple) else [state])
    )
    given = sorted_state if isinstance(state, tuple) else sorted_state[0]
    y, *states = run(data, sizes, given, weights, has_biases, 1, 0.0, torch.is_grad_enabled(), two)
    # Row t of a sorted batch holds the samples that have a step t: written at [t, :size].
    whole = x.new_zeros(x.shape[0], x.shape[1], y.shape[-1])
    inside = torch.arange(x.shape[0])[:, None] < lengths[order][None]
    whole = whole.masked_scatter(inside.to(x.device)[..., None].expand_as(whole), y)
    here = back.to(x.device)
    return whole.index_select(1, here), *(state.index_select(1, here) for state in states)


def _weights(node: _Node) -> list[Tensor]:
    """Return the weights of all directions, one after the other, in torch's order of gates."""
    order, wanted = _GATES[node.kind], [node.W, node.R]
    if order != (0,):
        wanted = [_GatesMoved.apply(each, order) for each in wanted]
    if node.B is not None:
        # Both kinds of bias, `[D, 2 gates H]`, are moved as one.
        twice = order + tuple(len(order) + gate for gate in order)
        biases = node.B if order == (0,) else _GatesMoved.apply(node.B, twice)
        wanted += biases.chunk(2, 1)
    # A weight of one direction is a view, whose gradient needs no copy.
    parts = [(each.squeeze(0),) if each.shape[0] == 1 else each.unbind(0) for each in wanted]
    return [each for direction in zip(*parts, strict=True) for each in direction]


class _GatesMoved(torch.autograd.Function):
    """A weight `[D, gates H, ...]` with its gates in another order: gate `order[k]` comes to place `k`.

    By hand, because autograd would fill a weight of zeros for the gradient of each gate, and add them up: a seventh of
    a training step of two layers of 650.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, order: tuple[int, ...]) -> Tensor:  # type: ignore[override]
        ctx.back = tuple(order.index(gate) for gate in range(len(order)))
        return weight.index_select(1, _rows(order, weight.shape[1], weight.device))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient.index_select(1, _rows(ctx.back, gradient.shape[1], gradient.device)), None


@cache
def _rows(order: tuple[int, ...], count: int, device: torch.device) -> Tensor:
    """Return which of `count` rows come where when gates do, on the device: one call of it moves a weight."""
    return torch.arange(count).view(len(order), -1)[list(order)].reshape(-1).to(device)


def _steps(node: _Node) -> tuple[Tensor, Tensor, Tensor | None]:
    outputs = [_direction(node, number, backwards) for number, backwards in enumerate(node.directions)]
    y = torch.stack([each[0] for each in outputs], 1)
    h = torch.stack([each[1] for each in outputs])
    if node.c is None:
        return y, h, None
    return y, h, torch.stack([each[2] for each in outputs if each[2] is not None])


def _direction(node: _Node, number: int, backwards: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    x = reversed_steps(node.x, node.lengths) if backwards else node.x
    kinds: dict[str, Callable[[_Node, int], _Cell]] = {"LSTM": _LstmCell, "GRU": _GruCell, "RNN": _RnnCell}
    cell = kinds[node.kind](node, number)
    # The products with the inputs of all steps at once; what is left in the loop depends on the step before.
    projected = x @ node.W[number].transpose(0, 1) + cell.bias
    h, c = node.h[number], None if node.c is None else node.c[number]
    outputs = []
    for step, row in enumerate(projected.unbind(0)):
        new_h, new_c = cell.step(row, h, c)
        if node.lengths is not None:
            # A sample that has ended keeps its state, and gives zeros.
            goes_on = (step < node.lengths.to(x.device))[:, None]
            outputs.append(torch.where(goes_on, new_h, torch.zeros_like(new_h)))
            new_h = torch.where(goes_on, new_h, h)
            new_c = None if new_c is None or c is None else torch.where(goes_on, new_c, c)
        else:
            outputs.append(new_h)
        h, c = new_h, new_c
    y = torch.stack(outputs) if outputs else x.new_zeros(0, *h.shape)
    return reversed_steps(y, node.lengths) if backwards else y, h, c


class _Cell(ABC):
    """One step of a direction, with the activations and the clipping of the node."""

    def __init__(self, node: _Node, number: int) -> None:
        call, gates = node.call, len(_GATES[node.kind])
        self.R = node.R[number].transpose(0, 1)
        self.P = None if node.P is None else node.P[number].chunk(3)
        biases = [None, None] if node.B is None else list(node.B[number].chunk(2))
        self.input_bias, self.recurrent_bias = biases
        self.hidden = node.R.shape[-1]
        self.clip = call.real("clip") if call.has("clip") else None
        self.coupled = bool(call.integer("input_forget"))
        self.linear_before_reset = bool(call.integer("linear_before_reset"))
        self.functions = _activations(node, number, max(gates - 1, 1))
        self.bias: Tensor | float = 0.0 if node.B is None else self._bias()

    def _bias(self) -> Tensor:
        assert self.input_bias is not None
        assert self.recurrent_bias is not None
        return self.input_bias + self.recurrent_bias

    @abstractmethod
    def step(self, row: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the next states; `row` is the product with the step's input, biases added."""

    def limited(self, x: Tensor) -> Tensor:
        """Return `x` clipped as the node says."""
        return x if self.clip is None else x.clamp(-self.clip, self.clip)


class _RnnCell(_Cell):
    def step(self, row: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self.functions[0](self.limited(row + h @ self.R)), None


class _LstmCell(_Cell):
    def step(self, row: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        assert c is not None
        gate, cell, out = self.functions
        i, o, f, new = (row + h @ self.R).chunk(4, -1)
        # Peepholes: p_i and p_f look at the old cell, p_o at the new one.
        if self.P is not None:
            i, f = i + self.P[0] * c, f + self.P[2] * c
        i = gate(self.limited(i))
        f = 1 - i if self.coupled else gate(self.limited(f))
        c = f * c + i * cell(self.limited(new))
        o = o if self.P is None else o + self.P[1] * c
        return gate(self.limited(o)) * out(c), c


class _GruCell(_Cell):
    def _bias(self) -> Tensor:
        assert self.input_bias is not None
        assert self.recurrent_bias is not None
        # With linear_before_reset the recurrent bias of the hidden gate is inside of the reset.
        if not self.linear_before_reset:
            return self.input_bias + self.recurrent_bias
        inner = torch.cat(
            [self.recurrent_bias[: 2 * self.hidden], torch.zeros_like(self.recurrent_bias[: self.hidden])]
        )
        return self.input_bias + inner

    def step(self, row: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        gate, hidden = self.functions
        size = 2 * self.hidden
        z, r = gate(self.limited(row[:, :size] + h @ self.R[:, :size])).chunk(2, -1)
        if self.linear_before_reset:
            inner = h @ self.R[:, size:]
            inner = inner if self.recurrent_bias is None else inner + self.recurrent_bias[size:]
            new = row[:, size:] + r * inner
        else:
            new = row[:, size:] + (r * h) @ self.R[:, size:]
        return (1 - z) * hidden(self.limited(new)) + z * h, None


def _activations(node: _Node, number: int, count: int) -> list[Activation]:
    """Return the activations of a direction; alpha and beta are given in order to those that have them."""
    names = node.activations()
    alphas, betas = iter(node.call.reals("activation_alpha") or []), iter(node.call.reals("activation_beta") or [])
    made = [_activation(node.call, name, alphas, betas) for name in names]
    return made[number * count : (number + 1) * count]


_ALPHAS = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "Elu": 1.0}


def _activation(call: Call, name: str, alphas: Any, betas: Any) -> Activation:
    simple: dict[str, Activation] = {
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "Relu": torch.relu,
        "Softsign": torch.nn.functional.softsign,
        "Softplus": torch.nn.functional.softplus,
    }
    if name in simple:
        return simple[name]
    if name in ("Affine", "HardSigmoid", "ScaledTanh"):
        default = (0.2, 0.5) if name == "HardSigmoid" else (1.0, 0.0) if name == "Affine" else (1.0, 1.0)
        alpha, beta = next(alphas, default[0]), next(betas, default[1])
        two: dict[str, Activation] = {
            "Affine": lambda x: alpha * x + beta,
            "HardSigmoid": lambda x: (alpha * x + beta).clamp(0, 1),
            "ScaledTanh": lambda x: alpha * torch.tanh(beta * x),
        }
        return two[name]
    if name not in _ALPHAS:
        raise call.refuse(f"the torch engine does not know the activation {name}")
    slope = next(alphas, _ALPHAS[name])
    one: dict[str, Activation] = {
        "LeakyRelu": lambda x: torch.where(x >= 0, x, slope * x),
        "ThresholdedRelu": lambda x: torch.where(x > slope, x, torch.zeros_like(x)),
        "Elu": lambda x: torch.nn.functional.elu(x, slope),
    }
    return one[name]
