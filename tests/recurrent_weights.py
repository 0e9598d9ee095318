"""Recurrent weights in every form that the operators take, and models whose node is such an operator, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from recurrent_graphs import Options, recurrent_model

from dtc.deploy.ops import DOMAIN, require_operator
from dtc.deploy.ops.binary.blocks import in_blocks
from dtc.deploy.ops.recurrent.operators import CELLS, operator_name
from dtc.forms import BinaryCode
from dtc.forms.binary import pack_bits

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Stored:
    """A weight: the dense one `[directions, rows, cols]`, the arrays of its form in order, and their attributes."""

    dense: Array
    arrays: dict[str, Array]
    attributes: dict[str, int]


def dense(weight: Array, rng: np.random.Generator) -> Stored:
    return Stored(weight, {"weight": weight}, {})


def _pruned(weight: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    kept = rng.random(weight.shape) < rng.choice([0.1, 0.5])
    kept.flat[0] = True  # bodies want a value
    return weight * kept, kept.reshape(-1, weight.shape[2])


def sparse(weight: Array, rng: np.random.Generator) -> Stored:
    pruned, kept = _pruned(weight, rng)
    cols = weight.shape[2]
    pointers = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    arrays = {
        "values": pruned.reshape(kept.shape)[kept],
        "columns": (np.flatnonzero(kept) % cols).astype(np.min_scalar_type(cols - 1)),
        "row_pointers": pointers.astype(np.min_scalar_type(pointers[-1])),
    }
    return Stored(pruned, arrays, {})


def bitmap(weight: Array, rng: np.random.Generator) -> Stored:
    pruned, kept = _pruned(weight, rng)
    arrays = {"values": pruned.reshape(kept.shape)[kept], "bitmap": pack_bits(kept)}
    return Stored(pruned, arrays, {})


def binary(weight: Array, rng: np.random.Generator) -> Stored:
    directions, rows, cols = weight.shape
    bits, group = int(rng.integers(1, 4)), int(rng.choice([0, 8, 16]))
    groups = -(-cols // group) if group else 1
    masked, offset = rng.random(2) < 0.5
    forms = [
        BinaryCode(
            pack_bits(rng.random((bits, rows, cols)) < 0.5),
            (rng.random((bits, rows, groups)) / np.sqrt(cols)).astype(np.float16),
            cols,
            group,
            (rng.standard_normal((rows, groups)) / cols).astype(np.float16) if offset else None,
            pack_bits(rng.random((rows, cols)) < 0.4) if masked else None,
        )
        for _ in range(directions)
    ]
    codes = [f.codes if f.mask is None else np.concatenate([f.codes, f.mask[None]]) for f in forms]
    alphas = [f.alphas if f.offset is None else np.concatenate([f.alphas, f.offset[None]]) for f in forms]
    arrays = {
        "codes": np.stack([in_blocks(each) for each in codes]),
        "alphas": np.ascontiguousarray(np.stack(alphas).transpose(0, 1, 3, 2)),
    }
    attributes = {"bits": bits, "group_size": group or 8 * -(-cols // 8)}
    return Stored(np.stack([form.dense() for form in forms]), arrays, attributes)


def codebook(weight: Array, rng: np.random.Generator) -> Stored:
    directions, rows, cols = weight.shape
    bits, block = int(rng.choice([1, 2, 4, 8])), int(rng.choice([1, 2, 3]))
    count = int(rng.integers(1, 2**bits + 1))
    blocks = -(-cols // block)
    indices = rng.integers(0, count, (directions * rows, blocks))
    words = (rng.standard_normal((count, block)) / np.sqrt(cols)).astype(np.float32)
    full = words[indices].reshape(directions, rows, -1)[:, :, :cols]
    each_bit = (indices[..., None] >> np.arange(bits) & 1).reshape(len(indices), -1)
    packed = np.packbits(each_bit.astype(np.uint8), axis=1, bitorder="little")
    return Stored(np.ascontiguousarray(full), {"indices": packed, "codewords": words}, {"bits": bits})


def low_rank(weight: Array, rng: np.random.Generator) -> Stored:
    directions, rows, cols = weight.shape
    rank = int(rng.integers(1, 4))
    left = rng.standard_normal((directions, rows, rank)).astype(np.float32)
    right = (rng.standard_normal((directions, rank, cols)) / cols).astype(np.float32)
    return Stored(left @ right, {"left": left, "right": right}, {})


STORE = {
    "dense": dense,
    "sparse": sparse,
    "bitmap": bitmap,
    "binary": binary,
    "codebook": codebook,
    "low_rank": low_rank,
}


def pair(o: Options, w: str, r: str, seed: int) -> tuple[ir.Model, ir.Model, dict[str, Any]]:
    """Return a model of the standard node on dense weights, one of the operator on its arrays, and inputs for both."""
    rng = np.random.default_rng(seed)
    model, feeds = recurrent_model(o, seed)
    coded, _ = recurrent_model(o, seed)
    stored = {}
    for name, form in (("W", w), ("R", r)):
        tensor = model.graph.initializers[name].const_value
        assert tensor is not None
        weight = np.asarray(tensor.numpy())
        stored[name] = STORE[form]((weight / np.sqrt(weight.shape[2])).astype(np.float32), rng)
        model.graph.initializers[name].const_value = ir.tensor(stored[name].dense, name=name)
    _replace(coded, operator_name(o.op, w, r), stored, o)
    return model, coded, feeds


def _replace(model: ir.Model, name: str, stored: dict[str, Stored], o: Options) -> None:
    (node,) = model.graph
    given = dict(zip(CELLS[o.op].node_inputs, node.inputs, strict=False))
    inputs = [given.get(each) for each in CELLS[o.op].inputs]
    attributes = {key: value for key, value in node.attributes.items() if key != "activations"}
    attributes["input_size"] = ir.AttrInt64("input_size", o.inputs)
    for prefix in "wr":
        weight = stored[prefix.upper()]
        for part, array in weight.arrays.items():
            value = ir.val(f"{prefix}_{part}", const_value=ir.tensor(array, name=f"{prefix}_{part}"))
            model.graph.register_initializer(value)
            inputs.append(value)
        for part, number in weight.attributes.items():
            attributes[f"{prefix}_{part}"] = ir.AttrInt64(f"{prefix}_{part}", number)
    new = ir.Node(DOMAIN, name, inputs, list(attributes.values()), num_outputs=len(node.outputs), name="coded")
    for index, (old, out) in enumerate(zip(node.outputs, new.outputs, strict=True)):
        # onnx's shape inference wants all outputs of a function, so that the last may not be left out
        old.name = old.name or f"unread_{index}"
        out.name, out.type, out.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(out, replace_graph_outputs=True)
    model.graph.append(new)
    model.graph.remove(node, safe=True)
    for weight_name in ("W", "R"):
        del model.graph.initializers[weight_name]
    model.ir_version = 10
    require_operator(model, name)
