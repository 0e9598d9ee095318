"""Computing what a model computes of constants alone: its weights, decoded, and the sizes that its operators take.

Sizes are known from the start, as a program in C is written for one size; so shapes are constants too, and what they
decide is decided. What is left depends on the inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from dtc.deploy.codegen.factors import KnownProducts, is_factored
from dtc.deploy.codegen.tables import decode_tables
from dtc.graph import all_graphs, all_nodes
from dtc.graph.builder import Names, add_initializer
from dtc.graph.inference import infer_shapes
from dtc.passes.prepare.evaluation import can_evaluate
from dtc.passes.prepare.known_sizes import known_sizes
from dtc.passes.prepare.remove_identities import RemoveIdentitiesPass
from dtc.passes.prepare.remove_unused import RemoveUnusedPass
from dtc.passes.prepare.take_branch import take_branch
from dtc.session import runner, session_of

MOST_SIZES = 64
"""More integers are no sizes of a tensor."""


def fold_constants(model: ir.Model) -> KnownProducts:
    """Put functions in place, and make initializers of all that depends on no input, in place.

    Returns:
        Of what products among them were computed.

    Raises:
        ModelError: ONNX Runtime does not compute it.
    """
    decode_tables(model)
    InlinePass()(model)
    for value in [value for value in model.graph.inputs if value.is_initializer()]:
        model.graph.inputs.remove(value)  # no test vector gives it: it stays what it is
    products = KnownProducts()
    while True:
        # An exporter's Identity would stand between a constant and what reads it.
        RemoveIdentitiesPass()(model)
        _bring_sizes_in(model)
        infer_shapes(model)
        folded = sum(_fold(model, graph, products) for graph in list(all_graphs(model)))
        taken = sum([take_branch(node) for node in list(all_nodes(model))])
        RemoveUnusedPass()(model)
        if not folded + taken:
            return products


def _bring_sizes_in(model: ir.Model) -> None:
    """Give bodies sizes, axes and places of their own that they read from around them: shapes are inferred by these."""
    names = Names(model)
    for graph in all_graphs(model):
        for node in graph if graph is not model.graph else ():
            for index, value in enumerate(node.inputs):
                if value is None or value.graph is graph or not is_constant(value) or not _may_be_sizes(_tensor(value)):
                    continue
                own = add_initializer(graph, names.unique(f"{value.name}.inner"), _tensor(value).numpy())
                node.replace_input_with(index, own)


def _may_be_sizes(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype == ir.DataType.INT64 and len(tensor.shape) <= 1 and tensor.size <= MOST_SIZES


def _fold(model: ir.Model, graph: ir.Graph, products: KnownProducts) -> int:
    """Fold what the nodes of one graph compute of constants; return how many values became initializers."""
    known: set[ir.Value] = set()
    ready: list[ir.Node] = []
    names = Names(model)
    arrays: dict[ir.Value, npt.NDArray[np.generic]] = {}
    for node in graph:
        # A graph's output is written by a node: of a Shape that is the Identity that stands there in the next round.
        if (sizes := known_sizes(node)) is not None:
            arrays[node.outputs[0]] = sizes
        elif _is_ready(node, known):
            ready.append(node)
        else:
            continue
        known.update(node.outputs)
    inner = set(ready)
    wanted = [value for node in ready for value in node.outputs if _is_needed(value, inner)]
    factored = [node for node in ready if is_factored(node)]
    made = [value for node in factored for value in _ends(node) if value.producer() in inner]
    computed = _computed(model, ready, list(dict.fromkeys([*wanted, *made])), arrays)
    for node in factored:
        products.add(*(computed[value] if value in computed else _tensor(value).numpy() for value in _ends(node)))
    arrays |= {value: computed[value] for value in wanted}
    for value, array in arrays.items():
        _store(model, names, value, array)
    return len(arrays)


def _is_ready(node: ir.Node, known: set[ir.Value]) -> bool:
    """True of a node that computes the same whatever the inputs are, but for one that hands an output on."""
    if not can_evaluate(node) or (node.op_type == "Identity" and node.outputs[0].is_graph_output()):
        return False
    return all(value is None or value in known or is_constant(value) for value in node.inputs)


def is_constant(value: ir.Value) -> bool:
    """True of an initializer that is no input."""
    return value.const_value is not None and value.is_initializer() and not value.is_graph_input()


def _ends(product: ir.Node) -> Iterator[ir.Value]:
    """Yield both factors and the product."""
    yield from (value for value in (*product.inputs, *product.outputs) if value is not None)


def _is_needed(value: ir.Value, ready: set[ir.Node]) -> bool:
    return value.is_graph_output() or any(use.node not in ready for use in value.uses())


def _computed(
    model: ir.Model,
    nodes: Iterable[ir.Node],
    wanted: list[ir.Value],
    given: dict[ir.Value, npt.NDArray[np.generic]],
) -> dict[ir.Value, npt.NDArray[np.generic]]:
    """Return what ONNX Runtime computes of constants by `nodes`, all in one session."""
    if not wanted:
        return {}
    graph = onnx.GraphProto(name="constants", node=[ir.serde.serialize_node(node) for node in nodes])
    made = {value for node in nodes for value in node.outputs}
    read = {value for node in nodes for value in node.inputs if value is not None and value not in made}
    for value in read:
        array = given[value] if value in given else _tensor(value).numpy()
        graph.initializer.append(ir.serde.serialize_tensor(ir.tensor(array, name=value.name)))
    graph.output.extend(onnx.ValueInfoProto(name=str(value.name)) for value in wanted)
    proto = onnx.ModelProto(ir_version=model.ir_version, graph=graph)
    proto.opset_import.extend(onnx.OperatorSetIdProto(domain=key, version=n) for key, n in model.opset_imports.items())
    found = runner(session_of(proto.SerializeToString(), {}, called="its constants", threads=1, native=False))({})
    return {value: found[str(value.name)] for value in wanted}


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    assert value.const_value is not None
    return value.const_value


def _store(model: ir.Model, names: Names, value: ir.Value, array: npt.NDArray[np.generic]) -> None:
    """Have the readers of a value read an initializer; an output of the graph is written by an Identity."""
    stored = add_initializer(model.graph, names.unique(f"{value.name}.constant"), array)
    node = value.producer()
    if value.is_graph_output() and node is not None and node.graph is not None:
        copy = ir.node("Identity", [stored])
        node.graph.insert_after(node, copy)
        handed = copy.outputs[0]
        handed.name, handed.type, handed.shape = value.name, value.type, ir.Shape(array.shape)
        value.name = names.unique(f"{value.name}.folded")
        value.replace_all_uses_with(handed, replace_graph_outputs=True)
    else:
        value.replace_all_uses_with(stored)
