"""Llama with drawn weights, in the fused operators that ONNX Runtime's model builders and optimizers write.

H. Touvron et al.: LLaMA, 2023 (arXiv 2302.13971); keys shared between heads: J. Ainslie et al.: GQA, 2023 (arXiv
2305.13245). The operators are those of ONNX Runtime's ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import onnx_ir as ir
from pydantic import Field, model_validator

from dtc.models.decoder import DecoderDraft, DecoderOptions, KeysAndValues

FUSED = "com.microsoft"

_BLOCK = 32
"""Weights that share a scale in a MatMulNBits."""

_EPSILON = 1e-5


class LlamaOptions(DecoderOptions):
    """Sizes of a Llama, and the operators that it is written in."""

    inner: int | None = Field(None, ge=8, le=1 << 17, description="width between a layer's last products; else usual")
    groups: int | None = Field(None, ge=1, le=256, description="heads of keys and values; else as many as heads")
    attention: Literal["grouped", "rotary"] = Field(
        "grouped", description="GroupQueryAttention, or RotaryEmbedding and MultiHeadAttention"
    )
    quantized: bool = Field(default=False, description="the last product of each layer in four bits already")

    @model_validator(mode="after")
    def _groups_fit(self) -> LlamaOptions:
        if self.heads % self.key_heads or (self.attention == "rotary" and self.key_heads != self.heads):
            raise ValueError(f"{self.attention} attention has no {self.key_heads} groups of {self.heads} heads")
        if self.quantized and self.inner_width % _BLOCK:
            raise ValueError(f"blocks of {_BLOCK} do not fill {self.inner_width} weights")
        return self

    @property
    def key_heads(self) -> int:
        """Heads of keys and values."""
        return self.groups or self.heads

    @property
    def inner_width(self) -> int:
        """Width between a layer's last products: 43/16 of the width, in whole blocks, 11008 for 4096."""
        return self.inner or max(_BLOCK, self.width * 43 // 16 // _BLOCK * _BLOCK)


def build_llama(options: LlamaOptions) -> ir.Model:
    """Return the model: ids `[batch, sequence]`, mask `[batch, total]`, keys and values of the past."""
    decoder = DecoderDraft("llama", options, options.key_heads, (FUSED,))
    attend = (_grouped_attention if options.attention == "grouped" else _rotary_attention)(decoder, options)
    table = decoder.weight("model.embed_tokens", options.vocabulary, options.width)
    x = decoder.net.op("Gather", "model.embed_tokens.Gather", [table, decoder.ids])
    first = [x, decoder.gain("model.layers.0.input_layernorm")]
    normal = decoder.net.op(
        "SimplifiedLayerNormalization", "model.layers.0.input_layernorm", first, axis=-1, epsilon=_EPSILON, stash_type=1
    )
    for layer in range(options.layers):
        name = f"model.layers.{layer}"
        x, normal = _added(decoder, f"{name}.post_attention_layernorm", x, attend(layer, normal))
        after = "model.norm" if layer + 1 == options.layers else f"model.layers.{layer + 1}.input_layernorm"
        x, normal = _added(decoder, after, x, _gated(decoder, options, f"{name}.mlp", normal))
    return decoder.finished(normal, table)


def _added(decoder: DecoderDraft, name: str, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return the sum of both, and the sum normalised."""
    outputs = [f"{name}.out", "", "", f"{name}.sum"]
    normal, _, _, total = decoder.net.ops(
        "SkipSimplifiedLayerNormalization", name, [x, y, decoder.gain(name)], outputs, domain=FUSED, epsilon=_EPSILON
    )
    return total, normal


def _gated(decoder: DecoderDraft, options: LlamaOptions, name: str, x: ir.Value) -> ir.Value:
    net, width, inner = decoder.net, options.width, options.inner_width
    gate = decoder.product(f"{name}.gate_proj", x, width, inner)
    gate = net.op("Mul", f"{name}.silu", [gate, net.op("Sigmoid", f"{name}.sigmoid", [gate])])
    x = net.op("Mul", f"{name}.gated", [gate, decoder.product(f"{name}.up_proj", x, width, inner)])
    if not options.quantized:
        return decoder.product(f"{name}.down_proj", x, inner, width)
    weight = f"{name}.down_proj.weight"
    codes = net.initializer(decoder.draw.codes(f"{weight}_Q4", (width, inner // _BLOCK, _BLOCK // 2)))
    # Codes 0 to 15 stand for -8 to 7, of mean square 21.5.
    scales = net.initializer(decoder.draw.scales(f"{weight}_scales", (width, inner // _BLOCK), (21.5 * inner) ** -0.5))
    sizes = {"K": inner, "N": width, "bits": 4, "block_size": _BLOCK}
    return net.op("MatMulNBits", f"{name}.down_proj.MatMulNBits", [x, codes, scales], domain=FUSED, **sizes)


_Attention = Callable[[int, ir.Value], ir.Value]


def _grouped_attention(decoder: DecoderDraft, options: LlamaOptions) -> _Attention:
    """Return attention that turns and stores keys itself; the mask tells it how many tokens there are."""
    net, cache = decoder.net, _rotations(decoder, options)
    ones = net.op("ReduceSum", "mask.count", [decoder.mask, decoder.whole(1)], keepdims=0)
    last = net.op("Sub", "mask.last", [ones, decoder.whole(1)])
    last = net.op("Cast", "mask.seqlens_k", [last], to=int(ir.DataType.INT32))
    axis = net.constant("mask.axis", np.array(1, np.int64))
    total = net.op("Gather", "mask.total", [net.op("Shape", "mask.shape", [decoder.mask]), axis], axis=0)
    total = net.op("Cast", "mask.total_sequence_length", [total], to=int(ir.DataType.INT32))
    sizes = {"num_heads": options.heads, "kv_num_heads": options.key_heads, "do_rotary": 1}

    def attend(layer: int, x: ir.Value) -> ir.Value:
        name = f"model.layers.{layer}.self_attn"
        inputs = [*_projected(decoder, options, name, x), *decoder.past(layer), last, total, *cache]
        names = [f"{name}.read", f"{name}.key", f"{name}.value"]
        read, *seen = net.ops("GroupQueryAttention", f"{name}.attn", inputs, names, domain=FUSED, **sizes)
        decoder.present(layer, KeysAndValues(*seen))
        return decoder.product(f"{name}.o_proj", read, options.width, options.width)

    return attend


def _rotary_attention(decoder: DecoderDraft, options: LlamaOptions) -> _Attention:
    """Return attention whose queries and keys are turned in front of it, by the positions that the model is given."""
    net, cache, positions = decoder.net, _rotations(decoder, options), decoder.positions()
    mask = net.op("Cast", "mask.int32", [decoder.mask], to=int(ir.DataType.INT32))

    def attend(layer: int, x: ir.Value) -> ir.Value:
        name, heads = f"model.layers.{layer}.self_attn", options.heads
        query, key, value = _projected(decoder, options, name, x)
        query, key = (
            net.op("RotaryEmbedding", f"{name}.{side}_rotary", [each, positions, *cache], domain=FUSED)
            for side, each in (("q", query), ("k", key))
        )
        inputs = [query, key, value, None, mask, None, *decoder.past(layer)]
        names = [f"{name}.read", f"{name}.key", f"{name}.value"]
        read, *seen = net.ops(
            "MultiHeadAttention", f"{name}.attn", inputs, names, domain=FUSED, num_heads=heads, unidirectional=1
        )
        decoder.present(layer, KeysAndValues(*seen))
        return decoder.product(f"{name}.o_proj", read, options.width, options.width)

    return attend


def _projected(decoder: DecoderDraft, options: LlamaOptions, name: str, x: ir.Value) -> list[ir.Value]:
    keys = options.key_heads * options.head_size
    sizes = {"q_proj": options.width, "k_proj": keys, "v_proj": keys}
    return [decoder.product(f"{name}.{side}", x, options.width, size) for side, size in sizes.items()]


def _rotations(decoder: DecoderDraft, options: LlamaOptions) -> list[ir.Value]:
    """Return cosine and sine of each position's angles, `[positions, head size / 2]`."""
    rates = 10_000.0 ** (-np.arange(0, options.head_size, 2) / options.head_size)
    angles = np.outer(np.arange(options.positions), rates)
    dtype = options.float_type.numpy()
    turns = {"cos_cache": np.cos(angles), "sin_cache": np.sin(angles)}
    return [decoder.net.constant(name, turn.astype(dtype)) for name, turn in turns.items()]
