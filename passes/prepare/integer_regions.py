"""The activations between products that shall be computed in integers: each is rounded once, for all that reads it.

A runtime computes a convolution in integers where its input, its weight and its output are rounded, and what stands
between two of them only if that is rounded on both sides as well (ONNX Runtime's QDQ fusions; a Gemm or MatMul may end
in floats). So beside what compressed weights read, the outputs of convolutions are rounded, behind the
BatchNormalization and the activation that become part of them, and those of sums, pools and joins between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from dtc.graph import Reader, Role, Site
from dtc.graph.opset import opset_of, too_old
from dtc.passes.prepare.quantize_activations import Activation, behind_weights, is_quantized

OPSET = 13
"""The first one in which DequantizeLinear has a scale for each channel."""

SMALLEST = 1 << 15
"""Weights of a Gemm or MatMul from which integers save more than rounding takes, where nothing else rounds what it
reads. Measured on a Xeon with AMX: 256 x 256 is 1.02 times as fast for a row, 128 x 128 0.91 times."""

_PRODUCTS = frozenset({Role.MATMUL, Role.GEMM, Role.CONV})
_CARRIED = frozenset({"Add", "AveragePool", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid"})
"""What runtimes compute in integers between rounded inputs and a rounded output."""

_HANDED_ON = frozenset({"Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""What gives nothing but numbers that it has read: its output has the levels of its input."""

_PART_OF_PRODUCT = frozenset({"Clip", "Relu"})
"""What rounding to levels that end there does as well."""


JOINED_TO_GEMM = frozenset(
    {"Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"}
)
"""Activations that ONNX Runtime joins to a Gemm in floats, unless what it gives is rounded."""


def unfit_opset(model: ir.Model) -> str | None:
    """Return why nothing in a model can be computed in integers; None if it can."""
    return too_old(opset_of(model), OPSET)


def find_integer_activations(model: ir.Model, sites: Sequence[Site]) -> list[Activation]:
    """Return the activations to round, in order of execution, so that products of `sites` can be computed in integers.

    What no weight stands before stays as it is, and with it the first layer. None in a model of an older operator set.
    """
    return [] if unfit_opset(model) else _Regions(model, sites).found()


class _Regions:
    """Values and the nodes that shall read them rounded, as they are found from the inputs on."""

    def __init__(self, model: ir.Model, sites: Sequence[Site]) -> None:
        self._graph, self._behind = model.graph, behind_weights(model)
        self._products = {
            reader.node: reader
            for site in sites
            for reader in site.readers
            if reader.role in _PRODUCTS and reader.index == 1 and reader.node.inputs[1] is site.value
            if site.value.dtype == ir.DataType.FLOAT and reader.node.graph is model.graph
        }
        self._readers: dict[ir.Value, list[ir.Node]] = {}
        self._like: dict[ir.Value, ir.Value] = {}
        self._whole: set[ir.Value] = set()  # values that everything reads rounded

    def found(self) -> list[Activation]:
        """Return the activations."""
        for node in self._graph:
            if node in self._products:
                self._enter_product(node)
            elif node.op_type in _CARRIED and node.domain == "":
                self._enter_carried(node)
        return [
            Activation(str(value.name), tuple(dict.fromkeys(str(node.name) for node in self._readers[value])), like)
            for value in self._behind
            if value in self._readers
            for like in [str(self._like[value].name) if value in self._like else None]
        ]

    def _enter_product(self, node: ir.Node) -> None:
        x, reader = node.inputs[0], self._products[node]
        assert x is not None, "a product has two factors"
        ends_rounded = reader.role is Role.CONV or (reader.role is Role.GEMM and activation_behind(node) is not None)
        end = _end(node, self._graph) if ends_rounded else None
        if x not in self._behind or (reader.role is Role.CONV and end is None):
            return
        known = is_quantized(x) or _source(x) in self._whole
        if reader.role is not Role.CONV and not known and _is_small(reader):
            return
        if not is_quantized(x):
            self._read_rounded(x, [node])
        if end is not None:
            self._round_for_all(end)

    def _enter_carried(self, node: ir.Node) -> None:
        end, read = _end(node, self._graph), [value for value in node.inputs if value is not None]
        # What only floats read gains nothing by being computed in integers.
        if end is None or not all(value in self._readers for value in read) or not self._goes_on(end):
            return
        if not any(value in self._whole for value in read):
            return
        for value in read:
            self._read_rounded(value, [node])
        self._round_for_all(end)

    def _goes_on(self, value: ir.Value) -> bool:
        readers = [node for node, _ in value.uses()]
        return any(node in self._products or node.op_type in _CARRIED | _HANDED_ON for node in readers)

    def _round_for_all(self, value: ir.Value) -> None:
        self._whole.add(value)
        self._readers[value] = [node for node, _ in value.uses()]

    def _read_rounded(self, value: ir.Value, readers: Sequence[ir.Node]) -> None:
        if value in self._whole:
            return
        source = _source(value)
        if source is not value and source in self._whole:
            self._like[value] = source
        known = self._readers.setdefault(value, [])
        known += [node for node in readers if node not in known]


def activation_behind(node: ir.Node) -> ir.Node | None:
    """Return the only reader of a node, if that is an activation which would be joined to it."""
    readers = [reader for reader, _ in node.outputs[0].uses()]
    alone = len(readers) == 1 and not node.outputs[0].is_graph_output() and readers[0].domain == ""
    return readers[0] if alone and readers[0].op_type in JOINED_TO_GEMM else None


def _is_small(reader: Reader) -> bool:
    """Return whether rounding what a product reads may take longer than integers save."""
    return reader.view.count * reader.view.rows * reader.view.cols < SMALLEST


def _end(node: ir.Node, graph: ir.Graph) -> ir.Value | None:
    """Return the value behind what becomes part of a node; None if others than nodes of the main graph read it."""
    value = node.outputs[0]
    for kinds in ({"BatchNormalization"}, _PART_OF_PRODUCT):
        readers = [each for each, _ in value.uses()]
        alone = len(readers) == 1 and not value.is_graph_output() and value is readers[0].inputs[0]
        if alone and readers[0].domain == "" and readers[0].op_type in kinds:
            value = readers[0].outputs[0]
    inside = all(each.graph is graph for each, _ in value.uses())
    return value if inside and value.uses() and not value.is_graph_output() else None


def _source(value: ir.Value) -> ir.Value:
    """Return the value whose numbers a value hands on, and no others."""
    while (node := value.producer()) is not None and node.op_type in _HANDED_ON and node.domain == "":
        first = node.inputs[0]
        if first is None or value is not node.outputs[0]:
            break
        value = first
    return value
