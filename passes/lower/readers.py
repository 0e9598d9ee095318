"""How a node uses a weight: the one answer, for every form.

`product_of`, `Lookup` and `unfit_recurrence` say what a reader computes with a site's matrix, or why nothing but
the dense weight will do. Whether an operator then computes it is a question of the form, the target and its costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.recurrent.operators import OPSET as RECURRENT_OPSET
from dtc.graph import INPUT_ROLES, Reader, Role, Site
from dtc.graph.builder import Builder
from dtc.graph.cells import has_default_activations
from dtc.graph.einsum import ELLIPSIS, Letters, contraction
from dtc.graph.opset import opset_of
from dtc.graph.views import NoView

_CELLS = frozenset({"LSTM", "GRU", "RNN"})
_NEAR = 6
"""Nodes between a stored array and the LSTM whose weight is made of it: a term of a sum, a factor, part of a stack."""


@dataclass(frozen=True)
class Unfit:
    """Why a reader needs the dense weight."""

    reason: str


class CodedProduct(Protocol):
    """What a node makes of `x W^T`, `W [out, in]` being the matrix of a site."""

    def operand(self, builder: Builder) -> ir.Value:
        """Return x, `[..., in]`."""
        ...

    def finish(self, builder: Builder, product: ir.Value) -> ir.Value:
        """Return the output of the node, given the product `[..., out]`."""
        ...


def product_of(reader: Reader, site: Site) -> CodedProduct | Unfit:
    """Return what an operator on the site's form can compute for a reader, or why that needs the dense weight."""
    unfit = _unfit(reader, site)
    if unfit is not None:
        return unfit
    return Contracted.of(reader) if reader.role is Role.EINSUM else Multiplication.on_codes(reader)


@dataclass(frozen=True)
class Multiplication:
    """`y = alpha op(x) W^T + beta bias`, or `y = alpha W op(x) + beta bias` where the weight is on the left.

    Attributes:
        x: The other factor: `op(x)` is `[..., in]`, or `[..., in, n]` where the weight is on the left.
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
            return Unfit(f"no operator stands for {node.op_type}")
        # MatMul and Gemm: the weight is input 0 or 1, the other factor the other one.
        x = node.inputs[1 - reader.index]
        assert x is not None, "a product has two factors"
        if reader.role is Role.MATMUL:
            return cls(x, left=reader.index == 0, stacked=len(reader.view.perm) > 2)
        beta = _number(node, "beta")
        bias = node.inputs[2] if len(node.inputs) > 2 and beta != 0.0 else None
        transposed = bool(node.attributes.get_int("transA" if reader.index else "transB", 0))
        return cls(x, transposed, _number(node, "alpha"), bias, beta, left=reader.index == 0)

    @classmethod
    def on_codes(cls, reader: Reader) -> Multiplication | Unfit:
        """Return what an operator on the site's form can compute, or why the reader needs the dense weight."""
        product = cls.of(reader)
        if isinstance(product, Unfit):
            return product
        if product.stacked:
            return Unfit("it reads a stack of matrices")
        if product.left and product.x.shape is None:
            return Unfit("the weight is the left factor, and the rank of the other one is unknown")
        return product

    def operand(self, builder: Builder) -> ir.Value:
        """Return `op(x)`; where the weight is on the left its transpose, as `W x` is the transpose of `x^T W^T`."""
        return _exchanged(builder, self.x, self._rank) if self.transposed != self._turned else self.x

    def finish(self, builder: Builder, product: ir.Value) -> ir.Value:
        """Return `y`, given the product of the operand and `W^T`."""
        product = _exchanged(builder, product, self._rank) if self._turned else product
        product = _scaled(builder, product, self.alpha)
        if self.bias is None:
            return product
        return builder.op("Add", [product, _scaled(builder, self.bias, self.beta)])

    @property
    def _rank(self) -> int:
        return len(self.x.shape) if self.left and self.x.shape is not None else 2

    @property
    def _turned(self) -> bool:
        return self.left and self._rank > 1  # W x of a vector x is x W^T


@dataclass(frozen=True)
class Contracted:
    """An Einsum of two operands as `y = place(take(x) W^T)`; `take` and `place` move axes, merge and split them.

    Attributes:
        x: The other operand.
        take: Its axes in the order `[..., in...]`.
        rows: How many of them stand in front.
        place: The axes of `[..., out...]` in the order of the result.
        out: Sizes of the axes of the rows of W.
    """

    x: ir.Value
    take: tuple[int, ...]
    rows: int
    place: tuple[int, ...]
    out: tuple[int, ...]

    @classmethod
    def of(cls, reader: Reader) -> Contracted | Unfit:
        """Return what an Einsum computes, or why that is no product of one matrix."""
        node, rank = reader.node, len(reader.perm)
        found = contraction(node, reader.index, rank)
        if isinstance(found, NoView) or len(node.inputs) != 2:
            return Unfit("its Einsum has more than two operands")
        if found.batch:
            return Unfit("it reads a stack of matrices")
        x = node.inputs[1 - reader.index]
        assert x is not None, "an operand is given"
        letters, output = _spelt_out(found.others[0], x), _spelt_out(found.output, x, found.others[0])
        if letters is None or output is None:
            return Unfit("its Einsum has an ellipsis, and the rank of the other operand is unknown")
        rows = tuple(letter for letter in letters if letter not in found.into)
        if len(set(letters)) < len(letters) or set(rows) - set(output):
            return Unfit("its Einsum does more than multiply")
        product = (*rows, *found.out)
        # The axes of the rows of W are the first of its view, those of the columns follow.
        sizes = dict(zip(found.weight, reader.shape, strict=True))
        return cls(
            x,
            tuple(letters.index(letter) for letter in (*rows, *found.into)),
            len(rows),
            tuple(product.index(letter) for letter in output),
            tuple(sizes[letter] for letter in found.out),
        )

    def operand(self, builder: Builder) -> ir.Value:
        """Return `[..., in]`."""
        x = _moved(builder, self.x, self.take)
        merged = len(self.take) - self.rows
        return x if merged == 1 else builder.op("Reshape", [x, builder.constant([0] * self.rows + [-1])])

    def finish(self, builder: Builder, product: ir.Value) -> ir.Value:
        """Return the result, given `[..., out]`."""
        if len(self.out) != 1:
            product = builder.op("Reshape", [product, builder.constant([0] * self.rows + list(self.out))])
        return _moved(builder, product, self.place)


