"""Nodes of a model-local function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from dtc.graph.builder.names import FunctionNames
from dtc.graph.builder.nodes import Builder


class FunctionBuilder(Builder):
    """Collects the nodes of a function's body, and closes the body into an `ir.Function`.

    A body has no initializers: constants are nodes. Values have no types: the caller's give them.

    Attributes:
        domain: Of the function.
        inputs: The function's inputs by name.
    """

    def __init__(self, domain: str, inputs: Sequence[str], opset: int) -> None:
        super().__init__(FunctionNames(), opset)
        self.domain = domain
        self.inputs = {name: ir.Value(name=name) for name in inputs}

    def integer(self, name: str) -> ir.Value:
        """Return an integer attribute of the function, int64 `[]`."""
        return self.op("Constant", [], value_int=ir.RefAttr("value_int", name, ir.AttributeType.INT))

    def close(self, name: str, output: ir.Value, attributes: Sequence[ir.Attr] = ()) -> ir.Function:
        """Return the function `name` of one output `y`; `attributes` carry their defaults."""
        return self.close_all(name, {"y": output}, attributes)

    def close_all(self, name: str, outputs: Mapping[str, ir.Value], attributes: Sequence[ir.Attr] = ()) -> ir.Function:
        """Return the function `name` of several outputs, by their names."""
        for label, output in outputs.items():
            output.name = label
        graph = ir.Graph(
            list(self.inputs.values()),
            list(outputs.values()),
            nodes=self.nodes,
            opset_imports={"": self.opset},
            name=name,
        )
        return ir.Function(self.domain, name, graph=graph, attributes=list(attributes))
