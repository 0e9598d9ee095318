"""Models of old operator sets are compressed as they are: their own nodes are never converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from old_graphs import KINDS, UNTOUCHED, old_model
from running import eager, lowered_and_run

from dtc.errors import ModelError
from dtc.forms import Codebook, Codewords
from dtc.graph import all_nodes, find_sites
from dtc.graph.builder import Shared, insert_first
from dtc.passes.lower import Compressed, find_target, lower, unfit_opset
from dtc.passes.lower.opset7 import count_up, running_sum, spread, store_numbers
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise
from dtc.recipe import Rule

METHODS: dict[str, dict[str, Any]] = {
    "svd": {"rank_ratio": 0.4},
    "prune": {"sparsity": 0.8},
    "prune-masked": {"sparsity": 0.6},
    "binary": {"bits": 2},
    "uniform": {"bits": 5},
    "codebook": {"codewords": 12, "block": 2},
    "bins": {"bins": 6},
    "prune+binary": {"sparsity": 0.8, "bits": 1},
    "prune+codebook": {"sparsity": 0.8, "codewords": 16, "block": 1},
    "svd+binary": {"rank": 8, "bits": 2},
    "prune+svd": {"sparsity": 0.9, "rank": 4},
}

CASES = ("activation_resize10", "if_rate_resize10", "log_resize10", "resize10_linear", "function_old_opset")


def untouched(model: ir.Model) -> dict[str, bytes]:
    """Return the bytes of the nodes that a conversion would change, by name."""
    nodes = [node for node in all_nodes(model) if str(node.name).startswith(UNTOUCHED)]
    return {str(node.name): ir.serde.serialize_node(node).SerializeToString() for node in nodes}


def feeds_of(model: ir.Model) -> dict[str, Any]:
    """Return random inputs; row numbers below 50, and branches that are taken."""
    rng = np.random.default_rng(1)
    found: dict[str, Any] = {}
    for value in model.graph.inputs:
        shape = [int(str(size)) for size in value.shape or ()]
        match value.dtype:
            case ir.DataType.BOOL:
                found[str(value.name)] = np.array(True)
            case ir.DataType.INT64:
                found[str(value.name)] = rng.integers(0, 50, shape)
            case _:
                found[str(value.name)] = rng.standard_normal(shape, dtype=np.float32)
    return found


@pytest.mark.parametrize("opset", range(7, 13))
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_leaves_the_models_own_nodes_as_they_are(kind: str, opset: int) -> None:
    for number, (method, options) in enumerate(METHODS.items()):
        target = ("compute", "standard", "storage")[(number + opset) % 3]
        model = old_model(kind, opset)
        own = untouched(model)
        normalise(model)
        plan = make_plan(model, [Rule(method=method, options=options)])
        items = plan.compressed(plan.distort().forms)
        error, told = lowered_and_run(model, items, feeds_of(model), eager(target))
        assert error <= 1e-4, (method, target)
        assert told.keys() == {item.site.name for item in items}
        assert model.opset_imports[""] == opset
        assert untouched(model) == own


@pytest.mark.parametrize("name", CASES)
def test_files_of_old_opsets_keep_their_nodes(name: str, case: Any, tmp_path: Path, dtc: Any) -> None:
    path = case(name)
    own = onnx.load(path)
    turn = CASES.index(name)
    for method, options in (("uniform", ("--bits", 5)), ("prune", ("--sparsity", 0.8)), ("binary", ("--bits", 2))):
        target = ("compute", "standard")[turn % 2]
        turn += 1
        output = tmp_path / f"{method}.onnx"
        arguments = ("compress", path, "-m", method, *options, "--lower", target, "-o", output, "--seconds", 0)
        status, _, err = dtc(*arguments, "--dump", tmp_path / method)
        assert status == 0, err
        written = onnx.load(output)
        assert written.opset_import[0].version == own.opset_import[0].version
        compare(next((tmp_path / method).glob("*-distort.onnx")), output)


def compare(distorted: Path, written: Path) -> None:
    """Hold a written file to the distorted dense one on positive inputs, and whatever branch they take."""
    sessions = [onnxruntime.InferenceSession(str(path)) for path in (distorted, written)]
    rng = np.random.default_rng(0)
    for rate in (8000, 16000):
        feeds: dict[str, Any] = {}
        for value in sessions[0].get_inputs():
            shape = [size if isinstance(size, int) else 2 for size in value.shape]
            array = np.full(shape, rate) if "int64" in value.type else rng.random(shape, dtype=np.float32) + 0.1
            feeds[value.name] = array
        for expected, found in zip(*(each.run(None, feeds) for each in sessions), strict=True):
            assert np.isfinite(expected).any()
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.nanmax(np.abs(expected)))


def test_a_form_that_is_too_young_is_left_alone_with_what_it_needs() -> None:
    model = old_model("matmul", 7)
    model.opset_imports[""] = 6
    plan = make_plan(model, [Rule(method="binary", options={"bits": 2})])
    assert plan.distort().skipped == {"W": "needs opset 7, the model has 6; export it at opset 7 or later"}
    (site,) = find_sites(model)
    book = Codebook(np.zeros((64, 96), np.uint16), Codewords.encode(np.ones((1, 1), np.float32), 32), 96)
    assert unfit_opset(book, 7) is None
    with pytest.raises(ModelError, match="site 'W': a form like its codebook needs opset 7"):
        lower(model, [Compressed(site, (book,))], find_target("standard"))


def test_what_decodes_an_old_model_is_told() -> None:
    model = old_model("conv", 9)
    plan = make_plan(model, [Rule(method="binary", options={"bits": 2})])
    (told,) = lower(model, plan.compressed(plan.distort().forms), find_target("compute"))
    assert told.reason == "decoded when a session loads: operators need opset 12, the model has 9"


def test_int2_planes_need_their_opset() -> None:
    model = old_model("matmul", 12)
    plan = make_plan(model, [Rule(method="binary", options={"bits": 2})])
    (told,) = lower(model, plan.compressed(plan.distort().forms), find_target("int2"))
    assert told.how == "decoded"
    assert "no INT2 planes: INT2 needs opset 25, the model has 12; export it at opset 25 or later" in told.reason
    assert model.opset_imports[""] == 12


@pytest.mark.parametrize("count", [1, 5, 128, 129, 300, 20_000])
def test_numbers_places_and_sums_in_operators_of_opset_7(count: int) -> None:
    rng = np.random.default_rng(count)
    kept = rng.random(count) < 0.3
    kept[-1] = True
    values = rng.integers(1, 100, int(kept.sum())).astype(np.float32)
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 7}, name="numbers")
    model = ir.Model(graph, ir_version=8)
    shared = Shared(model)
    e = shared.builder("n")
    numbers = {bits: rng.integers(0, 1 << bits, count) for bits in (1, 2, 3, 4, 5, 7, 8, 12, 16)}
    found = {f"numbers {bits}": store_numbers(e, f"n{bits}", array, bits) for bits, array in numbers.items()}
    wanted: dict[str, Any] = {f"numbers {bits}": array for bits, array in numbers.items()}
    found["spread"] = spread(e, "kept", e.initializer("values", values), kept)
    wanted["spread"] = np.zeros(count, np.float32)
    wanted["spread"][kept] = values
    for dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        ones = e.constant(np.ones(count, dtype.numpy()))
        found[f"sums {dtype}"] = running_sum(e, ones, count, dtype)
        wanted[f"sums {dtype}"] = np.arange(1, count + 1)
    found["count"], wanted["count"] = count_up(e, count), np.arange(count)
    outputs = [e.op("Identity", [value]) for value in found.values()]
    insert_first(e)
    shared.insert()
    graph.outputs.extend(outputs)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    for name, array in zip(found, session.run(None, {}), strict=True):
        assert np.array_equal(array, wanted[name]), name


@pytest.mark.parametrize("opset", [8, 10, 12])
@pytest.mark.parametrize("pair", [("prune", "svd"), ("svd", "binary"), ("codebook", "svd+binary")])
def test_weights_of_one_node_may_have_two_methods(pair: tuple[str, str], opset: int) -> None:
    for target in ("compute", "standard"):
        model = old_model("lstm", opset)
        rules = [Rule(include=[n], method=m, options=METHODS[m]) for n, m in zip("WR", pair, strict=True)]
        plan = make_plan(model, rules)
        items = plan.compressed(plan.distort().forms)
        assert len(items) == 2
        assert lowered_and_run(model, items, feeds_of(model), eager(target))[0] <= 1e-4