@dataclass(frozen=True)
class Lookup:
    """Rows of a table by their numbers, `W[ids]`, each of several axes, between which those of `ids` may come to stand.

    Attributes:
        ids: The numbers.
        entry: Sizes of the axes of a row.
        axis: In front of how many of them the others stand.
    """

    ids: ir.Value
    entry: tuple[int, ...]
    axis: int = 0

    @classmethod
    def on_codes(cls, reader: Reader, site: Site) -> Lookup | Unfit:
        """Return what can be looked up in the site's form, or why the reader needs the dense table."""
        return _unfit(reader, site) or cls.of(reader)

    @classmethod
    def of(cls, reader: Reader) -> Lookup | Unfit:
        """Return what a Gather looks up, or why not rows."""
        ids = reader.node.inputs[1]
        assert ids is not None, "a Gather has indices"
        axis = (reader.node.attributes.get_int("axis", 0) or 0) % len(reader.shape)
        if axis and ids.shape is None:
            return Unfit("it reads along another axis than the first, and the rank of its indices is unknown")
        return cls(ids, (*reader.shape[:axis], *reader.shape[axis + 1 :]), axis)

    def finish(self, builder: Builder, rows: ir.Value) -> ir.Value:
        """Return the output of the Gather, given the rows laid flat, `[..., in]`."""
        if len(self.entry) != 1:
            entry = builder.constant(list(self.entry))
            ids = builder.op("Shape", [self.ids], dtype=ir.DataType.INT64)
            rows = builder.op("Reshape", [rows, builder.op("Concat", [ids, entry], axis=0, dtype=ir.DataType.INT64)])
        if not self.axis:
            return rows
        assert self.ids.shape is not None
        # ids [2, 3], a row of a table [7, words, 5] along axis 1: [2, 3, 7, 5] -> [7, 2, 3, 5].
        front, behind = len(self.ids.shape), len(self.ids.shape) + len(self.entry)
        split = front + self.axis
        return _moved(builder, rows, (*range(front, split), *range(front), *range(split, behind)))


def unfit_recurrence(model: ir.Model, reader: Reader, site: Site) -> Unfit | None:
    """Return why no operator of the domain `dtc` can stand for an LSTM or GRU that reads the site; None if one can."""
    unfit = _unfit(reader, site)
    if unfit is not None or reader.node.domain == DOMAIN:
        return unfit
    node = reader.node
    if reader.role in (Role.RNN_INPUT, Role.RNN_RECURRENT):
        return Unfit("no operator stands for RNN")
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


def _spelt_out(term: Letters, x: ir.Value, of_x: Letters | None = None) -> Letters | None:
    """Return a term with a letter for each axis that its ellipsis stands for in x; None if the rank of x is unknown."""
    if ELLIPSIS not in term:
        return term
    if x.shape is None:
        return None
    hidden = len(x.shape) - len([letter for letter in of_x or term if letter != ELLIPSIS])
    place = term.index(ELLIPSIS)
    return (*term[:place], *(f"{ELLIPSIS}{axis}" for axis in range(hidden)), *term[place + 1 :])


def _exchanged(builder: Builder, value: ir.Value, rank: int) -> ir.Value:
    """Return a value with its last two axes exchanged."""
    return _moved(builder, value, (*range(rank - 2), rank - 1, rank - 2))


def _moved(builder: Builder, value: ir.Value, perm: tuple[int, ...]) -> ir.Value:
    return value if perm == tuple(range(len(perm))) else builder.op("Transpose", [value], perm=list(perm))


def _scaled(builder: Builder, value: ir.Value, factor: float) -> ir.Value:
    if factor == 1.0:
        return value
    return builder.op("Mul", [value, builder.constant(np.array(factor, dtype=np.float32))])


def wants_constant(site: Site, *, portable: bool) -> bool:
    """True if OpenVINO has to compute a site's weight when it loads, so that what decodes it is what it computes then.

    An LSTM, GRU or RNN gets a weight that is made of it, which OpenVINO refuses otherwise; or a convolution in groups,
    into whose weight it puts the scale of a BatchNormalization, in front of a Reshape that the scale does not fit.
    Files that are not portable are not for OpenVINO.
    """
    if not portable:
        return False
    values = {site.value}
    for _ in range(_NEAR):
        read = [use for value in values for use in value.uses() if use.node.domain == ""]
        if any(index > 0 and _folds_weights(node) for node, index in read):
            return True
        values = {output for node, _ in read if node.op_type not in _CELLS for output in node.outputs}
    return False


def _folds_weights(node: ir.Node) -> bool:
    in_groups = node.op_type in ("Conv", "ConvTranspose") and (node.attributes.get_int("group", 1) or 1) > 1
    return in_groups or node.op_type in _CELLS
