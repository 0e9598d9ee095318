"""Codes of 8 bits between rounded activations: QuantizeLinear and DequantizeLinear, which runtimes compute in integers.

ONNX Runtime replaces a product whose inputs are dequantized, and whose output is quantized again, by its integer
kernels (QLinearConv, QGemm, QLinearMatMul; the output of a Gemm or MatMul may stay float). It wants weights int8 with
the zero point 0 and a scale for each output channel, and the bias int32 in steps of both scales. Weights stay a byte
each in memory. Runtimes that fuse nothing compute the same in float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph import Reader, Role, Site
from dtc.graph.builder import GraphBuilder, insert_before, insert_first
from dtc.passes.lower.binary.parts import Planes
from dtc.passes.lower.decode import feed_readers, in_place, rows_in_place
from dtc.passes.lower.lowered import Compressed, Lowered, ReadBy
from dtc.passes.lower.packed_numbers import store_as_floats
from dtc.passes.lower.readers import Unfit
from dtc.passes.lower.rewriting import Rewriting, Rounded
from dtc.passes.prepare.integer_regions import activation_behind, unfit_opset

LEAST_BITS = 7
"""Of codes that are stored as a byte: fewer are smaller otherwise."""

REASON = "in integers of 8 bits, as what it reads and writes is rounded"
SPEED = 1.8
"""How many times faster than in floats a model of convolutions is; less on processors without VNNI or AMX."""
TOLERANCE = 2e-3
"""Relative L2 of outputs: a bias is a whole number of steps, and the numbers of a check may be small beside a step."""
BECAUSE = "biases are whole numbers of steps"
COARSE = 5e-2
"""The same of a MatMul, whose other factor ONNX Runtime rounds to 8 bits by itself where no quantizer has done it."""
BECAUSE_COARSE = "ONNX Runtime rounds what a MatMul multiplies with 8-bit weights"

_LARGEST_BIAS = 1 << 30
"""Steps; an int32 has room for the products besides."""


def whole_steps(planes: Planes) -> npt.NDArray[np.int8] | None:
    """Return the weights of a site as numbers of steps `[rows, cols]`; None: they are none that a byte holds."""
    even = planes.even
    if even is None or even.bits < LEAST_BITS or planes.group_size:
        return None
    zero = np.int16(even.middle) if even.zero is None else even.zero.astype(np.int16)
    steps = planes.form.levels.astype(np.int16) - zero
    return steps.astype(np.int8) if np.abs(steps).max(initial=0) <= np.iinfo(np.int8).max else None


@dataclass(frozen=True, eq=False)
class IntegerWeight:
    """A weight in whole steps, in the initializer's own shape.

    Attributes:
        steps: int8.
        scale: float16 or float32, one a channel `[channels]`.
        axis: Of the channels.
    """

    steps: npt.NDArray[np.int8]
    scale: npt.NDArray[np.floating]
    axis: int

    @classmethod
    def of(cls, site: Site, planes: Planes) -> IntegerWeight | Unfit:
        """Return a site's codes in steps, or why they are none of one channel each."""
        steps, even = whole_steps(planes), planes.even
        if steps is None or even is None:
            return Unfit("it has no levels of 8 bits")
        placed = rows_in_place(site, even.scale[:, 0])
        long = [] if placed is None else [axis for axis, size in enumerate(placed.shape) if size > 1]
        if placed is None or len(long) > 1:
            return Unfit("its rows are no channels of one axis")
        return cls(in_place(site, steps), even.scale[:, 0], long[0] if long else _axis(site))

    def wide_enough(self, least: npt.NDArray[np.floating] | float) -> IntegerWeight:
        """Return the weight with scales of at least that much, none of them 0; steps are rounded to wider ones."""
        scale = self.scale.astype(np.float32)
        wide = np.maximum(scale, least)
        wide = np.where(wide > 0, wide, 1).astype(np.float32)
        if (wide == scale).all():
            return self
        shape = [1] * self.steps.ndim
        shape[self.axis] = -1
        return IntegerWeight(np.rint(self.steps * (scale / wide).reshape(shape)).astype(np.int8), wide, self.axis)


