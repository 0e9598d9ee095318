"""The builder of nodes: each node in the form of the model's operator set, constants where they belong, names free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from running import run

from dtc.graph.builder import Builder, FunctionBuilder, GraphBuilder, Names, Shared, insert_first, replace_node

FLOAT = ir.DataType.FLOAT
X = np.arange(24, dtype=np.float32).reshape(4, 6) / 7 - 1
WEIGHT = np.linspace(-1, 1, 18, dtype=np.float32).reshape(6, 3)


def one_node(opset: int, rank: int = 2) -> ir.Model:
    """`y = Identity(x)`, to be replaced; x is `[4, 6]`, of the shape of y nothing is said but its rank."""
    x = ir.val("x", FLOAT, X.shape)
    node = ir.node("Identity", [x], name="old")
    (y,) = node.outputs
    y.name, y.type, y.shape = "y", ir.TensorType(FLOAT), ir.Shape([None] * rank)
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": opset}, name="g")
    return ir.Model(graph, ir_version=8)


def replaced(model: ir.Model, write: Callable[[GraphBuilder, ir.Value], ir.Value], shared: Shared | None = None) -> Any:
    """Put what `write` makes of x in the place of the node, and run that."""
    (node,) = model.graph
    builder = GraphBuilder(Names(model), "new") if shared is None else shared.builder("new")
    replace_node(node, builder, {node.outputs[0]: write(builder, model.graph.inputs[0])})
    return run(model, {"x": X})[0]


def sizes_times_one(b: Builder, x: ir.Value) -> ir.Value:
    return b.op("Cast", [b.leading_sizes(x)], to=FLOAT)


FORMS: dict[str, tuple[Callable[[Builder, ir.Value], ir.Value], Any]] = {
    "gemm": (lambda b, x: b.gemm(x, b.constant(WEIGHT)), X @ WEIGHT),
    "gemm, transposed": (lambda b, x: b.gemm(x, b.constant(WEIGHT.T.copy()), transB=1), X @ WEIGHT),
    "split": (lambda b, x: b.split(x, [1, 5], 1)[1], X[:, 1:]),
    "split evenly": (lambda b, x: b.split_evenly(x, 3, 1)[2], X[:, 4:]),
    "split into one": (lambda b, x: b.op("Neg", [b.split_evenly(x, 1, 1)[0]]), -X),
    "clip": (lambda b, x: b.clip(x, -0.25, 0.5), X.clip(-0.25, 0.5)),
    "slice": (lambda b, x: b.slice(x, 1, -1), X[1:-1]),
    "squeeze": (lambda b, x: b.squeeze(b.slice(x, 2, 3), [0]), X[2]),
    "unsqueeze": (lambda b, x: b.unsqueeze(x, [0, 2]), X[None, :, None]),
    "mean": (lambda b, x: b.mean(x, [1]), X.mean(1)),
    "concat": (lambda b, x: b.concat([x, x], 1), np.concatenate([X, X], 1)),
    "concat of one": (lambda b, x: b.op("Neg", [b.concat([x], 1)]), -X),
    "leading sizes": (sizes_times_one, [4]),
}


@pytest.mark.parametrize("opset", [9, 10, 11, 12, 13, 17, 18, 21])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_that_of_the_operator_set(form: str, opset: int):
    write, expected = FORMS[form]
    np.testing.assert_allclose(replaced(one_node(opset, np.ndim(expected)), write), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("numbers", "dtype", "shape"),
    [
        (3, np.int64, ()),
        (0.5, np.float16, ()),
        ([1, 2], np.int64, (2,)),
        ([1.0, 2], np.float16, (2,)),
        ([], np.int64, (0,)),
        (np.float32(1), np.float32, ()),
        (np.array([1, 2], np.uint8), np.uint8, (2,)),
    ],
)
def test_constants_have_the_type_of_their_array_or_of_the_builder(numbers: Any, dtype: Any, shape: tuple[int, ...]):
    builder = GraphBuilder(Names(one_node(17)), "new", dtype=ir.DataType.FLOAT16)
    value = builder.constant(numbers)
    stored = builder.nodes[0].attributes["value"].as_tensor()
    assert (stored.numpy().dtype, stored.numpy().shape, value.dtype) == (dtype, shape, stored.dtype)


def test_shared_constants_are_initializers_that_are_stored_once():
    model = one_node(17)
    shared = Shared(model)
    computed = replaced(model, lambda b, x: b.op("Add", [b.op("Mul", [x, b.constant(2.0)]), b.constant(2.0)]), shared)
    np.testing.assert_allclose(computed, X * 2 + 2, atol=1e-6)
    assert [node.op_type for node in model.graph] == ["Mul", "Add"]
    assert len(model.graph.initializers) == 1


def test_what_is_made_once_stands_in_front():
    model = one_node(17)
    shared = Shared(model)

    def table(front: GraphBuilder) -> ir.Value:
        return front.op("Exp", [front.constant([0.0, 1.0])])

    def write(builder: GraphBuilder, x: ir.Value) -> ir.Value:
        first, second = builder.once("table", table), shared.builder("other").once("table", table)
        assert first is second
        return builder.op("Mul", [builder.op("ReduceMax", [first], keepdims=0), x])

    (node,) = model.graph
    builder = shared.builder("new")
    replace_node(node, builder, {node.outputs[0]: write(builder, model.graph.inputs[0])})
    shared.insert()
    assert [node.op_type for node in model.graph] == ["Exp", "ReduceMax", "Mul"]
    np.testing.assert_allclose(run(model, {"x": X})[0], np.e * X, rtol=1e-6)


def test_new_nodes_take_over_the_name_and_have_no_other_that_is_taken():
    model = one_node(17)
    model.graph[0].name = "v0"
    computed = replaced(model, lambda b, x: b.op("Neg", [b.op("Abs", [x], label="size")]))
    np.testing.assert_allclose(computed, -abs(X))
    assert [(node.name, node.outputs[0].name) for node in model.graph] == [("new/size", "v1"), ("v2", "y")]


def test_nodes_go_in_front_of_an_empty_graph_too():
    model = one_node(17)
    (node,) = model.graph
    model.graph.outputs.clear()
    model.graph.remove(node)
    builder = GraphBuilder(Names(model), "new")
    builder.op("Abs", [model.graph.inputs[0]])
    insert_first(builder)
    assert [node.op_type for node in model.graph] == ["Abs"]


def test_a_function_hands_on_its_attribute_and_holds_its_constants():
    body = FunctionBuilder("test", ["x"], 17)
    rows = body.op("Reshape", [body.integer("rows"), body.constant([1])])
    kept = body.op("Slice", [body.inputs["x"], body.constant([0]), rows])
    first, rest = body.split(kept, [2, 4], 1)
    function = body.close_all("Cut", {"first": first, "rest": rest}, [ir.AttrInt64("rows", 1)])
    model = one_node(17)
    node = ir.node("Cut", [model.graph.inputs[0]], {"rows": 3}, domain="test", num_outputs=2)
    for value, name in zip(node.outputs, ("a", "b"), strict=True):
        value.name, value.type, value.shape = name, ir.TensorType(FLOAT), ir.Shape([None, None])
    model.graph.append(node)
    model.graph.outputs.extend(node.outputs)
    model.opset_imports["test"] = 1
    model.functions[function.identifier()] = function
    _, a, b = run(model, {"x": X})
    np.testing.assert_array_equal(a, X[:3, :2])
    np.testing.assert_array_equal(b, X[:3, 2:])
    assert [n.name for n in function][-3:] == ["Slice_4", "Constant_5", "Split_6"]
