"""Quantizers in front of compressed weights: what flows into them is rounded to few levels, in standard operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from dtc.errors import ModelError
from dtc.graph import Role, Site, find_quantizers, find_sites
from dtc.graph.builder import GraphBuilder, Names
from dtc.graph.opset import opset_of, too_old
from dtc.passes.solvers.activation_levels import Levels

_PRODUCTS = frozenset({Role.MATMUL, Role.GEMM, Role.CONV, Role.CONV_TRANSPOSE, Role.EINSUM})
_BITS = 8
"""Of the integers in the file."""

_HARDLY = np.float32(1.01)
"""How many times the end of a Clip levels may end at, to end with it."""

_OPSET = 10
"""The first one with QuantizeLinear."""


@dataclass(frozen=True)
class Activation:
    """A value that compressed weights are multiplied with.

    Attributes:
        name: Of the value.
        readers: Names of the nodes that multiply it with a compressed weight.
        like: Name of the activation before it whose levels it has too; None: its own.
    """

    name: str
    readers: tuple[str, ...]
    like: str | None = None


@dataclass(frozen=True)
class Quantization:
    """An activation, and the levels that it is rounded to."""

    activation: Activation
    levels: Levels


def require_quantizers(model: ir.Model) -> None:
    """Refuse a model whose opset has no quantizers.

    Raises:
        ModelError: It has none.
    """
    old = too_old(opset_of(model), _OPSET)
    if old is not None:
        raise ModelError(f"rounding activations {old}, or leave --activation-bits out")


def find_activations(model: ir.Model, sites: Sequence[Site]) -> list[Activation]:
    """Return the activations that products and convolutions of the main graph multiply with `sites`, each once.

    A value that no weight stands before is left out: the first layer of a network reads the input as it is. So are
    values that are quantized already, and all that is no float32.
    """
    behind = behind_weights(model)
    readers: dict[ir.Value, list[str]] = {}
    for reader in (reader for site in sites if site.value.dtype == ir.DataType.FLOAT for reader in site.readers):
        if reader.role not in _PRODUCTS or reader.node.graph is not model.graph:
            continue
        # Inputs 0 and 1 are the factors, the weight is one of them. An Einsum may have more, or one alone.
        if len(reader.node.inputs) < 2 or reader.index > 1:
            continue
        value = reader.node.inputs[1 - reader.index]
        if value is not None and value in behind and not is_quantized(value):
            readers.setdefault(value, []).append(reader.node_name)
    return [Activation(str(value.name), tuple(dict.fromkeys(readers[value]))) for value in behind if value in readers]


def quantize_activations(model: ir.Model, quantizations: Sequence[Quantization]) -> None:
    """Put a quantizer between each activation and its readers, in place; other readers read it as it was.

    The scale of a value is the initializer `<name>.scale`. Levels are unsigned integers of 8 bits, clipped where there
    are fewer.

    Raises:
        ModelError: The model's opset has no quantizers, or it has no such nodes.
    """
    if quantizations:
        require_quantizers(model)
    names, nodes = Names(model), {node.name: node for node in model.graph}
    made: dict[str, _Constants] = {}
    for each in quantizations:
        name = each.activation.name
        readers = [nodes.get(reader) for reader in each.activation.readers]
        reads = [(node, index) for node in readers if node for index in _inputs_called(node, name)]
        # A node is gone, or reads something else now: the model was changed since it was measured.
        if len({node for node, _ in reads}) < len(readers):
            raise ModelError(f"{name!r} is not what {', '.join(each.activation.readers)} read, as it was when measured")
        value = reads[0][0].inputs[reads[0][1]]
        assert value is not None
        producer = value.producer()
        assert producer is not None, "it stands behind a weight"
        builder = GraphBuilder(names, name, dtype=ir.DataType.FLOAT)
        made[name] = made.get(each.activation.like or "") or _Constants.of(builder, each.levels)
        rounded = _round(builder, value, each.levels, made[name])
        model.graph.insert_after(producer, builder.nodes)
        for node, index in reads:
            node.replace_input_with(index, rounded)


def end_at_clips(model: ir.Model) -> None:
    """Let levels that end hardly above a Clip end with it, in place: runtimes leave the Clip out then.

    A trained scale hovers about the end of a ReLU6, where many numbers lie.
    """
    for each in find_quantizers(model.graph):
        clip, above = each.data.producer(), each.highest - each.zero_point
        bound = clip.inputs[2] if clip is not None and clip.op_type == "Clip" and len(clip.inputs) > 2 else None
        if above <= 0 or bound is None or (tensor := ir.convenience.get_const_tensor(bound)) is None:
            continue
        highest, scale = np.float32(tensor.numpy().item()), np.float32(each.levels[0])
        if not highest < scale * np.float32(above) <= _HARDLY * highest:
            continue
        lower = highest / np.float32(above)
        while lower * np.float32(above) > highest:
            lower = np.nextafter(lower, np.float32(0))
        stored = each.scale.const_value
        assert stored is not None, "a quantizer's scale is an initializer"
        each.scale.const_value = ir.tensor(np.full_like(stored.numpy(), lower), name=each.scale.name)


def behind_weights(model: ir.Model) -> dict[ir.Value, None]:
    """Return the values of the main graph that depend on a weight, in order of execution."""
    weighing = {reader.node for site in find_sites(model) for reader in site.readers}
    found: dict[ir.Value, None] = {}
    for node in model.graph:
        # In order of execution: what feeds a node was looked at before the node.
        if node in weighing or any(value in found for value in node.inputs if value is not None):
            found.update(dict.fromkeys(node.outputs))
    return found


def is_quantized(value: ir.Value) -> bool:
    """Return whether a value is one that was rounded."""
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _inputs_called(node: ir.Node, name: str) -> list[int]:
    return [index for index, value in enumerate(node.inputs) if value is not None and value.name == name]


@dataclass(frozen=True)
class _Constants:
    """The initializers of a quantizer, which others of the same levels share."""

    scale: ir.Value
    zero: ir.Value

    @classmethod
    def of(cls, builder: GraphBuilder, levels: Levels) -> _Constants:
        scale = builder.initializer("scale", np.array(levels.scale, np.float32))
        return cls(scale, builder.initializer("zero_point", np.array(levels.zero_point, np.uint8)))


def _round(builder: GraphBuilder, value: ir.Value, levels: Levels, constants: _Constants) -> ir.Value:
    scale, zero = constants.scale, constants.zero
    few = levels.bits < _BITS
    if few and builder.opset < 12:  # Clip takes integers since then; before, the floats that round to them are clipped
        low, high = (levels.scale * (bound - levels.zero_point) for bound in (0, (1 << levels.bits) - 1))
        value, few = builder.clip(value, float(low), float(high)), False
    integers = builder.op("QuantizeLinear", [value, scale, zero], label="quantized", dtype=ir.DataType.UINT8)
    if few:
        bounds = [builder.constant(np.array(bound, np.uint8)) for bound in (0, (1 << levels.bits) - 1)]
        integers = builder.op("Clip", [integers, *bounds], label="clipped", dtype=ir.DataType.UINT8)
    rounded = builder.op("DequantizeLinear", [integers, scale, zero], label="rounded")
    rounded.shape = integers.shape = value.shape
    return rounded
