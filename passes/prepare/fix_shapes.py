"""Giving a model inputs and outputs of one size each, for what is made for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from dtc.errors import DataError
from dtc.graph import all_nodes
from dtc.graph.signature import Dim, input_specs


def size_inputs(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> dict[Dim, int]:
    """Give inputs of a model shapes, in place; return the sizes that follow of free dimensions of other inputs.

    `x` of `["N", ?]` given [2, 576] tells that N is 2, wherever it stands; of `[?, ?]`, that leading dimensions without
    a name (None) are 2.

    Raises:
        DataError: A name is that of no input, or an input cannot have the shape.
    """
    specs, sizes = {spec.name: spec for spec in input_specs(model)}, dict[Dim, int]()
    for name, shape in shapes.items():
        if name not in specs:
            raise DataError(f"no input is called {name!r}; there are: {', '.join(specs)}")
        dims = specs[name].shape
        known = [dim if isinstance(dim, int) else sizes.get(dim) if dim is not None else None for dim in dims]
        if len(shape) != len(dims) or any(size not in (had, None) for had, size in zip(shape, known, strict=True)):
            raise DataError(f"input {specs[name]} cannot have the shape {list(shape)}")
        free = [(dim, axis) for axis, dim in enumerate(dims) if not isinstance(dim, int)]
        sizes |= {dim: shape[axis] for dim, axis in free if dim is not None or axis == 0}
    for value in model.graph.inputs:
        if str(value.name) in shapes:
            value.shape = ir.Shape(shapes[str(value.name)])
    return sizes


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
