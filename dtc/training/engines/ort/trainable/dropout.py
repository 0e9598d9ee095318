"""Dropout as a product with a mask that NumPy draws, so that the seed of a step alone decides."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from dtc.errors import EngineError


@dataclass(frozen=True)
class Dropout:
    """A Dropout node that became a product: which node, the graph input of its mask, the share dropped."""

    node: str
    mask: str
    ratio: float


def remove_dropout(model: ir.Model) -> None:
    """Let the readers of every Dropout read its input."""
    for node in _dropouts(model):
        _replace(node, _input(node))


def mask_dropout(model: ir.Model) -> list[Dropout]:
    """Turn every Dropout into a product with a mask, a new graph input.

    Raises:
        EngineError: The ratio is computed, or the mask output is read; names the node.
    """
    found = []
    for node in _dropouts(model):
        ratio = _ratio(node)
        source = _input(node)
        if ratio == 0:
            _replace(node, source)
            continue
        mask = ir.Value(name=f"{node.name}::mask", shape=source.shape, type=ir.TensorType(ir.DataType.FLOAT))
        model.graph.inputs.append(mask)
        mul = ir.node("Mul", [source, mask], name=f"{node.name}::Mul")
        mul.outputs[0].name = f"{node.name}::dropped"
        mul.outputs[0].shape, mul.outputs[0].type = source.shape, source.type
        model.graph.insert_before(node, mul)
        _replace(node, mul.outputs[0])
        found.append(Dropout(str(node.name), str(mask.name), ratio))
    return found


def _dropouts(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "Dropout" and node.domain == ""]


def _input(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _ratio(node: ir.Node) -> float:
    if len(node.outputs) > 1 and node.outputs[1].uses():
        raise EngineError(f"node {node.name!r} (Dropout): its mask output is read by other nodes; remove that output")
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is None:
        return float(node.attributes.get_float("ratio", 0.5) or 0.0)
    if given.const_value is None:
        raise EngineError(f"node {node.name!r} (Dropout): its ratio is computed; make it a constant")
    return float(given.const_value.numpy())


def _replace(node: ir.Node, value: ir.Value) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    old = node.outputs[0]
    # An output of the graph keeps its name: the old value gives it up to an Identity that stands in its place.
    if old.is_graph_output():
        named = ir.node("Identity", [value], name=f"{node.name}::Identity")
        graph.insert_before(node, named)
        name, old.name = old.name, f"{old.name}::replaced"
        value = named.outputs[0]
        value.name, value.type, value.shape = name, old.type, old.shape
        for index, output in enumerate(graph.outputs):
            if output is old:
                graph.outputs[index] = value
    ir.convenience.replace_all_uses_with(old, value)
    graph.remove(node, safe=True)
