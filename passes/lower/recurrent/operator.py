"""LSTM and GRU nodes as the `dtc` operators that take a weight in its form (`dtc.deploy.ops.recurrent.operators`).

Weights are lowered form by form: each replaces its own by the arrays of the form, and the node by the operator of the
next name, `LSTM` by `LSTM_sparse_dense`, that by `LSTM_sparse_binary`. A weight that is still dense stays a site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, require_operator
from dtc.deploy.ops.recurrent.operators import CELLS, forms_of, operator_name
from dtc.deploy.ops.recurrent.weights import DENSE, FORMS
from dtc.graph import INPUT_ROLES, Reader, Role, Site
from dtc.passes.lower.readers import input_size
from dtc.passes.lower.rewriting import Rewriting

_ROLES = {"LSTM": (Role.LSTM_INPUT, Role.LSTM_RECURRENT), "GRU": (Role.GRU_INPUT, Role.GRU_RECURRENT)}


@dataclass(frozen=True)
class CodedWeight:
    """A weight in one of the forms of the operators.

    Attributes:
        form: Its name there.
        arrays: In order.
        attributes: Those of the form, by the form's names.
    """

    form: str
    arrays: Sequence[ir.Value]
    attributes: Mapping[str, int] = field(default_factory=dict)


def replace_weight(rewriting: Rewriting, site: Site, reader: Reader, coded: CodedWeight) -> None:
    """Put the operator that takes the reader's weight in its form into the place of the reader's node.

    The form is of the matrices that `reader.view` shows; `unfit_recurrence` has had no objection.
    """
    node, which = reader.node, 0 if reader.role in INPUT_ROLES else 1
    cell, forms, plain, arrays = _parts(node)
    forms[which], arrays[which] = coded.form, list(coded.arrays)
    attributes = dict(node.attributes)
    # The operators have the default activations alone, which `unfit_recurrence` has made sure of.
    attributes.pop("activations", None)
    # A node of ONNX reads the number of inputs from the shape of W; the arrays of a form may not tell it.
    if node.domain != DOMAIN:
        attributes["input_size"] = ir.AttrInt64("input_size", input_size(reader) or 0)
    for name, number in coded.attributes.items():
        attributes[f"{'wr'[which]}_{name}"] = ir.AttrInt64(f"{'wr'[which]}_{name}", number)
    name = operator_name(cell, *forms)
    inputs, outputs = [*plain, *arrays[0], *arrays[1]], len(CELLS[cell].outputs)
    new = ir.Node(DOMAIN, name, inputs, list(attributes.values()), num_outputs=outputs, name=node.name)
    rewriting.ledger.made(site, new)
    rewriting.moved(node, new, _dense_weights(cell, forms, arrays))
    _replace(node, new)
    require_operator(rewriting.model, name)


def _dense_weights(cell: str, forms: Sequence[str], arrays: Sequence[Sequence[object]]) -> dict[Role, int]:
    """Return the weights of an operator that are still dense, and the inputs that they are."""
    # `LSTM_sparse_dense` has six inputs in front, then the three arrays of a sparse W (values, columns, row pointers),
    # then R as one array: R is input 9.
    first = len(CELLS[cell].inputs)
    places = {_ROLES[cell][0]: first, _ROLES[cell][1]: first + len(arrays[0])}
    return {role: place for (role, place), form in zip(places.items(), forms, strict=True) if form == DENSE}


def set_dense_input(node: ir.Node, x: ir.Value, weight: ir.Value, columns: int) -> None:
    """Give a node, of ONNX or an operator, another X and dense W, of that many columns."""
    node.replace_input_with(0, x)
    if node.domain == DOMAIN:
        node.replace_input_with(len(CELLS[forms_of(node.op_type)[0]].inputs), weight)
        node.attributes["input_size"] = ir.AttrInt64("input_size", columns)
    else:
        node.replace_input_with(1, weight)


def _parts(
    node: ir.Node,
) -> tuple[str, list[str], list[ir.Value | None], list[list[ir.Value | None]]]:
    """Return the cell, the forms of W and R, all other inputs in the operators' order, and the arrays of W and R."""
    # 1. A node of ONNX has X, W, R, B, ...: W and R are taken out, the others put in the operators' order; both are
    # dense.
    if node.domain != DOMAIN:
        cell = node.op_type
        given = dict(zip(CELLS[cell].node_inputs, node.inputs, strict=False))
        plain = [given.get(name) for name in CELLS[cell].inputs]
        return cell, [DENSE, DENSE], plain, [[given["W"]], [given["R"]]]
    # 2. An operator, of which the other weight was lowered before: its name tells how many arrays each weight has.
    cell, *forms = forms_of(node.op_type)
    first = len(CELLS[cell].inputs)
    middle = first + len(FORMS[forms[0]].arrays)
    inputs = list(node.inputs)
    return cell, forms, inputs[:first], [inputs[first:middle], inputs[middle:]]


def _replace(old: ir.Node, new: ir.Node) -> None:
    """Put `new` into the place of `old`. All its outputs have names: onnx wants every output of a function."""
    assert old.graph is not None
    for index, output in enumerate(new.outputs):
        given = old.outputs[index] if index < len(old.outputs) else None
        if given is None or not given.name:
            output.name, output.type = f"{old.name}/unread_{index}", ir.TensorType(ir.DataType.FLOAT)
            continue
        given.replace_all_uses_with(output, replace_graph_outputs=True)
        output.type, output.shape = given.type, given.shape
        given.name, output.name = None, given.name
    old.graph.insert_before(old, new)
    old.graph.remove(old, safe=True)
