"""The `dtc` operators: signature, meaning and portable body of each; the native kernels have the same signatures.

ONNX Runtime takes the native kernel where the library is registered, and the body, a model-local function in standard
operators, otherwise. The body is what an operator means: the oracle of the tests of its kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import onnx_ir as ir

import dtc.deploy.ops
from dtc.graph.builder import GraphBuilder
from dtc.graph.opset import opset_of
from dtc.registry import collect, modules

DOMAIN = "dtc"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of the domain `dtc`: the `OP` of a module of this folder, or one of its `OPS`.

    Attributes:
        name: Op type, unique in the domain.
        function: Returns a new model-local function of that name, in standard operators, made by a
            `dtc.graph.builder.FunctionBuilder`.
        inputs: What each input is, in order, by name; they are the function's inputs.
        attributes: What each attribute is, by name.
        doc: What it computes, in one or two sentences.
    """

    name: str
    function: Callable[[], ir.Function]
    inputs: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    doc: str = ""


@cache
def operators() -> dict[str, Operator]:
    """Return every operator by name; a name taken twice and an import error are loud."""
    return collect(dtc.deploy.ops, _offered, "operators")


def _offered(module: ModuleType) -> Iterator[tuple[str, Operator]]:
    """Yield the operators of a module, or of all modules of a form's folder."""
    # 1. A folder is a form, such as `binary`: its modules hold the operators. 2. A module holds `OP`, or several as
    # `OPS`.
    if hasattr(module, "__path__"):
        for each in modules(module):
            yield from _offered(each)
        return
    for operator in (*getattr(module, "OPS", ()), *([module.OP] if hasattr(module, "OP") else [])):
        yield operator.name, operator


def require_operator(model: ir.Model, name: str) -> None:
    """Put the function of operator `name` into `model`, once, and import the domain.

    The body takes the model's own opset. Measured in ONNX Runtime 1.32: the nodes of a function are read as the model's
    opset defines them, whatever the function imports (an Unsqueeze-13 in a model of opset 12 is an invalid graph), and
    the checker wants the same version of every operator. So a body may only use what has one form from its opset up.

    Raises:
        ValueError: The model's opset is older than the body; ask first (`dtc.passes.lower.kinds.unfit_opset`).
    """
    model.opset_imports.setdefault(DOMAIN, VERSION)
    key = (DOMAIN, name, "")
    if key in model.functions:
        return
    function = operators()[name].function()
    # A body for opset 13 in a model of opset 17 is written into the file as one of opset 17.
    needed, own = function.opset_imports[""], opset_of(model)
    if own < needed:
        raise ValueError(f"operator {name} needs opset {needed}, the model has {own}")
    function.opset_imports[""] = own
    model.functions[key] = function


def call(builder: GraphBuilder, operator: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
    """Add a node of an operator of one output, and the operator's function to the model; return the output.

    Raises:
        ValueError: As `require_operator`.
    """
    require_operator(builder.names.model, operator)
    return builder.op(operator, inputs, domain=DOMAIN, label=str(len(builder.nodes)), **attributes)
