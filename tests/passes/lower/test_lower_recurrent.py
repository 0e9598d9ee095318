"""Weights of LSTM and GRU lowered to the operators that take their forms, against ONNX Runtime with the dense weights.

Tolerance: 1e-5 of the largest output (max norm); of low rank 1e-4, as the product of the factors is rounded otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recurrent_graphs import FLOAT, Options, recurrent_model, two_layers
from running import (
    EAGER,
    assign_dense,
    eager,
    lowered_and_run,
    random_low_rank,
    relative_error,
    run,
    sites_by_name,
)

from dtc.forms import LowRank
from dtc.forms.sparse import Sparse
from dtc.forms.sparse_pattern import Bitmap, Csr
from dtc.graph import Site, all_nodes, find_sites
from dtc.passes.lower import Compressed, find_target, lower
from dtc.passes.method import Skip, Weights, make_method

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "binary": ("binary", {"bits": 2}),
    "codebook": ("codebook", {"codewords": 16, "block": 1}),
}
FORMS = ["sparse", "bitmap", "binary", "codebook", "low_rank"]


def compressed(site: Site, form: str, seed: int = 0) -> Compressed:
    if form == "low_rank":
        return random_low_rank(site, 3, seed)
    if form in ("sparse", "bitmap"):
        return Compressed(site, tuple(sparse(matrix, form) for matrix in site.matrices()))
    method, options = METHODS[form]
    outcome = make_method(method, options).distort([Weights(site.name, site.matrices(), "n")])
    forms = outcome[site.name]
    assert not isinstance(forms, Skip)
    return Compressed(site, forms)


def sparse(matrix: Any, pattern: str) -> Sparse:
    kept = np.abs(matrix) >= np.quantile(np.abs(matrix), 0.7)
    return Sparse(matrix[kept], Bitmap.of(kept) if pattern == "bitmap" else Csr.of(kept))


def scaled_model(o: Options, seed: int = 0) -> tuple[ir.Model, dict[str, Any]]:
    model, feeds = recurrent_model(o, seed)
    for site in find_sites(model):
        site.assign((site.array() / np.sqrt(site.view.cols)).astype(np.float32))
    return model, feeds


def error(model: ir.Model, items: list[Compressed], feeds: dict[str, Any]) -> float:
    assign_dense(items)
    expected = run(model, feeds)
    lower(model, items, eager("compute"))
    return max(relative_error(f, e) for f, e in zip(run(model, feeds), expected, strict=True))


def operators_in(model: ir.Model) -> list[str]:
    return [node.op_type for node in all_nodes(model) if node.domain == "dtc" and "_" in node.op_type]


options = st.builds(
    Options,
    op=st.sampled_from(["LSTM", "GRU"]),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    steps=st.integers(1, 4),
    inputs=st.sampled_from([9, 16]),
    hidden=st.sampled_from([8, 11]),
    bias=st.booleans(),
    lengths=st.booleans(),
    states=st.booleans(),
    clip=st.sampled_from([None, 0.7]),
    outputs=st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(lambda used: any(used[:2])),
    opset=st.sampled_from([11, 14, 21]),
)


@pytest.mark.parametrize(("w", "r"), [pair for pair in product(["dense", *FORMS], ["dense", *FORMS]) if any(
    form != "dense" for form in pair
)])  # fmt: skip
def test_each_weight_is_taken_in_its_form(w: str, r: str) -> None:
    @settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(options)
    def check(o: Options) -> None:
        model, feeds = scaled_model(o)
        sites = sites_by_name(model)
        items = [compressed(sites[name], form) for name, form in (("W", w), ("R", r)) if form != "dense"]
        found = error(model, items, feeds)
        assert found <= (1e-4 if "low_rank" in (w, r) else 1e-5)
        left, right = "dense" if w == "low_rank" else w, "sparse" if r == "bitmap" else r
        if items[0].forms[0].kind == "sparse" and o.direction == "bidirectional" and w != "dense":
            left = "sparse" if isinstance(Sparse.stack(items[0].forms).pattern, Csr) else "bitmap"  # the smaller
        coded = (left, right) != ("dense", "dense") and o.opset >= 12  # the first one with operators
        assert operators_in(model) == ([f"{o.op}_{left}_{right}"] if coded else [])
        assert {name for _, name, _ in model.functions} == {n.op_type for n in all_nodes(model) if n.domain == "dtc"}
        assert not {"W", "R"} & {item.site.name for item in items} & set(model.graph.initializers)

    check()


@pytest.mark.parametrize("form", FORMS)
def test_other_activations_leave_the_node_to_onnx(form: str) -> None:
    model, feeds = scaled_model(Options(activations=("Sigmoid", "Relu", "Tanh")))
    assert error(model, [compressed(site, form) for site in find_sites(model)], feeds) <= 1e-4
    assert operators_in(model) == []


def test_default_activations_may_be_named() -> None:
    model, feeds = scaled_model(Options(activations=("sigmoid", "Tanh", "tanh")))
    assert error(model, [compressed(site, "binary") for site in find_sites(model)], feeds) <= 1e-5
    assert operators_in(model) == ["LSTM_binary_binary"]


def test_what_does_not_pay_is_decoded_in_front_of_the_node() -> None:
    steady = {name: (((9.0 if name.startswith("sparse") else 1.0,),),) for name in EAGER.speeds}
    costs = EAGER.model_copy(update={"sides": (1,), "rows": (1,), "speeds": steady, "worth": 1.2})
    target = replace(find_target("compute"), costs=costs)
    model, feeds = scaled_model(Options())
    sites = sites_by_name(model)
    items = [compressed(sites["W"], "sparse"), compressed(sites["R"], "binary")]
    far, told = lowered_and_run(model, items, feeds, target)
    assert far <= 1e-5
    assert [told[name].how for name in "WR"] == ["operator", "decoded"]
    assert operators_in(model) == ["LSTM_sparse_dense"]


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_signs_of_few_survivors_are_put_into_blocks_at_load(direction: str) -> None:
    model, feeds = scaled_model(Options(direction=direction, inputs=40, hidden=20))
    items = []
    for site in find_sites(model):
        matrices = site.matrices()
        mask = np.abs(matrices) >= np.quantile(np.abs(matrices), 0.9)
        weights = Weights(site.name, matrices, "n", mask=mask)
        forms = make_method("binary", {"bits": 1}).distort([weights])[site.name]
        assert not isinstance(forms, Skip)
        items.append(Compressed(site, forms))
    assert error(model, items, feeds) <= 1e-5
    assert operators_in(model) == ["LSTM_binary_binary"]
    assert "W.survivors" in model.graph.initializers


@pytest.mark.parametrize(
    ("method", "options", "sparsity"),
    [
        ("binary", {"bits": 1}, 0.9),
        ("codebook", {"codewords": 8, "block": 1}, 0.8),
        ("codebook", {"codewords": 7, "block": 1, "huffman": True}, 0.0),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_standard_nodes_in_front_of_a_recurrence_are_those_that_fold_everywhere(
    method: str, options: dict[str, Any], sparsity: float, direction: str
) -> None:
    model, feeds = scaled_model(Options(direction=direction, inputs=40, hidden=21))
    items = []
    for site in find_sites(model):
        matrices = np.sign(site.matrices()) * site.matrices() ** 2  # so that codewords are not equally frequent
        mask = np.abs(matrices) >= np.quantile(np.abs(matrices), sparsity) if sparsity else None
        forms = make_method(method, options).distort([Weights(site.name, matrices, "n", mask=mask)])[site.name]
        assert not isinstance(forms, Skip)
        items.append(Compressed(site, forms))
    assign_dense(items)
    expected = run(model, feeds)
    lower(model, items, eager("standard"))
    assert max(relative_error(f, e) for f, e in zip(run(model, feeds), expected, strict=True)) <= 1e-5
    # OpenVINO takes constant weights alone, and does not compute running sums when it loads a model.
    assert "CumSum" not in {node.op_type for node in all_nodes(model)}
    assert any(name.rpartition(".")[2].startswith(("survivors", "indices")) for name in model.graph.initializers)


def test_two_nodes_on_the_same_weights_share_the_arrays() -> None:
    for form in FORMS:
        model, feeds = scaled_model(Options(outputs=(True, False, False)))
        (first,) = model.graph
        again = ir.node("LSTM", first.inputs, first.attributes, num_outputs=1, name="again")
        again.outputs[0].name, again.outputs[0].type = "y2", ir.TensorType(FLOAT)
        again.outputs[0].shape = ir.Shape(["T", 1, "N", 6])
        model.graph.append(again)
        model.graph.outputs.append(again.outputs[0])
        assert error(model, [compressed(site, form) for site in find_sites(model)], feeds) <= 1e-4
        assert len(operators_in(model)) == 2
        names = [name for name in model.graph.initializers if name.startswith("R.")]
        assert len(names) == len(set(names)) <= 3


def test_a_basis_shared_with_the_next_layer_is_stored_once() -> None:
    for op, direction in (("LSTM", "forward"), ("GRU", "reverse")):
        model, feeds = two_layers(Options(op=op, direction=direction, steps=3))
        sites = sites_by_name(model)
        first = random_low_rank(sites["R"], 2, seed=1, basis=True)
        second = random_low_rank(sites["W2"], 2, seed=2)
        second = Compressed(sites["W2"], (LowRank(second.forms[0].left, first.forms[0].right, "shared.0"),))
        assert error(model, [second, first], feeds) <= 1e-4
        assert operators_in(model) == [f"{op}_dense_low_rank"]
        assert [name for name in model.graph.initializers if "right" in name or "shared" in name] == ["shared.0"]


def test_a_weight_that_is_left_dense_stays_a_site_of_its_role() -> None:
    model, _ = scaled_model(Options())
    before = sites_by_name(model)
    lower(model, [compressed(before["W"], "bitmap")], eager("compute"))
    after = sites_by_name(model)
    assert list(after) == ["R"]
    assert after["R"].role == before["R"].role
    np.testing.assert_array_equal(after["R"].matrices(), before["R"].matrices())


def test_all_outputs_have_names_as_the_functions_have_all() -> None:
    model, feeds = scaled_model(Options(outputs=(False, True, False)))
    assert error(model, [compressed(site, "sparse") for site in find_sites(model)], feeds) <= 1e-5
    (node,) = [node for node in model.graph if node.domain == "dtc"]
    assert [output.name for output in node.outputs] == ["cell/unread_0", "yh", "cell/unread_2"]


def test_coded_factors_of_r_beside_a_coded_w_are_multiplied_at_load() -> None:
    model, feeds = scaled_model(Options(inputs=40, hidden=40))
    sites = sites_by_name(model)
    weights = Weights("R", sites["R"].matrices(), "cell")
    factored = make_method("svd", {"rank": 8}).distort([weights])["R"]
    assert not isinstance(factored, Skip)
    items = [compressed(sites["W"], "binary"), Compressed(sites["R"], coded(factored))]
    far, told = lowered_and_run(model, items, feeds, eager())
    assert far <= 1e-4
    assert operators_in(model) == ["LSTM_binary_dense"]
    assert told["R"].reason.startswith("joined of its parts when a session loads")


def coded(factored: Any) -> Any:
    from dtc.forms.composite import Product

    options = make_method("binary", {"bits": 2})
    parts = []
    for form in factored:
        sides = {}
        for side in ("left", "right"):
            matrix = getattr(form, side)[None]
            outcome = options.distort([Weights(side, matrix, "n")])[side]
            assert not isinstance(outcome, Skip)
            sides[side] = outcome[0]
        parts.append(Product(sides["left"], sides["right"]))
    return tuple(parts)
