"""Word-level LSTM language models for the Penn Treebank.

`ptb-small`, `ptb-medium`, `ptb-large`: W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network regularization,
2014 (arXiv 1409.2329); two layers, dropout on the non-recurrent connections only, two bias vectors a layer as in the
authors' code. `ptb-300`: one layer of 300, C. Xu et al., Alternating multi-bit quantization for recurrent neural
networks, ICLR 2018 (arXiv 1802.00150).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from pydantic import Field

from dtc.models.net import Net
from dtc.models.reference import ModelOptions, Reference
from dtc.recipe import Data, Objective, Optimizer, Recipe, Schedule, Training


class LanguageModelOptions(ModelOptions):
    """Options of the language models."""

    vocabulary: int = Field(10_000, ge=2, le=1 << 24, description="number of words")
    tied: bool = Field(default=False, description="read the embedding, transposed, as the output weight too")
    dropout: float | None = Field(None, ge=0, lt=1, description="share dropped; the paper's if not given")
    width: int | None = Field(None, ge=1, le=1 << 14, description="units of a layer; the paper's if not given")


@dataclass(frozen=True)
class Size:
    """The size of a model of the papers; `limit` bounds the initial weights, `dropped` is 1 - keep probability."""

    layers: int
    width: int
    limit: float
    dropped: float


SMALL = Size(layers=2, width=200, limit=0.1, dropped=0.0)
MEDIUM = Size(layers=2, width=650, limit=0.05, dropped=0.5)
LARGE = Size(layers=2, width=1500, limit=0.04, dropped=0.65)
SINGLE_300 = Size(layers=1, width=300, limit=0.1, dropped=0.5)


def build_language_model(size: Size, options: LanguageModelOptions) -> ir.Model:
    """Return the model: ids int64 `[T, N]`, h0 and c0 `[layers, N, width]`; logits `[T, N, V]`, hn and cn.

    The states of all layers are one input and one output each, so that `hn=h0, cn=c0` carries any of these models.
    """
    net = Net("language-model", options.seed)
    dropped = size.dropped if options.dropout is None else options.dropout
    state_shape: list[int | str] = [size.layers, "N", size.width]
    ids = net.input("ids", ir.DataType.INT64, ["T", "N"])
    h0 = net.input("h0", ir.DataType.FLOAT, state_shape)
    c0 = net.input("c0", ir.DataType.FLOAT, state_shape)
    embedding = net.uniform("embedding.weight", (options.vocabulary, size.width), size.limit)
    x = net.dropout("drop0", net.op("Gather", "embedding", [embedding, ids]), dropped)
    direction = net.constant("direction_axis", np.array([1], np.int64))
    last: list[tuple[ir.Value, ir.Value]] = []
    # h0 [layers, N, width] -> [1, N, width] a layer; x [T, N, width] -> y [T, 1, N, width] -> [T, N, width]
    starts = zip(_per_layer(net, "h0", h0, size.layers), _per_layer(net, "c0", c0, size.layers), strict=True)
    for layer, start in enumerate(starts, 1):
        y, *state = _lstm(net, f"lstm{layer}", x, start, size)
        last.append((state[0], state[1]))
        x = net.dropout(f"drop{layer}", net.op("Squeeze", f"lstm{layer}.flat", [y, direction]), dropped)
    logits = _softmax_layer(net, x, embedding, size, options)
    hn = _stacked(net, "hn", [h for h, _ in last])
    cn = _stacked(net, "cn", [c for _, c in last])
    return net.model(
        {"logits": (logits, ["T", "N", options.vocabulary]), "hn": (hn, state_shape), "cn": (cn, state_shape)}
    )


def _lstm(net: Net, name: str, x: ir.Value, start: tuple[ir.Value, ir.Value], size: Size) -> list[ir.Value]:
    """Return y `[T, 1, N, width]` and the last h and c of one LSTM layer: gates i o f c, no peepholes."""
    width = size.width
    weights = [net.uniform(f"{name}.{kind}", (1, 4 * width, width), size.limit) for kind in ("W", "R")]
    # [1, 8 width]: the 4 biases of W, then the 4 of R; their sum is all that counts, but papers' code has both.
    bias = net.uniform(f"{name}.B", (1, 8 * width), size.limit)
    outputs = [f"{name}.y", f"{name}.h", f"{name}.c"]
    return net.ops("LSTM", name, [x, *weights, bias, None, *start], outputs, hidden_size=width)


def _softmax_layer(net: Net, x: ir.Value, embedding: ir.Value, size: Size, options: LanguageModelOptions) -> ir.Value:
    if options.tied:
        # embedding [V, width] -> [width, V]: one initializer with two readers, a single site.
        weight = net.op("Transpose", "softmax.weight", [embedding], perm=[1, 0])
    else:
        weight = net.uniform("softmax.weight", (size.width, options.vocabulary), size.limit)
    bias = net.uniform("softmax.bias", (options.vocabulary,), size.limit)
    return net.op("Add", "softmax.shifted", [net.op("MatMul", "softmax", [x, weight]), bias])


def _per_layer(net: Net, name: str, states: ir.Value, layers: int) -> list[ir.Value]:
    """Cut `[layers, N, width]` into the `[1, N, width]` of each layer."""
    if layers == 1:
        return [states]
    # The sizes are given as an input: it is how opsets 13 and 18 write the same thing.
    sizes = net.constant(f"{name}.sizes", np.ones(layers, np.int64))
    return net.ops("Split", f"{name}.split", [states, sizes], [f"{name}.{i}" for i in range(1, layers + 1)], axis=0)


def _stacked(net: Net, name: str, states: list[ir.Value]) -> ir.Value:
    return states[0] if len(states) == 1 else net.op("Concat", name, states, axis=0)


def _plan(steps: str, unroll: int, clip: float, epochs: int, schedule: Schedule, learning_rate: float = 1.0) -> Recipe:
    """Return the plan of a model whose paper sums the loss over the `unroll` time steps of a chunk.

    dtc's loss is the mean over them: the same steps are taken with the rate times, and the clip over, `unroll`.
    """
    # Zaremba et al., 20 steps: the gradient g of their sum is 20 times that of the mean, m. Clipped at 5 and times rate
    # 1, it is the same step as m clipped at 5 / 20 and times rate 20.
    optimizer = Optimizer(kind="sgd", learning_rate=learning_rate * unroll, clip_norm=clip / unroll)
    return Recipe(
        objective=Objective(loss="cross-entropy", output="logits", metric="perplexity", carry={"hn": "h0", "cn": "c0"}),
        data=Data(train=f"dtc.models.datasets:{steps}", evaluate="dtc.models.datasets:ptb_valid", batch_size=20),
        training=Training(epochs=epochs, optimizer=optimizer, schedule=schedule),
    )


def _builder(size: Size) -> Callable[[LanguageModelOptions], ir.Model]:
    return lambda options: build_language_model(replace(size, width=options.width or size.width), options)


def _decay(after: int, divisor: float) -> Schedule:
    return Schedule(kind="decay", after=after, factor=1 / divisor)


_PLANS = {
    "small": _plan("ptb_20", 20, clip=5, epochs=13, schedule=_decay(4, 2)),
    "medium": _plan("ptb", 35, clip=5, epochs=39, schedule=_decay(6, 1.2)),
    "large": _plan("ptb", 35, clip=10, epochs=55, schedule=_decay(14, 1.15)),
    # Xu et al. take the mean already, and decay by 1.2 when validation stops improving: about from epoch 6 on.
    "300": _plan("ptb_30", 1, clip=0.25, epochs=40, schedule=_decay(6, 1.2), learning_rate=20.0),
}

REFERENCES = tuple(
    Reference(f"ptb-{name}", title, LanguageModelOptions, _builder(size), _PLANS[name])
    for name, title, size in (
        ("small", "two LSTM layers of 200 (Penn Treebank)", SMALL),
        ("medium", "two LSTM layers of 650, dropout 0.5 (Penn Treebank)", MEDIUM),
        ("large", "two LSTM layers of 1500, dropout 0.65 (Penn Treebank)", LARGE),
        ("300", "one LSTM layer of 300, dropout 0.5 (Penn Treebank)", SINGLE_300),
    )
)
