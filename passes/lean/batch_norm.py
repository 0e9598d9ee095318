"""BatchNormalization that nothing trains any more, folded into the product in front of it.

What it computes is a factor and a summand for each channel. The factors go into the rows of the weight, dense or in its
compressed form, and the summands into the bias: B. Jacob et al., Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference, CVPR 2018 (arXiv 1712.05877), section 3.2. Ours: the form of a weight that
was distorted before is scaled, not distorted anew, so that it is the same weight to the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from dtc.formatting import size
from dtc.forms import Form, scaled, stored_bytes
from dtc.graph import Site, all_graphs, all_nodes, find_sites
from dtc.graph.builder import GraphBuilder, Names, add_initializer, replace_node
from dtc.graph.opset import opset_of
from dtc.passes.lean.affine import Affine, Wide
from dtc.passes.lean.product import ScalableProduct
from dtc.passes.lean.types import Types
from dtc.passes.lower.ledger import array_bytes
from dtc.passes.prepare.remove_unused import RemoveUnusedPass

_OPSET = 7
"""Before, BatchNormalization was training unless told otherwise, and Mul and Add did not broadcast by themselves."""

_NODE = 30
"""Bytes of a node or of an initializer with short names, without its numbers."""


@dataclass(frozen=True, eq=False)
class Folded:
    """What became of the BatchNormalizations of a model.

    Attributes:
        forms: The compressed weights as they are now, by site.
        count: How many BatchNormalizations are gone.
        apart: Those among them that became a Mul and an Add, as no weight could take their factors.
        nbytes: What that saves.
        stands_for: Values that hold other numbers now, by name: the name of the value that they are, or "" for none
            that the model had.
    """

    forms: Mapping[str, tuple[Form, ...]]
    count: int = 0
    apart: int = 0
    nbytes: int = 0
    stands_for: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """What to tell a user, in a line or none."""
        if not self.count:
            return []
        apart = f" ({self.apart} into Mul and Add)" if self.apart else ""
        return [f"folded {self.count} BatchNormalization{apart}, {size(self.nbytes)}"]


def fold_batch_norms(
    model: ir.Model, forms: Mapping[str, tuple[Form, ...]], stored: Callable[[Form], Form] = lambda form: form
) -> Folded:
    """Fold every BatchNormalization that does not train, in place; `forms` are those of the model's compressed weights.

    `stored` says how a form is stored once its rows are scaled.

    1. Behind a Conv, ConvTranspose, Gemm or MatMul that nothing else reads, whose weight nothing else reads either:
       into that weight and its bias.
    2. Behind anything else, or where the weight's form has no place for a factor a row: it becomes a Mul and an Add
       where that is smaller, two vectors in place of four.
    """
    affine = {node: found for node in all_nodes(model) if (found := Affine.of(node)) is not None}
    if opset_of(model) < _OPSET or not affine:
        return Folded(forms)
    before = _array_bytes(model)
    folding = _Folding(model, forms, stored)
    for node, found in affine.items():
        folding.fold(node, found)
    if not folding.count:
        return Folded(forms)
    RemoveUnusedPass()(model)
    grown = stored_bytes(each for all_of in folding.forms.values() for each in all_of) - stored_bytes(
        each for all_of in forms.values() for each in all_of
    )
    saved = before - _array_bytes(model) + folding.node_bytes - grown
    return Folded(folding.forms, folding.count, folding.apart, saved, folding.stands_for)


def _array_bytes(model: ir.Model) -> int:
    """Return the bytes of all initializers; dense weights keep their size, whatever becomes of their numbers."""
    return sum(array_bytes(value) for graph in all_graphs(model) for value in graph.initializers.values())


class _Folding:
    def __init__(self, model: ir.Model, forms: Mapping[str, tuple[Form, ...]], stored: Callable[[Form], Form]) -> None:
        self.forms, self._stored = dict(forms), stored
        self.count = self.apart = self.node_bytes = 0
        self.stands_for: dict[str, str] = {}
        self._names, self._types = Names(model), Types(model)
        self._opset = opset_of(model)
        self._sites = {site.value: site for site in find_sites(model) if site.name in forms}

    def fold(self, norm: ir.Node, affine: Affine) -> None:
        """Fold a BatchNormalization into the product in front of it, or make a Mul and an Add of it, if either pays."""
        nbytes = int(ir.serde.serialize_node(norm).ByteSize())
        product = ScalableProduct.before(norm, len(affine.factor), self._types)
        named = [str(value.name) for value in (*(product.node.outputs if product else ()), norm.outputs[0])]
        if product is not None and self._scale(product, affine.factor):
            self.stands_for[named[0]] = "" if product.node.op_type == "MatMul" else named[-1]
            self._add_bias(norm, product, affine.summand + affine.factor * product.bias)
        elif self._split(norm, affine, product, nbytes):
            self.stands_for |= dict.fromkeys(named[:-1], "")
            self.apart += 1
        else:
            return
        self.count += 1
        self.node_bytes += nbytes

    # The factors.

    def _scale(self, product: ScalableProduct, factor: Wide) -> bool:
        """Multiply the rows of a product's weight; return False where it has no place for the factors."""
        if product.weight is None:
            return False
        site = self._sites.get(product.weight)
        return self._scale_dense(product, factor) if site is None else self._scale_form(site, product, factor)

    def _scale_dense(self, product: ScalableProduct, factor: Wide) -> bool:
        weight = product.weight
        assert weight is not None
        assert weight.const_value is not None
        with np.errstate(over="ignore"):
            array = (weight.const_value.numpy() * product.spread(factor)).astype(np.float32)
        if not np.isfinite(array).all():
            return False
        weight.const_value = ir.tensor(array, name=weight.name)
        return True

    def _scale_form(self, site: Site, product: ScalableProduct, factor: Wide) -> bool:
        spread = np.broadcast_to(product.spread(factor).astype(np.float32), site.shape)
        matrices = site.matrices(spread)
        rows = matrices[:, :, :1]
        if (matrices != rows).any():  # a row of the form is not a channel
            return False
        old = self.forms[site.name]
        new = scaled(old, rows[:, :, 0])
        if new is None:
            return False
        forms = tuple(self._stored(form) for form in new)
        # Coefficients of 16 bits become such of 32: of three planes or more that is more than a Mul with its vector.
        if stored_bytes(forms) - stored_bytes(old) > 4 * len(factor) + 2 * _NODE:
            return False
        self.forms[site.name] = forms
        return True

    # The summands.

    def _add_bias(self, norm: ir.Node, product: ScalableProduct, bias: Wide) -> None:
        """Add a bias to a product in place of what was added before, and let it stand for the BatchNormalization."""
        node = product.node
        if node.op_type == "MatMul":
            builder = self._builder(norm)
            total = builder.op("Add", [node.outputs[0], self._vector(norm, bias, (*product.biases, norm.inputs[2]))])
            self._replace(norm, builder, total)
        else:
            vector = self._vector(norm, bias, (*product.biases, norm.inputs[2]))
            if len(node.inputs) < 3:
                node.resize_inputs(3)
            node.replace_input_with(2, vector)
            node.attributes.pop("beta", None)
            _hand_on(norm, node.outputs[0])
        if product.added is not None:
            _drop(product.added)

    def _split(self, norm: ir.Node, affine: Affine, product: ScalableProduct | None, nbytes: int) -> bool:
        """Put a Mul and an Add in the place of a BatchNormalization, if that is smaller."""
        data, rank = norm.inputs[0], self._types.rank(norm.inputs[0]) if product is None else product.rank
        if data is None or rank is None or rank < 2 or not (product or self._types.is_float32(data)):
            return False
        freed = nbytes + sum(array_bytes(value) for value in norm.inputs[1:] if value is not None and _is_own(value))
        if 2 * (4 * len(affine.factor) + 2 * _NODE) >= freed:
            return False
        shape, summand = (-1, *[1] * (rank - 2)), affine.summand
        if product is not None and (product.node.op_type != "Gemm" or self._opset >= 11):
            summand, data = summand + affine.factor * product.bias, product.node.outputs[0]
            self._drop_bias(norm, product)
        builder = self._builder(norm)
        factors = self._vector(norm, affine.factor.reshape(shape), (norm.inputs[1],))
        summands = self._vector(norm, summand.reshape(shape), (norm.inputs[2],))
        self._replace(norm, builder, builder.op("Add", [builder.op("Mul", [data, factors]), summands]))
        return True

    @staticmethod
    def _drop_bias(norm: ir.Node, product: ScalableProduct) -> None:
        if product.added is not None:
            norm.replace_input_with(0, product.node.outputs[0])
            _drop(product.added)
        if len(product.node.inputs) > 2:
            product.node.resize_inputs(2)

    # Writing.

    def _builder(self, norm: ir.Node) -> GraphBuilder:
        assert isinstance(norm.graph, ir.Graph)
        return GraphBuilder(self._names, norm.name or "", graph=norm.graph)

    def _replace(self, norm: ir.Node, builder: GraphBuilder, output: ir.Value) -> None:
        self.node_bytes -= sum(int(ir.serde.serialize_node(node).ByteSize()) for node in builder.nodes)
        replace_node(norm, builder, {norm.outputs[0]: output})

    def _vector(self, norm: ir.Node, array: Wide, old: tuple[ir.Value | None, ...]) -> ir.Value:
        """Return an initializer of an array: the first of `old` that nothing else reads, so that its name stays."""
        numbers = array.astype(np.float32)
        for value in old:
            if value is not None and _is_own(value):
                value.const_value, value.shape = ir.tensor(numbers, name=value.name), ir.Shape(numbers.shape)
                return value
        assert isinstance(norm.graph, ir.Graph)
        return add_initializer(norm.graph, self._names.short(), numbers)


def _is_own(value: ir.Value) -> bool:
    """Return whether an initializer is read once."""
    return value.is_initializer() and len(value.uses()) == 1 and not value.is_graph_output()


def _hand_on(norm: ir.Node, output: ir.Value) -> None:
    """Let a value stand for what a node writes, under its name where that is an output of the graph."""
    assert norm.graph is not None
    written = norm.outputs[0]
    is_output, name = written.is_graph_output(), written.name
    written.replace_all_uses_with(output, replace_graph_outputs=True)
    output.shape = output.shape or written.shape
    if is_output:
        output.type, output.shape = written.type, written.shape
        written.name, output.name = None, name
    norm.graph.remove(norm, safe=True)


def _drop(node: ir.Node) -> None:
    assert node.graph is not None
    node.graph.remove(node, safe=True)
