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

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

import dtc.deploy.ops
from dtc.registry import collect, modules

DOMAIN = "dtc"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of the domain `dtc`: the `OP` of a module of this folder, or one of its `OPS`.

    Attributes:
        name: Op type, unique in the domain.
        function: Returns a new model-local function of that name, in standard operators (build it with `Body`).
        inputs: What each input is, in order, by name; they are the function's inputs.
        attributes: What each attribute is, by name.
        doc: What it computes, in one or two sentences.
    """

    name: str
    function: Callable[[], ir.Function]
    inputs: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    doc: str = ""


class Body:
    """Collects the nodes of a function's body, and closes it into an `ir.Function`."""

    def __init__(self, inputs: Sequence[str], opset: int = 18) -> None:
        self.inputs = {name: ir.Value(name=name) for name in inputs}
        self.opset = opset
        self._nodes: list[ir.Node] = []

    def constant(self, array: npt.NDArray[Any] | np.generic) -> ir.Value:
        """Add a Constant; a body has no initializers."""
        return self.op("Constant", [], value=ir.tensor(array))

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """Add a node of one output; `ir.RefAttr` as an attribute's value hands on the function's own attribute."""
        return self.ops(op_type, inputs, 1, **attributes)[0]

    def ops(self, op_type: str, inputs: Sequence[ir.Value | None], count: int, **attributes: Any) -> Sequence[ir.Value]:
        """Add a node of `count` outputs."""
        label = f"{op_type}_{len(self._nodes)}"
        node = ir.node(op_type, list(inputs), attributes or None, num_outputs=count, name=label)
        for index, output in enumerate(node.outputs):
            output.name = f"{label}_{index}" if count > 1 else label
        self._nodes.append(node)
        return node.outputs

    def close(self, name: str, output: ir.Value, attributes: Sequence[ir.Attr] = ()) -> ir.Function:
        """Return the function `dtc::<name>` of one output `y`; `attributes` carry their defaults."""
        return self.close_all(name, {"y": output}, attributes)

    def close_all(self, name: str, outputs: Mapping[str, ir.Value], attributes: Sequence[ir.Attr] = ()) -> ir.Function:
        """Return the function `dtc::<name>` of several outputs, by their names."""
        for label, output in outputs.items():
            output.name = label
        graph = ir.Graph(
            list(self.inputs.values()),
            list(outputs.values()),
            nodes=self._nodes,
            opset_imports={"": self.opset},
            name=name,
        )
        return ir.Function(DOMAIN, name, graph=graph, attributes=list(attributes))


@cache
def operators() -> dict[str, Operator]:
    """Return every operator by name; a name taken twice and an import error are loud."""
    return collect(dtc.deploy.ops, _offered, "operators")


def _offered(module: ModuleType) -> Iterator[tuple[str, Operator]]:
    """Yield the operators of a module, or of all modules of a form's folder."""
    if hasattr(module, "__path__"):
        for each in modules(module):
            yield from _offered(each)
        return
    for operator in (*getattr(module, "OPS", ()), *([module.OP] if hasattr(module, "OP") else [])):
        yield operator.name, operator


def require_operator(model: ir.Model, name: str) -> None:
    """Put the function of operator `name` into `model`, once, and import the domain.

    The body takes the model's own opset: runtimes inline it into the graph as it stands, and the checker wants the
    same version of every operator. So a body may only use what has one form from `Body.opset` up to the model's.

    Raises:
        ValueError: The model's opset is older than the body; raise it first (`dtc.passes.opset`).
    """
    model.opset_imports.setdefault(DOMAIN, VERSION)
    key = (DOMAIN, name, "")
    if key in model.functions:
        return
    function = operators()[name].function()
    needed, own = function.opset_imports[""], model.opset_imports.get("", 1) or 1
    if own < needed:
        raise ValueError(f"operator {name} needs opset {needed}, the model has {own}")
    function.opset_imports[""] = own
    model.functions[key] = function