def _axis(site: Site) -> int:
    """Return the axis of the rows of a single channel."""
    return site.view.perm[0]


def integer_readers(rewriting: Rewriting, site: Site) -> dict[Reader, Rounded]:
    """Return the readers that a runtime can compute in integers, and to what their other factor was rounded."""
    if not rewriting.target.integers or unfit_opset(rewriting.model):
        return {}
    return {
        reader: rounded
        for reader in site.readers
        if (rounded := rewriting.rounded(reader.node.inputs[0])) is not None and _fits(reader, site, rounded)
    }


def _fits(reader: Reader, site: Site, rounded: Rounded) -> bool:
    """Return whether a reader multiplies what was rounded to 8 bits with the weight as it is stored."""
    node = reader.node
    if reader.index != 1 or node.inputs[1] is not site.value or reader.view != site.view:
        return False
    if (rounded.quantizer.lowest, rounded.quantizer.highest) != (0, 255):
        return False
    bias = _bias(reader, rounded)
    if bias is not None and not _is_vector(bias.value, reader):
        return False
    match reader.role:
        case Role.CONV:
            return _ends_rounded(node)
        case Role.GEMM:
            plain = all(node.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
            return plain and not node.attributes.get_int("transA", 0) and _stays_apart(node)
        case role:
            return role is Role.MATMUL


def _ends_rounded(node: ir.Node) -> bool:
    """Return whether nothing but a quantizer reads a node, or what becomes part of it."""
    only = _only_reader(node)
    if only is not None and only.op_type in ("Relu", "Clip"):
        behind = _only_reader(only)
        return behind is not None and behind.op_type == "QuantizeLinear" and _begins_at_zero(behind)
    return only is not None and only.op_type == "QuantizeLinear"


def _only_reader(node: ir.Node) -> ir.Node | None:
    readers = [each for each, _ in node.outputs[0].uses()]
    return readers[0] if len(readers) == 1 and not node.outputs[0].is_graph_output() else None


def _begins_at_zero(quantize: ir.Node) -> bool:
    """Return whether the lowest level is 0, so that rounding does what a Relu in front of it did."""
    given = quantize.inputs[2] if len(quantize.inputs) > 2 else None
    zero = None if given is None else ir.convenience.get_const_tensor(given)
    return zero is not None and zero.numpy().dtype == np.uint8 and not zero.numpy().any()


def _stays_apart(node: ir.Node) -> bool:
    """Return whether no activation is joined to a Gemm, which would make it one of floats."""
    activation = activation_behind(node)
    return activation is None or _ends_rounded(node) or activation.outputs[0].is_graph_output()


def lower_to_integers(
    rewriting: Rewriting, item: Compressed, weight: IntegerWeight, readers: Mapping[Reader, Rounded]
) -> Lowered:
    """Feed those readers of a site that compute in integers, and all others from the same bytes, in place."""
    site, front = item.site, rewriting.front(item.site)
    weight = weight.wide_enough(max((_least(reader, each) for reader, each in readers.items()), default=0.0))
    stored = front.initializer("codes", weight.steps)
    scale = rewriting.joint.share(site, "channel scales", weight.scale, partial(store_as_floats, name="scales"))
    # ONNX Runtime makes a QGemm only where zero points are given, and a MatMul and an Add become a Gemm before.
    zeros = [front.constant(np.zeros(len(weight.scale), np.int8))] if site.role is not Role.CONV else []
    integers = front.op("DequantizeLinear", [stored, scale, *zeros], axis=weight.axis)
    for reader, rounded in readers.items():
        reader.node.replace_input_with(1, integers)
        if (bias := _bias(reader, rounded)) is not None:
            _round_bias(rewriting.builder(site, reader), bias, weight, scale)
        elif reader.role is Role.MATMUL:
            _keep_from_gemm(reader.node)
    feed_readers(site, lambda: _scaled(front, stored, scale, weight))
    insert_first(front)
    told = tuple(_told(reader, readers) for reader in site.readers)
    coarse = any(reader.role is Role.MATMUL for reader in readers)
    tolerance, because = (COARSE, BECAUSE_COARSE) if coarse else (TOLERANCE, BECAUSE)
    return Lowered(item.site, item.forms, told, tolerance=tolerance, because=because)


def _least(reader: Reader, rounded: Rounded) -> Any:
    """Return the least scale of each channel with which a reader's bias is an int32 number of steps."""
    bias = _bias(reader, rounded)
    return 0.0 if bias is None else np.abs(_array(bias.value)) / (bias.step * _LARGEST_BIAS)


@dataclass(frozen=True, eq=False)
class _Bias:
    """The constant that is added to each channel, the input that it is, and the step of the reader's other factor."""

    node: ir.Node
    index: int
    value: ir.Value
    step: np.float32


def _bias(reader: Reader, rounded: Rounded) -> _Bias | None:
    """Return the bias of a reader: its third input, or what an Add behind a MatMul of matrices adds."""
    node, step = reader.node, np.float32(rounded.quantizer.levels[0])
    if reader.role is not Role.MATMUL:
        given = node.inputs[2] if len(node.inputs) > 2 else None
        return None if given is None else _Bias(node, 2, given, step)
    add = _added_to(node)
    if add is None or rounded.rank != 2 or not _stays_apart(add):
        return None
    index = 1 if add.inputs[0] is node.outputs[0] else 0
    value = add.inputs[index]
    return _Bias(add, index, value, step) if value is not None and _is_vector(value, reader) else None


def _added_to(node: ir.Node) -> ir.Node | None:
    """Return the Add that alone reads a node."""
    only = _only_reader(node)
    return only if only is not None and only.op_type == "Add" and only.domain == "" else None


def _keep_from_gemm(node: ir.Node) -> None:
    """Let a Sum stand for an Add behind a MatMul, as ONNX Runtime would make a Gemm of both, in floats."""
    add = _added_to(node)
    if add is not None:
        add.op_type = "Sum"


def _is_vector(value: ir.Value, reader: Reader) -> bool:
    """Return whether a value is a constant number for each channel."""
    constant = value.is_initializer() and value.const_value is not None and value.dtype == ir.DataType.FLOAT
    return constant and value.shape == ir.Shape([reader.view.count * reader.view.rows])


def _array(value: ir.Value) -> npt.NDArray[np.float32]:
    assert value.const_value is not None
    return value.const_value.numpy()


def _round_bias(builder: GraphBuilder, bias: _Bias, weight: IntegerWeight, scale: ir.Value) -> None:
    """Let a node read its bias as a whole number of steps of both scales."""
    # The quantizer's own initializer is not read here: it may be trained later, as a parameter of the quantizer alone.
    steps = np.rint(_array(bias.value) / (bias.step * weight.scale.astype(np.float32))).astype(np.int32)
    both = builder.op("Mul", [scale, builder.constant(bias.step)])
    integers = builder.op("DequantizeLinear", [builder.initializer("bias", steps), both], axis=0)
    bias.node.replace_input_with(bias.index, integers)
    insert_before(bias.node, builder)


def _scaled(front: GraphBuilder, stored: ir.Value, scale: ir.Value, weight: IntegerWeight) -> ir.Value:
    """Return the dense weight by nodes that fold at load."""
    shape = [-1 if axis == weight.axis else 1 for axis in range(weight.steps.ndim)]
    spread = front.op("Reshape", [scale, front.constant(shape)])
    return front.op("Mul", [front.op("Cast", [stored], to=ir.DataType.FLOAT), spread])


def _told(reader: Reader, readers: Mapping[Reader, Rounded]) -> ReadBy:
    if reader in readers:
        return ReadBy.of(reader, "integers", REASON, SPEED)
    return ReadBy.of(reader, "decoded", "decoded when a session loads, from the bytes that others multiply")
