"""One step of LSTM and GRU in nodes, against ONNX Runtime's own cell on a sequence of one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from recurrent_graphs import Options, recurrent_model
from running import run

from dtc.graph.builder import Builder, GraphBuilder, Names, replace_node
from dtc.graph.cells import Recurrence, cells, has_default_activations, hidden_size, hold, silence, step, zero_state

FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True)
class Dense:
    """`h R^T` by the rows of R."""

    rows: dict[str, ir.Value]

    def begin(self, body: Builder, state: ir.Value) -> ir.Value:
        return state

    def finish(self, body: Builder, begun: ir.Value, gates: str, addend: ir.Value | None) -> ir.Value:
        return body.gemm(begun, self.rows[gates], addend, transB=1)


def as_one_step(model: ir.Model) -> None:
    """Put the nodes of a step into the place of a node of one direction that has one step to do."""
    (node,) = model.graph
    (cell,) = cells(node)
    hidden, lstm = cell.hidden, cell.op_type == "LSTM"
    arrays = [
        None if value is None or value.const_value is None else value.const_value.numpy() for value in node.inputs
    ]
    w, r, peepholes = arrays[1][0], arrays[2][0], arrays[7] if lstm else None
    of_input, of_state = np.zeros((2, len(w)), np.float32) if arrays[3] is None else arrays[3][0].reshape(2, -1)
    ahead = of_input + (np.where(np.arange(len(w)) < 2 * hidden, of_state, 0) if cell.linear_before_reset else of_state)
    b = GraphBuilder(Names(model), "step")
    part = b.gemm(b.squeeze(node.inputs[0], [0]), b.constant(w), b.constant(ahead.astype(np.float32)), transB=1)
    recurrence = Recurrence(
        cell=cell,
        weight=Dense({"iofc": b.constant(r), "zr": b.constant(r[: 2 * hidden]), "h": b.constant(r[2 * hidden :])}),
        peepholes=() if peepholes is None else tuple(b.constant(p) for p in peepholes[0].reshape(3, -1)),
        hidden_bias=b.constant(of_state[2 * hidden :]) if cell.linear_before_reset else None,
    )
    given = [value for value in node.inputs[5:7] if value is not None]
    states = [b.squeeze(value, [0]) for value in given] or [zero_state(b, node.inputs[0], hidden)] * (1 + lstm)
    inputs = [part] if lstm else b.split(part, [2 * hidden, hidden], 1)
    new = step(b, recurrence, states, inputs, recurrence.weight.begin(b, states[0]))
    outputs = [b.unsqueeze(new[0], [0, 1]), *(b.unsqueeze(state, [0]) for state in new)]
    replace_node(node, b, dict(zip(node.outputs, outputs, strict=True)))


@pytest.mark.parametrize("opset", [9, 14])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"states": False, "bias": False},
        {"peepholes": True},
        {"clip": 0.3},
        {"peepholes": True, "clip": 0.3},
        {"activations": ("Softsign", "Relu", "Softplus")},
        {"op": "GRU"},
        {"op": "GRU", "linear_before_reset": 1},
        {"op": "GRU", "linear_before_reset": 1, "states": False, "bias": False},
        {"op": "GRU", "clip": 0.3},
        {"op": "GRU", "linear_before_reset": 1, "clip": 0.3},
        {"op": "GRU", "activations": ("Relu", "Softsign")},
    ],
)
def test_a_step_is_that_of_the_node(options: dict[str, Any], opset: int):
    model, feeds = recurrent_model(Options(steps=1, batch=3, opset=opset, **options))
    expected = run(model, feeds)
    as_one_step(model)
    for found, wanted in zip(run(model, feeds), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_beyond_a_samples_end_states_are_held_and_the_output_is_zero():
    inputs = [ir.val("inside", ir.DataType.BOOL, [2, 1]), ir.val("new", FLOAT, [2, 2]), ir.val("old", FLOAT, [2, 2])]
    model = ir.Model(ir.Graph(inputs, [], nodes=[], opset_imports={"": 17}, name="g"), ir_version=8)
    b = GraphBuilder(Names(model), "lengths")
    inside, new, old = inputs
    results = [*hold(b, inside, [new], [old]), *silence(b, inside, [new])]
    for value in results:
        value.type, value.shape = ir.TensorType(FLOAT), ir.Shape([2, 2])
    model.graph.extend(b.nodes)
    model.graph.outputs.extend(results)
    after, before = np.float32([[1, 2], [3, 4]]), np.float32([[5, 6], [7, 8]])
    held, output = run(model, {"inside": np.array([[True], [False]]), "new": after, "old": before})
    np.testing.assert_array_equal(held, [[1, 2], [7, 8]])
    np.testing.assert_array_equal(output, [[1, 2], [0, 0]])


def test_a_node_is_read_direction_by_direction():
    options = Options(
        op="GRU", direction="bidirectional", clip=0.5, linear_before_reset=1, activations=("relu", "Tanh")
    )
    (node,) = recurrent_model(options)[0].graph
    forward, backward = cells(node)
    assert (forward.reverse, backward.reverse) == (False, True)
    assert forward.activations == backward.activations == ("Relu", "Tanh")
    assert (forward.hidden, forward.clip, forward.linear_before_reset) == (6, 0.5, True)
    assert not has_default_activations(node)


def test_the_state_is_as_large_as_r_says_where_no_attribute_does():
    (node,) = recurrent_model(Options())[0].graph
    del node.attributes["hidden_size"]
    assert hidden_size(node) == 6
    assert cells(node)[0].hidden == 6
    node.replace_input_with(2, ir.Value(name="computed"))
    assert hidden_size(node) is None
    with pytest.raises(ValueError, match=r"'cell'.*has no hidden_size"):
        cells(node)
