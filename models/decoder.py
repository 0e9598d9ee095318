"""What language models that continue a text have in common, as exporters write them: inputs, weights, outputs."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import onnx_ir as ir
from pydantic import Field, model_validator

from dtc.models.drawn import WeightDraws
from dtc.models.net import Net
from dtc.models.reference import ModelOptions

_BATCH, _NEW, _PAST, _SEEN = "batch_size", "sequence_length", "past_sequence_length", "total_sequence_length"


class DecoderOptions(ModelOptions):
    """Sizes of a decoder, and what its weights are stored as."""

    width: int = Field(2048, ge=8, le=1 << 15, description="numbers that stand for a token")
    layers: int = Field(4, ge=1, le=1000, description="number of layers")
    heads: int = Field(16, ge=1, le=256, description="heads of attention")
    vocabulary: int = Field(32_000, ge=2, le=1 << 20, description="number of tokens")
    positions: int = Field(2048, ge=2, le=1 << 20, description="longest sequence")
    dtype: Literal["float32", "float16"] = "float32"
    tied: bool = Field(default=False, description="read the embedding, transposed, as the output weight too")

    @model_validator(mode="after")
    def _heads_fit(self) -> DecoderOptions:
        if self.width % (2 * self.heads):
            raise ValueError(f"{self.heads} heads of an even size do not fill a width of {self.width}")
        return self

    @property
    def head_size(self) -> int:
        """Numbers of a head."""
        return self.width // self.heads

    @property
    def float_type(self) -> ir.DataType:
        """The type of weights and of what lies between nodes."""
        return ir.DataType.FLOAT if self.dtype == "float32" else ir.DataType.FLOAT16


class Seen(NamedTuple):
    """The keys and values of a layer, `[batch, heads, tokens, head size]`."""

    key: ir.Value
    value: ir.Value


class Decoder:
    """A decoder under construction.

    Attributes:
        options: Its sizes.
        net: Its graph.
        draw: Its weights.
        ids: Tokens, int64 `[batch, sequence]`.
        mask: int64 `[batch, total]`, 1 where there is a token, those of the past included.
    """

    def __init__(self, name: str, options: DecoderOptions, key_heads: int, domains: tuple[str, ...] = ()) -> None:
        self.options, self.net = options, Net(name, options.seed, domains)
        self.draw = WeightDraws(options.seed, options.float_type)
        self._key_heads = key_heads
        self._present: dict[str, ir.Value] = {}
        self._integers: dict[tuple[int, ...], ir.Value] = {}
        self.ids = self.net.input("input_ids", ir.DataType.INT64, [_BATCH, _NEW])
        self.mask = self.net.input("attention_mask", ir.DataType.INT64, [_BATCH, _SEEN])

    def positions(self) -> ir.Value:
        """Add the input that tells where each token stands, int64 `[batch, sequence]`."""
        return self.net.input("position_ids", ir.DataType.INT64, [_BATCH, _NEW])

    def past(self, layer: int) -> Seen:
        """Add the inputs of what a layer has seen before."""
        shape: list[int | str] = [_BATCH, self._key_heads, _PAST, self.options.head_size]
        sides = [f"past_key_values.{layer}.{side}" for side in ("key", "value")]
        return Seen(*(self.net.input(side, self.options.float_type, shape) for side in sides))

    def present(self, layer: int, seen: Seen) -> None:
        """Make what a layer has seen now outputs of the model."""
        self._present |= {f"present.{layer}.key": seen.key, f"present.{layer}.value": seen.value}

    def weight(self, name: str, rows: int, cols: int) -> ir.Value:
        """Add a matrix, named as the parameter of a module."""
        return self.net.initializer(self.draw.matrix(f"{name}.weight", (rows, cols)))

    def gain(self, name: str) -> ir.Value:
        """Add the scale of a normalisation."""
        return self.net.initializer(self.draw.gains(f"{name}.weight", self.options.width))

    def shift(self, name: str, size: int) -> ir.Value:
        """Add a bias."""
        return self.net.initializer(self.draw.shifts(f"{name}.bias", size))

    def product(self, name: str, x: ir.Value, rows: int, cols: int) -> ir.Value:
        """Add a MatMul with a weight `[in, out]`."""
        return self.net.op("MatMul", f"{name}.MatMul", [x, self.weight(name, rows, cols)])

    def number(self, name: str, value: float) -> ir.Value:
        """Add a number of the model's float type."""
        return self.net.constant(name, np.array(value, self.options.float_type.numpy()))

    def whole(self, *numbers: int) -> ir.Value:
        """Return an int64 vector, the same one for the same numbers."""
        if numbers not in self._integers:
            name = "integers." + "_".join(map(str, numbers))
            self._integers[numbers] = self.net.constant(name, np.array(numbers, np.int64))
        return self._integers[numbers]

    def finished(self, hidden: ir.Value, embedding: ir.Value) -> ir.Model:
        """Add the product with the output weight, and return the model."""
        options, net = self.options, self.net
        if options.tied:
            weight = net.op("Transpose", "lm_head.weight.T", [embedding], perm=[1, 0])
            logits = net.op("MatMul", "lm_head.MatMul", [hidden, weight])
        else:
            logits = self.product("lm_head", hidden, options.width, options.vocabulary)
        seen: list[int | str] = [_BATCH, self._key_heads, _SEEN, options.head_size]
        found = {"logits": logits} | self._present
        for value in found.values():
            value.dtype = options.float_type
        shapes = dict.fromkeys(found, seen) | {"logits": [_BATCH, _NEW, options.vocabulary]}
        return net.model({name: (value, shapes[name]) for name, value in found.items()})
