"""Giving a model inputs and outputs of one size each, for what is made for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from dtc.graph import all_nodes


def fix_shapes(model: ir.Model, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    """Give a model the shapes of arrays, by the names of its inputs and outputs, in place.

    What the model said of the shapes between is forgotten: it may name sizes that are free no more.
    """
    for value in model.graph.inputs:
        if str(value.name) in inputs:
            value.shape = ir.Shape(inputs[str(value.name)].shape)
    for node in all_nodes(model):
        for value in node.outputs:
            value.shape = None
    for value in model.graph.outputs:
        value.shape = ir.Shape(outputs[str(value.name)].shape)
