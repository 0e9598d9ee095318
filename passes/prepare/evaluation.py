"""What a node makes of arrays, by ONNX Runtime itself: the numbers are those that it would compute at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir

from dtc.errors import ModelError
from dtc.session import runner, session_of

_DRAWS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout"}
)


def can_evaluate(node: ir.Node) -> bool:
    """True of a standard operator without a body that makes the same of the same inputs each time."""
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    bodies = any(each.is_ref() or each.type in graphs for each in node.attributes.values())
    return node.domain == "" and node.op_type not in _DRAWS and not bodies


def evaluate(node: ir.Node, arrays: Sequence[Any], opsets: Mapping[str, int]) -> list[Any] | None:
    """Return the outputs of a node of arrays, None for an input that is not given; None if it does not run on them."""
    proto = ir.serde.serialize_node(node)
    names = ["" if array is None else f"i{index}" for index, array in enumerate(arrays)]
    outputs = [f"o{index}" if value.name else "" for index, value in enumerate(node.outputs)]
    proto.input[:], proto.output[:] = names, outputs
    graph = onnx.GraphProto(name="node", node=[proto])
    graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name)
        for name, array in zip(names, arrays, strict=True)
        if array is not None
    )
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name)
    model = onnx.ModelProto(ir_version=8, graph=graph)
    model.opset_import.add(domain="", version=opsets.get("", 1))
    try:
        found = runner(session_of(model.SerializeToString(), {}, called=node.op_type, threads=1, native=False))({})
    except ModelError:  # ONNX Runtime will say so when the whole model runs
        return None
    return [found[name] if name else None for name in outputs]
