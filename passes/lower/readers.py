"""How a node uses a weight: the one answer, for every form.

`Multiplication`, `Lookup` and `unfit_recurrence` say what a reader computes with a site's matrix, or why nothing but
the dense weight will do. Whether an operator then computes it is a question of the form, the target and its costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.recurrent.operators import OPSET as RECURRENT_OPSET
from dtc.graph import Reader, Role, Site
from dtc.graph.builder import Builder
from dtc.graph.cells import has_default_activations
from dtc.graph.opset import opset_of

INPUT_ROLES = frozenset({Role.LSTM_INPUT, Role.GRU_INPUT})
RECURRENT_ROLES = frozenset({Role.LSTM_RECURRENT, Role.GRU_RECURRENT})


@dataclass(frozen=True)
class Unfit:
    """Why a reader needs the dense weight."""

    reason: str


@dataclass(frozen=True)
class Multiplication:
    """`y = alpha op(x) W^T + beta bias`, `W [out, in]` being the matrix of a site; `y = W x` where `left`.

    Attributes:
        x: The other factor, `[..., in]`; `[in, n]` where `transposed` or `left`.
        transposed: Whether `op` transposes.
        alpha: Scales the product.
        bias: What is added behind it; None: nothing.
        beta: Scales the bias.
        left: Whether the weight is the left factor.
        stacked: Whether it is a stack of matrices, one for each of x.
    """

    x: ir.Value
    transposed: bool = False
    alpha: float = 1.0
    bias: ir.Value | None = None
    beta: float = 1.0
    left: bool = False
    stacked: bool = False

    @classmethod
    def of(cls, reader: Reader) -> Multiplication | Unfit:
        """Return what a MatMul or Gemm computes, or that the reader is another node."""
        node = reader.node
        if reader.role not in (Role.MATMUL, Role.GEMM):
            return Unfit(f"no operator stands for a {node.op_type}")
        # MatMul and Gemm: the weight is input 0 or 1, the other factor the other one.
        x = node.inputs[1 - reader.index]
        assert x is not None, "a product has two factors"
        if reader.role is Role.MATMUL:
            return cls(x, left=reader.index == 0, stacked=len(reader.view.perm) > 2)
        beta = _number(node, "beta")
        bias = node.inputs[2] if len(node.inputs) > 2 and beta != 0.0 else None
        return cls(x, bool(node.attributes.get_int("transA", 0)), _number(node, "alpha"), bias, beta)

    @classmethod
    def on_codes(cls, reader: Reader, site: Site) -> Multiplication | Unfit:
        """Return what an operator on the site's form can compute, or why the reader needs the dense weight."""
        product = _unfit(reader, site) or cls.of(reader)
        if isinstance(product, Unfit):
            return product
        if product.stacked:
            return Unfit("it reads a stack of matrices")
        return Unfit("the weight is the left factor of its product") if product.left else product

    def operand(self, builder: Builder) -> ir.Value:
        """Return `op(x)`."""
        return builder.op("Transpose", [self.x], perm=[1, 0]) if self.transposed else self.x

    def finish(self, builder: Builder, product: ir.Value) -> ir.Value:
        """Return `y`, given `op(x) W^T`."""
        product = _scaled(builder, product, self.alpha)
        if self.bias is None:
            return product
        return builder.op("Add", [product, _scaled(builder, self.bias, self.beta)])


@dataclass(frozen=True)
class Lookup:
    """Rows of a table by their numbers: `y = W[ids]`."""

    ids: ir.Value

    @classmethod
    def on_codes(cls, reader: Reader, site: Site) -> Lookup | Unfit:
        """Return what can be looked up in the site's form, or why the reader needs the dense table."""
        unfit = _unfit(reader, site)
        if unfit is not None:
            return unfit
        ids = reader.node.inputs[1]
        assert ids is not None, "a Gather has indices"
        return cls(ids)


def unfit_recurrence(model: ir.Model, reader: Reader, site: Site) -> Unfit | None:
    """Return why no operator of the domain `dtc` can stand for an LSTM or GRU that reads the site; None if one can."""
    unfit = _unfit(reader, site)
    if unfit is not None or reader.node.domain == DOMAIN:
        return unfit
    node = reader.node
    if opset_of(model) < RECURRENT_OPSET:
        return Unfit(f"its operator needs opset {RECURRENT_OPSET}, the model has {opset_of(model)}")
    if input_size(reader) is None:
        return Unfit("the size of its input is known at a run alone")
    if not has_default_activations(node):
        return Unfit("it has other activations than the operator")
    if node.attributes.get_int("layout", 0):
        return Unfit("its batch comes first (layout 1)")
    if node.attributes.get_int("input_forget", 0):
        return Unfit("its input and forget gates are coupled")
    return None


def input_size(reader: Reader) -> int | None:
    """Return the columns of the W of an ONNX LSTM or GRU; None if nothing tells them before a run."""
    if reader.role in INPUT_ROLES:
        return reader.view.cols
    weight = reader.node.inputs[1]
    shape = weight.shape if weight is not None else None
    size = shape[2] if shape is not None and len(shape) == 3 else None
    return size if isinstance(size, int) else None


def compute_type(reader: Reader) -> ir.DataType:
    """Return the element type in which the weight reaches the node: that of the nearest Cast, else the stored one."""
    value = reader.node.inputs[reader.index]
    for node in _way(reader):
        if node.op_type == "Cast":
            return ir.DataType(node.attributes["to"].as_int())
        value = node.inputs[0]
    return (value.dtype if value is not None else None) or ir.DataType.FLOAT


def _unfit(reader: Reader, site: Site) -> Unfit | None:
    """Return why a reader needs the dense weight, whatever it computes: operators read float32 as it is stored."""
    if reader.view != site.view:
        return Unfit("it reads the weight as another matrix than the first reader")
    if site.value.dtype != ir.DataType.FLOAT:
        return Unfit(f"operators compute in float32, the weight is {site.value.dtype}")
    if any(node.op_type == "Cast" for node in _way(reader)):
        return Unfit("a Cast stands between the weight and the node")
    return None


def _way(reader: Reader) -> Iterator[ir.Node]:
    """Yield the nodes that the weight passes on its way to the reader, from the reader upwards."""
    value = reader.node.inputs[reader.index]
    while value is not None and (node := value.producer()) is not None:
        yield node
        value = node.inputs[0]


def _number(node: ir.Node, name: str) -> float:
    number = node.attributes.get_float(name, 1.0)
    return 1.0 if number is None else number


def _scaled(builder: Builder, value: ir.Value, factor: float) -> ir.Value:
    if factor == 1.0:
        return value
    return builder.op("Mul", [value, builder.constant(np.array(factor, dtype=np.float32))])
