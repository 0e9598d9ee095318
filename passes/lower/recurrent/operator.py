"""LSTM and GRU nodes as the `dtc` operators that take a weight in its form (`dtc.deploy.ops.recurrent.operators`).

Weights are lowered form by form: each replaces its own by the arrays of the form, and the node by the operator of the
next name, `LSTM` by `LSTM_sparse_dense`, that by `LSTM_sparse_binary`. A weight that is still dense stays a site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, require_operator
from dtc.deploy.ops.recurrent.operators import CELLS, OPSET, forms_of, operator_name
from dtc.deploy.ops.recurrent.weights import FORMS
from dtc.graph import Reader, Role
from dtc.graph.cells import has_default_activations
from dtc.graph.opset import opset_of
from dtc.graph.save import PORTABLE_IR_VERSION
from dtc.passes.lower import Compressed, found_again

INPUT_ROLES = frozenset({Role.LSTM_INPUT, Role.GRU_INPUT})
RECURRENT_ROLES = frozenset({Role.LSTM_RECURRENT, Role.GRU_RECURRENT})


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


def up_to_date(model: ir.Model, items: Sequence[Compressed]) -> Iterator[Compressed]:
    """Yield items one by one, as they are lowered: the other weight of a recurrent node may have replaced the node."""
    for item in items:
        if item.site.role in INPUT_ROLES | RECURRENT_ROLES:
            yield from found_again(model, [item])
        else:
            yield item


def can_be_operator(model: ir.Model, reader: Reader) -> bool:
    """True if an operator computes what the reader's node says, on a weight that is float32 as it is stored."""
    node = reader.node
    if reader.role not in INPUT_ROLES | RECURRENT_ROLES or not _is_float(node.inputs[reader.index]):
        return False
    if node.domain == DOMAIN:
        return True
    return (
        opset_of(model) >= OPSET
        and _input_size(reader) is not None
        and has_default_activations(node)
        and not node.attributes.get_int("layout", 0)
        and not node.attributes.get_int("input_forget", 0)
    )


def replace_weight(model: ir.Model, reader: Reader, coded: CodedWeight) -> None:
    """Put the operator that takes the reader's weight in its form into the place of the reader's node.

    The form is of the matrices that `reader.view` shows; `can_be_operator` has said yes.
    """
    node, which = reader.node, 0 if reader.role in INPUT_ROLES else 1
    cell, forms, plain, arrays = _parts(node)
    forms[which], arrays[which] = coded.form, list(coded.arrays)
    attributes = dict(node.attributes)
    attributes.pop("activations", None)
    if node.domain != DOMAIN:
        attributes["input_size"] = ir.AttrInt64("input_size", _input_size(reader) or 0)
    for name, number in coded.attributes.items():
        attributes[f"{'wr'[which]}_{name}"] = ir.AttrInt64(f"{'wr'[which]}_{name}", number)
    name = operator_name(cell, *forms)
    inputs, outputs = [*plain, *arrays[0], *arrays[1]], len(CELLS[cell].outputs)
    _replace(node, ir.Node(DOMAIN, name, inputs, list(attributes.values()), num_outputs=outputs, name=node.name))
    model.ir_version = max(model.ir_version, PORTABLE_IR_VERSION)  # functions need 8
    require_operator(model, name)


def set_dense_input(node: ir.Node, x: ir.Value, weight: ir.Value, columns: int) -> None:
    """Give a node, of ONNX or an operator, another X and dense W, of that many columns."""
    node.replace_input_with(0, x)
    if node.domain == DOMAIN:
        node.replace_input_with(len(CELLS[forms_of(node.op_type)[0]].inputs), weight)
        node.attributes["input_size"] = ir.AttrInt64("input_size", columns)
    else:
        node.replace_input_with(1, weight)


def _input_size(reader: Reader) -> int | None:
    """Return the columns of the W of an ONNX node; None if nothing tells them before a run."""
    if reader.role in INPUT_ROLES:
        return reader.view.cols
    weight = reader.node.inputs[1]
    shape = weight.shape if weight is not None else None
    size = shape[2] if shape is not None and len(shape) == 3 else None
    return size if isinstance(size, int) else None


def _is_float(value: ir.Value | None) -> bool:
    """True if the weight is stored as float32, and reaches the node so."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Cast":
            return False
        value = node.inputs[0]
    return value is not None and value.dtype == ir.DataType.FLOAT


def _parts(
    node: ir.Node,
) -> tuple[str, list[str], list[ir.Value | None], list[list[ir.Value | None]]]:
    """Return the cell, the forms of W and R, all other inputs in the operators' order, and the arrays of W and R."""
    if node.domain != DOMAIN:
        cell = node.op_type
        given = dict(zip(CELLS[cell].node_inputs, node.inputs, strict=False))
        plain = [given.get(name) for name in CELLS[cell].inputs]
        return cell, ["dense", "dense"], plain, [[given["W"]], [given["R"]]]
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
