"""What the written file has to compute: the file that the user gave, with nothing changed but the numbers in it.

The stages change their own copy of the graph, and a stage that changed what it computes could not be seen by comparing
with that copy. So the file is read again, and only the arrays that the stages have changed are put into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.graph import FileTensor, all_graphs, all_nodes, load_model
from dtc.passes import prepare
from dtc.pipeline.work import Work


def tensors_of(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Return the initializers of all graphs, by name."""
    return {
        name: value.const_value
        for graph in all_graphs(model)
        for name, value in graph.initializers.items()
        if value.const_value is not None
    }


def distorted_original(work: Work) -> ir.Model:
    """Return the model that the user gave, with the arrays that the stages have changed since it was normalised.

    Raises:
        ModelError: The file can no longer be loaded.
    """
    now = tensors_of(work.model)
    changed = {name: now[name] for name, tensor in work.given.items() if name in now and now[name] is not tensor}
    model = load_model(work.original)
    places = _places(model)
    # 1. Every array has a place in the file: nothing else of it is touched.
    # 2. A weight that the file computes from constants, and what nodes shared, has one only after normalising, as the
    #    quantizers have that a comparison leaves out.
    if not all(_fits(places, name, work.given[name]) for name in changed) or _is_quantized(model):
        prepare.normalise(model)
        places = _places(model)
    for name, tensor in changed.items():
        places[name][0](tensor)
    return model


_Place: TypeAlias = tuple[Callable[[ir.TensorProtocol], None], ir.TensorProtocol]
"""What puts another array there, and the one that is there."""


def _places(model: ir.Model) -> dict[str, _Place]:
    """Return where arrays stand in a model, by name; names that stand for several are left out."""
    found: dict[str, _Place] = {}
    several: set[str] = set()
    for graph in all_graphs(model):
        for name, value in graph.initializers.items():
            if value.const_value is not None:
                several |= {name} & found.keys()
                found[name] = (_into_initializer(value), value.const_value)
    for node in all_nodes(model):
        attribute = node.attributes.get("value")
        if node.op_type == "Constant" and node.domain == "" and attribute is not None and node.outputs[0].name:
            several |= {node.outputs[0].name} & found.keys()
            found[node.outputs[0].name] = (_into_constant(node), attribute.as_tensor())
    return {name: place for name, place in found.items() if name not in several}


def _into_initializer(value: ir.Value) -> Callable[[ir.TensorProtocol], None]:
    def put(tensor: ir.TensorProtocol) -> None:
        value.const_value = tensor

    return put


def _into_constant(node: ir.Node) -> Callable[[ir.TensorProtocol], None]:
    def put(tensor: ir.TensorProtocol) -> None:
        node.attributes["value"] = ir.AttrTensor("value", tensor)

    return put


def _fits(places: Mapping[str, _Place], name: str, given: ir.TensorProtocol) -> bool:
    """True if an array stands in the file as it was `given` to the stages, and not what it was computed of."""
    held = places[name][1] if name in places else None
    if held is None or held.dtype != given.dtype or tuple(held.shape) != tuple(given.shape):
        return False
    if isinstance(held, FileTensor) and isinstance(given, FileTensor):  # large: not read for this
        return held.part == given.part
    return np.array_equal(held.numpy(), given.numpy(), equal_nan=given.dtype.is_floating_point())


def _is_quantized(model: ir.Model) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in all_nodes(model))
