"""Low-rank LSTM and GRU against ONNX Runtime's own kernels with the dense weights.

Tolerance: 1e-4 of the largest output (max norm); float32 sums in another order, fed back over a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from running import checked_bytes, lowered_error, random_low_rank, relative_error, run, sites_by_name

from dtc.forms import LowRank
from dtc.graph import all_nodes, find_sites
from dtc.passes.lower import Compressed, lower
from dtc.passes.lower.low_rank import refuse

TOLERANCE = 1e-4
FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True)
class Options:
    """A recurrent node to test."""

    op: str = "LSTM"
    direction: str = "forward"
    steps: int = 4
    batch: int = 2
    inputs: int = 5
    hidden: int = 6
    bias: bool = True
    lengths: bool = False
    states: bool = True
    peepholes: bool = False
    clip: float | None = None
    linear_before_reset: int = 0
    activations: tuple[str, ...] = ()
    outputs: tuple[bool, ...] = (True, True, True)
    opset: int = 14

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1


def recurrent_model(o: Options, seed: int = 0) -> tuple[ir.Model, dict[str, Any]]:
    """Return a model of one node, and inputs for it."""
    rng = np.random.default_rng(seed)
    gates = 4 if o.op == "LSTM" else 3
    d, h = o.directions, o.hidden
    x = ir.val("x", FLOAT, ["T", "N", o.inputs])
    feeds: dict[str, Any] = {"x": rng.standard_normal((o.steps, o.batch, o.inputs)).astype(np.float32)}
    initializers: list[ir.Value] = []

    def weight(name: str, *shape: int) -> ir.Value:
        array = rng.standard_normal(shape).astype(np.float32)
        initializers.append(ir.val(name, const_value=ir.tensor(array, name=name)))
        return initializers[-1]

    graph_inputs = [x]

    def fed(name: str, array: Any, shape: list[str | int], dtype: ir.DataType = FLOAT) -> ir.Value:
        graph_inputs.append(ir.val(name, dtype, shape))
        feeds[name] = array
        return graph_inputs[-1]

    inputs: list[ir.Value | None] = [x, weight("W", d, gates * h, o.inputs), weight("R", d, gates * h, h)]
    inputs.append(weight("B", d, 2 * gates * h) if o.bias else None)
    lengths = rng.integers(0, o.steps + 1, o.batch).astype(np.int32)
    inputs.append(fed("lengths", lengths, ["N"], ir.DataType.INT32) if o.lengths else None)
    for name in ("h0", "c0")[: 2 if o.op == "LSTM" else 1]:
        state = rng.standard_normal((d, o.batch, h)).astype(np.float32)
        inputs.append(fed(name, state, [d, "N", h]) if o.states else None)
    if o.op == "LSTM":
        inputs.append(weight("P", d, 3 * h) if o.peepholes else None)
    attributes: dict[str, Any] = {"hidden_size": h, "direction": o.direction}
    if o.clip is not None:
        attributes["clip"] = o.clip
    if o.activations:
        attributes["activations"] = list(o.activations) * d
    if o.linear_before_reset:
        attributes["linear_before_reset"] = 1
    node = ir.node(o.op, inputs, attributes, num_outputs=3 if o.op == "LSTM" else 2, name="cell")
    shapes: list[list[str | int]] = [["T", d, "N", h], [d, "N", h], [d, "N", h]]
    used = []
    for value, name, shape, read in zip(node.outputs, ("y", "yh", "yc"), shapes, o.outputs, strict=False):
        value.name, value.type, value.shape = name if read else "", ir.TensorType(FLOAT), ir.Shape(shape)
        used += [value] if read else []
    graph = ir.Graph(graph_inputs, used, nodes=[node], initializers=initializers, opset_imports={"": o.opset}, name="g")
    return ir.Model(graph, ir_version=8), feeds


def options(op: str) -> st.SearchStrategy[Options]:
    activations = st.sampled_from([(), ("Relu", "Tanh", "Softsign"), ("sigmoid", "softplus", "tanh")])
    return st.builds(
        Options,
        op=st.just(op),
        direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
        steps=st.integers(1, 5),
        batch=st.integers(1, 3),
        inputs=st.integers(2, 7),
        hidden=st.integers(2, 7),
        bias=st.booleans(),
        lengths=st.booleans(),
        states=st.booleans(),
        peepholes=st.booleans(),
        clip=st.sampled_from([None, None, 0.7]),
        linear_before_reset=st.sampled_from([0, 1] if op == "GRU" else [0]),
        activations=activations.map(lambda names: names if op == "LSTM" else names[:2]),
        outputs=st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(lambda used: any(used[:2])),
        opset=st.sampled_from([9, 10, 11, 13, 14, 21]),
    )


ROLES = st.sampled_from([("W",), ("R",), ("W", "R")])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(options("LSTM"), ROLES, st.integers(1, 4), st.booleans())
def test_lstm_like_onnx_runtime(o: Options, roles: tuple[str, ...], rank: int, basis: bool) -> None:
    check(o, roles, rank, basis)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(options("GRU"), ROLES, st.integers(1, 4), st.booleans())
def test_gru_like_onnx_runtime(o: Options, roles: tuple[str, ...], rank: int, basis: bool) -> None:
    check(o, roles, rank, basis)


def check(o: Options, roles: tuple[str, ...], rank: int, basis: bool) -> None:
    model, feeds = recurrent_model(o)
    sites = sites_by_name(model)
    assert [refuse(sites[role]) for role in roles] == [None] * len(roles)
    shared = basis and roles == ("W", "R") and o.inputs == o.hidden
    items = [random_low_rank(sites[role], rank, 0 if shared else seed, shared) for seed, role in enumerate(roles)]
    assert lowered_error(model, items, feeds) <= TOLERANCE
    names = {name for graph in model.graphs() for name in graph.initializers}
    assert not set(roles) & names
    ops = {node.op_type for node in all_nodes(model)}
    assert ("Scan" in ops) == ("R" in roles)
    assert (o.op in ops) == ("R" not in roles)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_scan_like_the_reference_evaluator(op: str) -> None:
    """A second oracle reads the new graph: what ONNX says of Scan (it reads forward ones alone)."""
    model, feeds = recurrent_model(Options(op=op))
    lower(model, [random_low_rank(site, 3) for site in find_sites(model)])
    found = run(model, feeds)
    expected = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative_error(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_a_shared_projection_is_stored_once(op: str) -> None:
    model, feeds = recurrent_model(Options(op=op, inputs=6, direction="bidirectional"))
    items = [random_low_rank(site, 2, basis=True) for site in find_sites(model)]
    assert lowered_error(model, items, feeds) <= TOLERANCE
    bases = sorted(name for name in model.graph.initializers if name.startswith("shared"))
    assert bases == ["shared.0", "shared.1"]


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("opset", [11, 14])
def test_a_projection_shared_with_the_next_layer_is_computed_once(
    op: str, direction: str, lengths: bool, whole: bool, opset: int
) -> None:
    o = Options(op=op, direction=direction, lengths=lengths, opset=opset, steps=3)
    model, feeds = two_layers(o)
    sites = sites_by_name(model)
    first = random_low_rank(sites["R"], 2, seed=1, basis=True)
    second = random_low_rank(sites["W2"], 2, seed=2)
    second = Compressed(sites["W2"], (LowRank(second.forms[0].left, first.forms[0].right, "shared.0"),))
    others = [random_low_rank(sites[name], 3, seed=5) for name in (("W", "R2") if whole else ())]
    assert lowered_error(model, [second, first, *others], feeds) <= TOLERANCE
    assert "shared.0" in model.graph.initializers
    readers = [node for node, _ in model.graph.initializers["shared.0"].uses()]
    outside = [node for node in readers if node.graph is model.graph]
    assert [node.name for node in outside] == ["cell/project"]  # of the initial state; all else is in the Scan
    # a GRU that resets the state before the product projects that as well
    assert len(readers) - len(outside) == (1 if op == "LSTM" else 2)


def two_layers(o: Options) -> tuple[ir.Model, dict[str, Any]]:
    """Return a model of two nodes, the second reading the first."""
    model, feeds = recurrent_model(o)
    (first,) = model.graph
    rng = np.random.default_rng(9)
    gates = 4 if o.op == "LSTM" else 3
    weights = []
    for name in ("W2", "R2"):
        array = rng.standard_normal((1, gates * o.hidden, o.hidden)).astype(np.float32)
        weights.append(ir.val(name, const_value=ir.tensor(array, name=name)))
        model.graph.register_initializer(weights[-1])
    if o.opset < 13:
        squeeze = ir.node("Squeeze", [first.outputs[0]], {"axes": [1]})
    else:
        axes = ir.val("axes", const_value=ir.tensor([1], name="axes"))
        model.graph.register_initializer(axes)
        squeeze = ir.node("Squeeze", [first.outputs[0], axes])
    same = ir.node("Identity", squeeze.outputs)
    attributes = {"hidden_size": o.hidden, "direction": o.direction}
    second = ir.node(o.op, [same.outputs[0], *weights], attributes, num_outputs=1, name="second")
    for value, name in ((squeeze.outputs[0], "squeezed"), (same.outputs[0], "same"), (second.outputs[0], "z")):
        value.name = name
    second.outputs[0].type, second.outputs[0].shape = ir.TensorType(FLOAT), ir.Shape(["T", 1, "N", o.hidden])
    model.graph.extend([squeeze, same, second])
    model.graph.outputs.append(second.outputs[0])
    return model, feeds


def test_the_factors_are_all_that_is_stored() -> None:
    model, _ = recurrent_model(Options(bias=False, states=False, direction="bidirectional"))
    items = [random_low_rank(site, 2) for site in find_sites(model)]
    lower(model, items)
    stored = sum(value.const_value.size for value in model.graph.initializers.values() if value.const_value)
    assert stored == sum(form.left.size + form.right.size for item in items for form in item.forms)


def test_the_input_weight_of_a_bidirectional_node_stores_no_zeros() -> None:
    model, _ = recurrent_model(Options(direction="bidirectional"))
    item = random_low_rank(sites_by_name(model)["W"], 2)
    lower(model, [item])
    new = [value for name, value in model.graph.initializers.items() if name.startswith("W.")]
    stored = sum(value.const_value.size for value in new if value.const_value)
    assert stored == sum(form.left.size + form.right.size for form in item.forms)


def test_the_dense_input_weight_stays_a_site_under_its_name() -> None:
    model, _ = recurrent_model(Options())
    before = sites_by_name(model)
    matrices = before["W"].matrices()
    lower(model, [random_low_rank(before["R"], 2)])
    np.testing.assert_array_equal(sites_by_name(model)["W"].matrices(), matrices)


def test_two_nodes_on_the_same_weights_share_the_factors() -> None:
    model, feeds = recurrent_model(Options(outputs=(True, False, False)))
    (first,) = model.graph
    again = ir.node("LSTM", first.inputs, first.attributes, num_outputs=1, name="again")
    again.outputs[0].name, again.outputs[0].type = "y2", ir.TensorType(FLOAT)
    again.outputs[0].shape = ir.Shape(["T", 1, "N", 6])
    model.graph.append(again)
    model.graph.outputs.append(again.outputs[0])
    items = [random_low_rank(site, 2) for site in find_sites(model)]
    assert lowered_error(model, items, feeds) <= TOLERANCE
    assert sorted(model.graph.initializers) == ["B.sum.0", "R.left", "R.right", "W.left", "W.right"]


def test_names_of_node_and_outputs_stay_recognisable() -> None:
    model, _ = recurrent_model(Options())
    lower(model, [random_low_rank(site, 2) for site in find_sites(model)])
    checked_bytes(model)
    assert [value.name for value in model.graph.outputs] == ["y", "yh", "yc"]
    assert {"cell/low_rank_1", "cell/low_rank_2", "cell/scan"} <= {node.name for node in model.graph}


@pytest.mark.parametrize(("attributes", "opset", "word"), [
    ({"layout": 1}, 14, "layout"),
    ({"input_forget": 1}, 14, "input_forget"),
    ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, 14, "HardSigmoid"),
    ({}, 8, "operator set"),
])  # fmt: skip
def test_what_a_scan_cannot_say_is_refused_by_name(attributes: dict[str, Any], opset: int, word: str) -> None:
    model, _ = recurrent_model(Options(opset=opset))
    node = model.graph[0]
    for name, value in attributes.items():
        node.attributes[name] = ir.convenience.convert_attribute(name, value)
    sites = sites_by_name(model)
    reason = refuse(sites["R"])
    assert reason is not None
    assert word in reason
    assert "'cell'" in reason
    assert refuse(sites["W"]) is None


def test_weights_made_at_run_time_are_refused_by_name() -> None:
    model, _ = recurrent_model(Options())
    bias = model.graph.initializers.pop("B")
    bias.const_value = None
    model.graph.inputs.append(bias)
    assert "computes its input B" in str(refuse(sites_by_name(model)["R"]))
