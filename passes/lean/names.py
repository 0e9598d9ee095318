"""Names and descriptions that only people read, taken out of a model."""

from __future__ import annotations

import onnx_ir as ir

from dtc.graph import all_graphs
from dtc.graph.builder import Names


def strip_names(model: ir.Model) -> int:
    """Take out, in place, what no runtime needs to be told; return the bytes that this saves.

    Nodes lose their names, descriptions and what exporters noted of them, and what flows between them gets short names
    and no type. Inputs, outputs and initializers keep their names, and outputs of operators that are not standard keep
    their types, which nobody else may know.
    """
    before, names = _nbytes(model), Names(model)
    model.doc_string = model.graph.doc_string = None
    for graph in all_graphs(model):
        for node in graph:
            _strip(node)
            for value in node.outputs:
                if not value.is_graph_output() and value.name:
                    _shorten(value, names)
                    if node.domain == "":
                        value.type = value.shape = None
    for function in model.functions.values():
        for node in function:
            _strip(node)
    return before - _nbytes(model)


def names_bytes(model: ir.Model) -> int:
    """Return the bytes that `strip_names` would save, and leave the model as it is."""
    return strip_names(model.clone())


def _strip(node: ir.Node) -> None:
    node.name = node.doc_string = None
    node.metadata_props.clear()


def _shorten(value: ir.Value, names: Names) -> None:
    value.doc_string = None
    value.metadata_props.clear()
    # "v12" for "/layer1/conv1/Conv_output_0"; "h" stays.
    if value.name is not None and len(value.name) > len(name := names.short()):
        value.name = name


def _nbytes(model: ir.Model) -> int:
    """Return the bytes of all nodes, and of what the file says of the values between them."""
    nodes = [node for graph in (model.graph, *model.functions.values()) for node in graph]  # with the bodies in them
    described = [
        value
        for node in model.graph
        for value in node.outputs
        if not value.is_graph_output() and (value.type is not None or value.shape is not None)
    ]
    texts = sum(len(text) for text in (model.doc_string, model.graph.doc_string) if text)
    return (
        sum(int(ir.serde.serialize_node(node).ByteSize()) for node in nodes)
        + sum(int(ir.serde.serialize_value(value).ByteSize()) for value in described)
        + texts
    )
