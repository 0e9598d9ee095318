"""Every operator of the domain `dtc`: its signature is its function's, and a form has it."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir
import pytest

from dtc.deploy.ops import DOMAIN, operators
from dtc.deploy.ops.recurrent.weights import DENSE, FORMS
from dtc.passes.lower.kinds import kinds

NAMES = sorted(operators())


@pytest.mark.parametrize("name", NAMES)
def test_an_operator_is_what_its_function_says(name: str) -> None:
    operator, function = operators()[name], operators()[name].function()
    assert operator.doc.endswith(".")
    assert (function.domain, function.name) == (DOMAIN, name)
    assert [value.name for value in function.inputs] == list(operator.inputs)
    assert set(function.attributes) == set(operator.attributes)
    assert all(operator.inputs.values())
    assert all(operator.attributes.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_function_is_made_anew_and_of_standard_operators(name: str) -> None:
    function = operators()[name].function()
    assert operators()[name].function() is not function
    assert {node.domain for node in function} == {""}
    proto = ir.to_proto(function)
    assert proto.opset_import[0].domain == ""


def test_every_operator_belongs_to_one_form() -> None:
    owners = Counter(operator for row in kinds().values() for operator in row.operators)
    layouts = Counter(layout for row in kinds().values() for layout in row.recurrent)
    assert set(owners.values()) | set(layouts.values()) == {1}
    assert set(layouts) | {DENSE} == set(FORMS)
    recurrent = {name for name in NAMES if name.startswith(("LSTM_", "GRU_"))}
    assert set(owners) == set(NAMES) - recurrent
