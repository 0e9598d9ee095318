"""GPT-2 with drawn weights, in ONNX's own operators, as an exporter of eager code writes it.

A. Radford et al.: Language models are unsupervised multitask learners, 2019.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.models.decoder import DecoderDraft, DecoderOptions, KeysAndValues


def build_gpt2(options: DecoderOptions) -> ir.Model:
    """Return the model: ids and positions `[batch, sequence]`, mask `[batch, total]`, keys and values of the past."""
    decoder = DecoderDraft("gpt2", options, options.heads)
    net, width = decoder.net, options.width
    positions = decoder.positions()
    table = decoder.weight("transformer.wte", options.vocabulary, width)
    places = decoder.weight("transformer.wpe", options.positions, width)
    words = net.op("Gather", "transformer.wte.Gather", [table, decoder.ids])
    x = net.op("Add", "transformer.embedded", [words, net.op("Gather", "transformer.wpe.Gather", [places, positions])])
    visible = _visible(decoder, positions)
    for layer in range(options.layers):
        name = f"transformer.h.{layer}"
        y = _attention(decoder, layer, _norm(decoder, f"{name}.ln_1", x), visible)
        x = net.op("Add", f"{name}.attended", [x, y])
        y = _gemm(decoder, f"{name}.mlp.c_fc", _norm(decoder, f"{name}.ln_2", x), width, 4 * width)
        y = _gemm(decoder, f"{name}.mlp.c_proj", _gelu(decoder, f"{name}.mlp.act", y), 4 * width, width)
        x = net.op("Add", f"{name}.out", [x, y])
    return decoder.finished(_norm(decoder, "transformer.ln_f", x), table)


def _norm(decoder: DecoderDraft, name: str, x: ir.Value) -> ir.Value:
    inputs = [x, decoder.gain(name), decoder.shift(name, decoder.options.width)]
    return decoder.net.op("LayerNormalization", f"{name}.LayerNormalization", inputs, axis=-1, epsilon=1e-5)


def _gemm(decoder: DecoderDraft, name: str, x: ir.Value, rows: int, cols: int) -> ir.Value:
    """Add a Gemm of the tokens laid flat, which is what GPT-2's Conv1D becomes."""
    net = decoder.net
    # x [batch, sequence, in] -> [batch * sequence, in] -> [batch * sequence, out] -> [batch, sequence, out]
    flat = net.op("Reshape", f"{name}.flat", [x, decoder.whole(-1, rows)])
    y = net.op("Gemm", f"{name}.Gemm", [flat, decoder.weight(name, rows, cols), decoder.shift(name, cols)])
    lead = net.op("Slice", f"{name}.lead", [net.op("Shape", f"{name}.sizes", [x]), decoder.whole(0), decoder.whole(2)])
    shape = net.op("Concat", f"{name}.shape", [lead, decoder.whole(cols)], axis=0)
    return net.op("Reshape", f"{name}.out", [y, shape])


def _gelu(decoder: DecoderDraft, name: str, x: ir.Value) -> ir.Value:
    net = decoder.net
    part = net.op("Erf", f"{name}.erf", [net.op("Div", f"{name}.scaled", [x, decoder.number(f"{name}.root", 2**0.5)])])
    half = net.op("Mul", f"{name}.half", [x, decoder.number(f"{name}.factor", 0.5)])
    return net.op("Mul", f"{name}.out", [half, net.op("Add", f"{name}.gate", [part, decoder.number(f"{name}.one", 1)])])


def _visible(decoder: DecoderDraft, positions: ir.Value) -> ir.Value:
    """Return what each token sees, bool `[batch, 1, sequence, total]`: those before it that the mask lets through."""
    net = decoder.net
    size = net.op("Shape", "mask.shape", [decoder.mask])
    zero, one = (net.constant(f"mask.{word}", np.array(n, np.int64)) for n, word in enumerate(("zero", "one")))
    places = net.op("Range", "mask.places", [zero, net.op("Gather", "mask.total", [size, one], axis=0), one])
    # [batch, sequence] -> [batch, 1, sequence, 1], against [total]; [batch, total] -> [batch, 1, 1, total].
    rows = net.op("Unsqueeze", "mask.rows", [positions, decoder.whole(1, 3)])
    before = net.op("GreaterOrEqual", "mask.before", [rows, places])
    given = net.op("Cast", "mask.given", [decoder.mask], to=int(ir.DataType.BOOL))
    return net.op("And", "mask.visible", [before, net.op("Unsqueeze", "mask.columns", [given, decoder.whole(1, 2)])])


def _attention(decoder: DecoderDraft, layer: int, x: ir.Value, visible: ir.Value) -> ir.Value:
    options, net, name = decoder.options, decoder.net, f"transformer.h.{layer}.attn"
    width, past = options.width, decoder.past(layer)
    qkv = _gemm(decoder, f"{name}.c_attn", x, width, 3 * width)
    names = [f"{name}.{part}" for part in ("query", "new_key", "new_value")]
    parts = net.ops("Split", f"{name}.Split", [qkv, decoder.whole(width, width, width)], names, axis=2)
    query, key, value = (_heads(decoder, part) for part in parts)
    key = net.op("Concat", f"{name}.key", [past.key, key], axis=2)
    value = net.op("Concat", f"{name}.value", [past.value, value], axis=2)
    decoder.present(layer, KeysAndValues(key, value))
    turned = net.op("Transpose", f"{name}.key.turned", [key], perm=[0, 1, 3, 2])
    scores = net.op("MatMul", f"{name}.scores", [query, turned])
    scores = net.op("Div", f"{name}.scaled", [scores, decoder.number(f"{name}.root", options.head_size**0.5)])
    scores = net.op("Where", f"{name}.masked", [visible, scores, decoder.number(f"{name}.hidden", -1e4)])
    read = net.op("MatMul", f"{name}.read", [net.op("Softmax", f"{name}.Softmax", [scores], axis=-1), value])
    read = net.op("Transpose", f"{name}.read.turned", [read], perm=[0, 2, 1, 3])
    joined = net.op("Reshape", f"{name}.joined", [read, decoder.whole(0, 0, width)])
    return _gemm(decoder, f"{name}.c_proj", joined, width, width)


def _heads(decoder: DecoderDraft, x: ir.Value) -> ir.Value:
    """Cut `[batch, sequence, width]` into `[batch, heads, sequence, head size]`."""
    shape = decoder.whole(0, 0, decoder.options.heads, decoder.options.head_size)
    cut = decoder.net.op("Reshape", f"{x.name}.cut", [x, shape])
    return decoder.net.op("Transpose", f"{x.name}.heads", [cut], perm=[0, 2, 1, 3])
