"""Low-rank LSTM and GRU in standard operators against ONNX Runtime's own kernels with the dense weights.

Tolerance: 1e-4 of the largest output (max norm); float32 sums in another order, fed back over a few steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from recurrent_graphs import FLOAT, Options, recurrent_model
from running import (
    assign_dense,
    checked_bytes,
    eager,
    lowered_and_run,
    lowered_error,
    random_low_rank,
    relative_error,
    run,
    sites_by_name,
)

from dtc.errors import ModelError
from dtc.graph import all_nodes, find_sites
from dtc.passes.lower import Compressed, lower
from dtc.passes.lower.low_rank.lowering import refuse

MODE = "scan"  # the operators of `compute` are in test_lower_recurrent.py
TOLERANCE = 1e-4


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
    assert lowered_error(model, items, feeds, MODE) <= TOLERANCE
    names = {name for graph in model.graphs() for name in graph.initializers}
    assert not set(roles) & names
    ops = {node.op_type for node in all_nodes(model)}
    assert ("Scan" in ops) == ("R" in roles)
    assert (o.op in ops) == ("R" not in roles)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_scan_like_the_reference_evaluator(op: str) -> None:
    """A second oracle reads the new graph: what ONNX says of Scan (it reads forward ones alone)."""
    model, feeds = recurrent_model(Options(op=op))
    lower(model, [random_low_rank(site, 3) for site in find_sites(model)], eager(MODE))
    found = run(model, feeds)
    expected = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative_error(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_a_shared_projection_is_stored_once(op: str) -> None:
    model, feeds = recurrent_model(Options(op=op, inputs=6, direction="bidirectional"))
    items = [random_low_rank(site, 2, basis=True) for site in find_sites(model)]
    assert lowered_error(model, items, feeds, MODE) <= TOLERANCE
    bases = sorted(name for name in model.graph.initializers if name.startswith("shared"))
    assert bases == ["shared.0", "shared.1"]


def test_the_factors_are_all_that_is_stored() -> None:
    model, _ = recurrent_model(Options(bias=False, states=False, direction="bidirectional"))
    items = [random_low_rank(site, 2) for site in find_sites(model)]
    lower(model, items, eager(MODE))
    stored = sum(value.const_value.size for value in model.graph.initializers.values() if value.const_value)
    assert stored == sum(form.left.size + form.right.size for item in items for form in item.forms)


def test_the_input_weight_of_a_bidirectional_node_stores_no_zeros() -> None:
    model, _ = recurrent_model(Options(direction="bidirectional"))
    item = random_low_rank(sites_by_name(model)["W"], 2)
    lower(model, [item], eager(MODE))
    new = [value for name, value in model.graph.initializers.items() if name.startswith("W.")]
    stored = sum(value.const_value.size for value in new if value.const_value)
    assert stored == sum(form.left.size + form.right.size for form in item.forms)


def test_the_dense_input_weight_stays_a_site_under_its_name() -> None:
    model, _ = recurrent_model(Options())
    before = sites_by_name(model)
    matrices = before["W"].matrices()
    lower(model, [random_low_rank(before["R"], 2)], eager(MODE))
    np.testing.assert_array_equal(sites_by_name(model)["W"].matrices(), matrices)


def test_the_weights_of_one_node_can_be_lowered_one_after_the_other() -> None:
    """The second is a site of the rewritten graph, under the same name."""
    for order in (("R", "W"), ("W", "R")):
        model, feeds = recurrent_model(Options())
        items = {name: random_low_rank(site, 2, seed) for seed, (name, site) in enumerate(sites_by_name(model).items())}
        assign_dense(list(items.values()))
        expected = run(model, feeds)
        for name in order:
            lower(model, [Compressed(sites_by_name(model)[name], items[name].forms)], eager(MODE))
        for ours, theirs in zip(run(model, feeds), expected, strict=True):
            assert relative_error(ours, theirs) <= TOLERANCE


def test_a_weight_that_is_gone_with_its_node_is_named() -> None:
    model, _ = recurrent_model(Options(direction="bidirectional"))
    items = {name: random_low_rank(site, 2) for name, site in sites_by_name(model).items()}
    lower(model, [items["R"]], eager(MODE))
    with pytest.raises(ModelError, match="site 'W': its node 'cell'"):
        lower(model, [items["W"]], eager(MODE))


def test_two_nodes_on_the_same_weights_share_the_factors() -> None:
    model, feeds = recurrent_model(Options(outputs=(True, False, False)))
    (first,) = model.graph
    again = ir.node("LSTM", first.inputs, first.attributes, num_outputs=1, name="again")
    again.outputs[0].name, again.outputs[0].type = "y2", ir.TensorType(FLOAT)
    again.outputs[0].shape = ir.Shape(["T", 1, "N", 6])
    model.graph.append(again)
    model.graph.outputs.append(again.outputs[0])
    items = [random_low_rank(site, 2) for site in find_sites(model)]
    assert lowered_error(model, items, feeds, MODE) <= TOLERANCE
    assert sorted(model.graph.initializers) == ["B.sum.0", "R.left", "R.right", "W.left", "W.right"]


def test_names_of_node_and_outputs_stay_recognisable() -> None:
    model, _ = recurrent_model(Options())
    lower(model, [random_low_rank(site, 2) for site in find_sites(model)], eager(MODE))
    checked_bytes(model)
    assert [value.name for value in model.graph.outputs] == ["y", "yh", "yc"]
    assert {"cell/low_rank_1", "cell/low_rank_2", "cell/scan"} <= {node.name for node in model.graph}


@pytest.mark.parametrize("mode", ["compute", "scan"])
@pytest.mark.parametrize(("attributes", "opset"), [
    ({"layout": 1}, 14),
    ({"input_forget": 1}, 14),
    ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, 14),
    ({}, 8),
])  # fmt: skip
def test_a_node_that_a_scan_cannot_stand_for_stays(attributes: dict[str, Any], opset: int, mode: str) -> None:
    model, feeds = recurrent_model(Options(opset=opset, inputs=12, hidden=10))
    (node,) = model.graph
    for name, value in attributes.items():
        node.attributes[name] = ir.convenience.convert_attribute(name, value)
    items = [random_low_rank(site, 2, seed) for seed, site in enumerate(find_sites(model))]
    assert [refuse(item.site) for item in items] == [None, None]
    if "layout" in attributes:  # ONNX Runtime does not run it
        told = {each.site.name: each for each in lower(model, items, eager(mode))}
        ir.to_proto(model)
    else:
        far, told = lowered_and_run(model, items, feeds, eager(mode))
        assert far <= TOLERANCE
    assert node.graph is model.graph
    assert not {"W", "R"} & set(model.graph.initializers)
    stored = sum(
        v.const_value.size for n, v in model.graph.initializers.items() if v.const_value and n[:2] in ("W.", "R.")
    )
    assert stored == sum(form.left.size + form.right.size for item in items for form in item.forms)
    joined = "joined of its parts when a session loads"
    assert [each.reason.startswith(joined) for each in told.values()] == [False, True]
    assert [each.how for each in told.values()] == ["factors", "decoded"]


def test_beside_weights_made_at_run_time_r_is_multiplied_at_load() -> None:
    model, feeds = recurrent_model(Options())
    bias = model.graph.initializers.pop("B")
    feeds["B"], bias.const_value = bias.const_value.numpy(), None
    bias.type, bias.shape = ir.TensorType(FLOAT), ir.Shape(feeds["B"].shape)
    model.graph.inputs.append(bias)
    assert lowered_error(model, [random_low_rank(sites_by_name(model)["R"], 2)], feeds, MODE) <= TOLERANCE
    assert [node.op_type for node in model.graph][-1] == "LSTM"
