"""Between protobuf messages and onnx-ir models: what onnx-ir has no word for is brought over here.

Sparse weights are dense to whoever reads them, and types with maps in them (the outputs of ZipMap) are kept beside
the value.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from dtc.errors import ModelError
from dtc.graph.sparse import make_dense, make_sparse, marking, remember
from dtc.graph.texts import require_text
from dtc.graph.walk import all_graphs, all_tensors, nodes_with_functions

_TYPE = "dtc.type"
"""Key of a value's `meta`: its type as protobuf bytes, where onnx-ir cannot hold it."""


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """Return the model of a message, which is changed on the way.

    Raises:
        ModelError: It holds what would get lost, or could not be written again; the message names it.
        SerdeError: It is damaged.
    """
    if len(proto.training_info):
        raise ModelError(
            "holds training_info (a training graph beside the model), which would be lost; export it for inference"
        )
    require_text(proto)
    graphs = list(_graphs(proto.graph))
    holders: list[onnx.GraphProto | onnx.FunctionProto] = [*graphs, *proto.functions]
    marked = {mark: sparse for each in holders for mark, sparse in make_dense(each).items()}
    apart = [_types_with_maps(graph) for graph in graphs]
    model = ir.from_proto(proto)
    if marked:
        values = (value for graph in all_graphs(model) for value in graph.initializers.values())
        remember(values, nodes_with_functions(model), marked)
    found = {name: content for types in apart for name, content in types.items()}
    for value in _interface(model):
        if value.name in found:
            value.meta[_TYPE] = found[value.name]
    return model


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Return a model as a message.

    Raises:
        SerdeError: It cannot be written.
    """
    with marking(all_tensors(model)) as marked:
        proto = ir.to_proto(model)
    holders: list[onnx.GraphProto | onnx.FunctionProto] = [*_graphs(proto.graph), *proto.functions]
    for each in holders if marked else ():
        make_sparse(each, marked)
    apart = {value.name: value.meta[_TYPE] for value in _interface(model) if _TYPE in value.meta}
    if apart:
        for graph in _graphs(proto.graph):
            for info in (*graph.input, *graph.output):
                if info.name in apart:
                    info.type.ParseFromString(apart[info.name])
    return proto


def _interface(model: ir.Model) -> Iterator[ir.Value]:
    for graph in all_graphs(model):
        yield from graph.inputs
        yield from graph.outputs


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and those within it."""
    waiting = [graph]
    for each in waiting:  # grows as bodies are found
        yield each
        for node in each.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _types_with_maps(graph: onnx.GraphProto) -> dict[str, bytes]:
    """Take the types that hold maps off the inputs and outputs of a graph, and return them; drop them elsewhere."""
    taken = {}
    for info in (*graph.input, *graph.output):
        if _holds_map(info.type):
            taken[info.name] = info.type.SerializeToString()
            info.ClearField("type")
    for info in [info for info in graph.value_info if _holds_map(info.type)]:
        graph.value_info.remove(info)
    return taken


def _holds_map(kind: onnx.TypeProto) -> bool:
    """True of map(int64, float), sequence(map(...)), optional(map(...)), however deep."""
    while not kind.HasField("map_type"):
        if kind.HasField("sequence_type"):
            kind = kind.sequence_type.elem_type
        elif kind.HasField("optional_type"):
            kind = kind.optional_type.elem_type
        else:
            return False
    return True
