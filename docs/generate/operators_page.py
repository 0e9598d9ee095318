"""The page of the operators: what each computes, its inputs and attributes."""

from __future__ import annotations

from collections.abc import Iterator

from tables import named, page, table

from dtc.deploy.ops import Operator, operators
from dtc.deploy.ops.recurrent.operators import CELLS, inputs_of, operator_name
from dtc.deploy.ops.recurrent.weights import FORMS

INTRODUCTION = """\
The operators of the domain `dtc`, version 1. Each node of one comes with a model-local function of the same name in
standard operators, which is its definition. How the arrays are laid out, bit by bit, is on the page of
[stored forms](formats.md)."""

RECURRENT = """\
`dtc.LSTM_<w>_<r>` and `dtc.GRU_<w>_<r>` are ONNX's LSTM and GRU whose input weight is in the form `w` and whose
recurrent weight is in the form `r`. A form's arrays stand behind all other inputs, those of `w` first. `w` is one of
{both}; `r` may also be {recurrent}; `dense` and `dense` is ONNX's own node. Rows are the gates of one direction, one
after another in ONNX's order (iofc of an LSTM, zrh of a GRU)."""


def operators_page() -> str:
    """Return the page; the recurrent operators, of one pattern, are told once."""
    recurrent = {operator_name(cell, w, r) for cell in CELLS for w in FORMS for r in FORMS}
    plain = [each for name, each in sorted(operators().items()) if name not in recurrent]
    words = {
        "both": named(name for name, form in FORMS.items() if "w" in form.roles),
        "recurrent": named(name for name, form in FORMS.items() if "w" not in form.roles),
    }
    parts = [
        INTRODUCTION,
        *(part for each in plain for part in _operator(each)),
        "## LSTM and GRU",
        RECURRENT.format(**words),
        *(part for cell in CELLS for part in _cell(cell)),
        "### Forms of a weight",
        *(part for name in FORMS for part in _weight_form(name)),
    ]
    return page("Operators", parts)


def _operator(each: Operator) -> Iterator[str]:
    yield f"## {each.name}"
    yield each.doc
    yield table(["input", "what it is"], [[f"`{name}`", doc] for name, doc in each.inputs.items()])
    if each.attributes:
        yield table(["attribute", "what it is"], [[f"`{name}`", doc] for name, doc in each.attributes.items()])


def _cell(cell: str) -> Iterator[str]:
    """Yield what all operators of a cell have: those of one of them, without what its forms bring."""
    w, r = "binary", "dense"
    of_forms = {f"w_{name}" for name in (*FORMS[w].arrays, *FORMS[w].attributes)} | {f"r_{n}" for n in FORMS[r].arrays}
    inputs = {name: doc for name, doc in inputs_of(cell, w, r).items() if name not in of_forms}
    attributes = operators()[operator_name(cell, w, r)].attributes
    yield f"### {cell}: inputs and attributes"
    rows = [[f"`{name}`", doc] for name, doc in inputs.items()]
    yield table(["input", "what it is"], [*rows, ["arrays of `w`, then of `r`", "see below"]])
    rows = [[f"`{name}`", doc] for name, doc in attributes.items() if name not in of_forms]
    yield table(["attribute", "what it is"], rows)
    yield f"Outputs: {named(CELLS[cell].outputs)}, as ONNX's. `accuracy_level` is there where a form is `binary`."


def _weight_form(name: str) -> Iterator[str]:
    form = FORMS[name]
    prefixes = [prefix for prefix in "wr" if prefix in form.roles]
    rows = [[named(f"{prefix}_{array}" for prefix in prefixes), doc] for array, doc in form.arrays.items()]
    for key, (_, doc) in form.attributes.items():
        rows.append(["attribute " + named(f"{prefix}_{key}" for prefix in prefixes), f"int: {doc}"])
    yield f"#### `{name}`"
    yield table(["array", "what it is"], rows)
