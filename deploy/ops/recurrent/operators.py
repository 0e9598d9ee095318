"""`dtc.LSTM_<w>_<r>` and `dtc.GRU_<w>_<r>`: LSTM and GRU whose two weights are in whatever form.

`w` is the form of the input weight, `r` that of the recurrent one (`dtc.deploy.ops.recurrent.weights.FORMS`); an input
weight of low rank is a MatMul in front of the node. Inputs, outputs and attributes mean what ONNX says of its LSTM and
GRU, with the default activations and `layout` 0; a weight's place is taken by its arrays, behind all other inputs.

A body decodes both weights, which runtimes fold at load, in front of the standard node: without the native library a
file runs at the speed of the dense node. For a low-rank R that is a product of its factors. A Scan on the factors
(`dtc.passes.lower.recurrent.scan`) would keep them small, but is another graph with each set of optional inputs, and a
function cannot ask which of them it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, Operator
from dtc.deploy.ops.binary.decode import integer_attribute
from dtc.deploy.ops.binary.matmul import ACCURACY_DOC, ACCURACY_LEVEL
from dtc.deploy.ops.recurrent.weights import DENSE, FORMS, GivenWeight
from dtc.graph.builder import FunctionBuilder

OPSET = 12

_DIRECTIONS = "forward, reverse or bidirectional"


@dataclass(frozen=True)
class CellSignature:
    """The differences of LSTM and GRU: gates, inputs, outputs and attributes of their own.

    Attributes:
        gates: How many rows of a weight a number of the state has.
        inputs: Inputs but for the weights, in the operators' order, by ONNX's names.
        node_inputs: All inputs in the order of ONNX's node; W and R are the weights.
        outputs: By ONNX's names.
        attributes: Those of the cell alone.
    """

    gates: int
    inputs: Mapping[str, str]
    node_inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, tuple[ir.AttributeType, int | None, str]]


_INPUTS = {
    "X": "float32 [steps, batch, input_size]",
    "B": "float32 [directions, 2 * gates * hidden_size]; may be left out",
    "sequence_lens": "int32 [batch]; may be left out",
    "initial_h": "float32 [directions, batch, hidden_size]; may be left out",
}
_LSTM_INPUTS = {
    "initial_c": "float32 [directions, batch, hidden_size]; may be left out",
    "P": "float32 [directions, 3 * hidden_size]; may be left out",
}
_BEFORE_RESET = "1: the recurrent part of the candidate is scaled by the reset gate behind its product and bias"

CELLS: Mapping[str, CellSignature] = {
    "LSTM": CellSignature(
        4,
        _INPUTS | _LSTM_INPUTS,
        ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
        ("Y", "Y_h", "Y_c"),
        {},
    ),
    "GRU": CellSignature(
        3,
        _INPUTS,
        ("X", "W", "R", "B", "sequence_lens", "initial_h"),
        ("Y", "Y_h"),
        {"linear_before_reset": (ir.AttributeType.INT, 0, _BEFORE_RESET)},
    ),
}

_ATTRIBUTES: Mapping[str, tuple[ir.AttributeType, int | str | None, str]] = {
    "hidden_size": (ir.AttributeType.INT, None, "numbers in the state; columns of R"),
    "input_size": (ir.AttributeType.INT, None, "numbers in an input; columns of W"),
    "direction": (ir.AttributeType.STRING, "forward", _DIRECTIONS),
    "clip": (ir.AttributeType.FLOAT, None, "what goes into an activation is cut to [-clip, clip]; left out: it is not"),
}

_ACCURACY = ir.AttributeType.INT, ACCURACY_LEVEL, ACCURACY_DOC


def operator_name(cell: str, w: str, r: str) -> str:
    """Return the name of the operator for the forms `w` and `r`."""
    return f"{cell}_{w}_{r}"


def forms_of(op_type: str) -> tuple[str, str, str]:
    """Return the cell and the two forms of an operator's name."""
    return _NAMES[op_type]


def inputs_of(cell: str, w: str, r: str) -> dict[str, str]:
    """Return the descriptions of the operator's inputs, in order, by name."""
    arrays = {f"{p}_{name}": doc for p, form in (("w", w), ("r", r)) for name, doc in FORMS[form].arrays.items()}
    return dict(CELLS[cell].inputs) | arrays


def _attributes_of(cell: str, w: str, r: str) -> dict[str, tuple[ir.AttributeType, int | str | None, str]]:
    own = {
        f"{prefix}_{name}": (ir.AttributeType.INT, default, doc)
        for prefix, form in (("w", w), ("r", r))
        for name, (default, doc) in FORMS[form].attributes.items()
    }
    accuracy = {"accuracy_level": _ACCURACY} if any(FORMS[form].has_accuracy for form in (w, r)) else {}
    return {**_ATTRIBUTES, **CELLS[cell].attributes, **own, **accuracy}


def _function(cell: str, w: str, r: str) -> ir.Function:
    """Return the body: decode both weights, then the standard node."""
    body, attributes = FunctionBuilder(DOMAIN, list(inputs_of(cell, w, r)), OPSET), _attributes_of(cell, w, r)
    # W [directions, gates * hidden, input_size] and R [directions, gates * hidden, hidden] differ in their columns
    # alone.
    hidden = integer_attribute(body, "hidden_size")
    rows = body.op("Mul", [hidden, body.constant([CELLS[cell].gates])])
    weights = {
        "W": FORMS[w].decode(GivenWeight(body, "w", rows, integer_attribute(body, "input_size"))),
        "R": FORMS[r].decode(GivenWeight(body, "r", rows, hidden)),
    }
    # The standard node takes its attributes from the caller's node; those of the forms are read by the decoders.
    names = ["hidden_size", "direction", "clip", *CELLS[cell].attributes]
    handed_on: dict[str, Any] = {name: ir.RefAttr(name, name, attributes[name][0]) for name in names}
    outputs = body.ops(
        cell,
        [weights[name] if name in weights else body.inputs[name] for name in CELLS[cell].node_inputs],
        len(CELLS[cell].outputs),
        **handed_on,
    )
    described = [ir.Attr(name, kind, default) for name, (kind, default, _) in attributes.items()]
    named = dict(zip(CELLS[cell].outputs, outputs, strict=True))
    return body.close_all(operator_name(cell, w, r), named, described)


def _operator(cell: str, w: str, r: str) -> Operator:
    kinds = {ir.AttributeType.INT: "int", ir.AttributeType.FLOAT: "float", ir.AttributeType.STRING: "string"}
    return Operator(
        operator_name(cell, w, r),
        partial(_function, cell, w, r),
        inputs_of(cell, w, r),
        {name: f"{kinds[kind]}: {doc}" for name, (kind, _, doc) in _attributes_of(cell, w, r).items()},
        f"ONNX's {cell} with its default activations, whose W is {w} and whose R is {r}.",
    )


_NAMES = {operator_name(cell, w, r): (cell, w, r) for cell in CELLS for w in FORMS for r in FORMS}

OPS = [
    _operator(cell, w, r)
    for cell in CELLS
    for w, input_form in FORMS.items()
    for r in FORMS
    if "w" in input_form.roles and (w, r) != (DENSE, DENSE)
]
