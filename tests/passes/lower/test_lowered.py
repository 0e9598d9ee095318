"""What lowering tells of each site is what stands in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from running import assign_dense, eager, lowered_and_run, random_feeds

from dtc.errors import ModelError
from dtc.graph import find_sites, load_model, save_model
from dtc.passes.lower import Compressed, Lowered, find_target, lower
from dtc.passes.lower.ledger import array_bytes
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise
from dtc.recipe import Rule

METHODS: dict[str, dict[str, Any]] = {
    "binary": {"bits": 2, "solver": "greedy"},
    "codebook": {"codewords": 16, "block": 1},
    "prune": {"sparsity": 0.8},
    "svd": {"rank": 8},
    "svd+binary": {"rank": 8, "bits": 2, "solver": "greedy"},
    "prune+svd": {"sparsity": 0.9, "rank": 4},
    "uniform": {"bits": 4},
}
MIXED = """<ir_version: 8, opset_import: ["": 17]>
mixed (float16[3,64] x, float[64,48] W) => (float16[3,48] y) {
  half = Cast<to=10>(W)
  y = MatMul(x, half)
}"""
GEMMS = """<ir_version: 8, opset_import: ["": 17]>
gemms (float[64,3] x, float[64,48] W, float[48] B) => (float[3,48] y) {
  y = Gemm<transA=1, alpha=0.5, beta=2.0>(x, W, B)
}"""
TIED = """<ir_version: 8, opset_import: ["": 17]>
tied (int64[3] ids, float[2,16] x, float[60,16] W) => (float[3,16] rows, float[2,60] scores) {
  rows = Gather(W, ids)
  turned = Transpose<perm=[1,0]>(W)
  scores = MatMul(x, turned)
}"""
TWO = """<ir_version: 13, opset_import: ["": 25]>
two (float[2,16] x, float[16,20] A, float[20,10] B) => (float[2,10] y) {
  h = MatMul(x, A)
  y = MatMul(h, B)
}"""
CELL = """<ir_version: 8, opset_import: ["": 17]>
cell (float[5,2,24] x, float[1,64,24] W, float[1,64,16] R) => (float[5,1,2,16] y) {
  y = LSTM<hidden_size=16>(x, W, R)
}"""


def compressed(model: ir.Model, method: str) -> list[Compressed]:
    plan = make_plan(model, [Rule(method=method, options=METHODS[method])])
    return plan.compressed(plan.distort().forms)


def parsed(text: str, seed: int = 0) -> ir.Model:
    """Return a model written as text; its inputs in capitals become weights of random numbers."""
    model = ir.from_proto(onnx.parser.parse_model(text))
    rng = np.random.default_rng(seed)
    for value in [value for value in model.graph.inputs if str(value.name).isupper()]:
        shape = [int(str(size)) for size in value.shape or ()]
        value.const_value = ir.tensor(rng.standard_normal(shape, dtype=np.float32), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", ["compute", "standard", "storage"])
def test_a_weight_behind_a_cast_is_right_in_every_form(method: str, target: str) -> None:
    model = parsed(MIXED)
    far, told = lowered_and_run(model, compressed(model, method), random_feeds(model), eager(target))
    assert far <= 2e-3  # float16
    assert told["W"].how in ("decoded", "factors", "terms")


@pytest.mark.parametrize("method", ["binary", "codebook", "prune", "svd", "uniform"])
def test_the_same_gemm_is_computed_on_codes_by_every_form(method: str) -> None:
    model = parsed(GEMMS)
    far, told = lowered_and_run(model, compressed(model, method), random_feeds(model), eager())
    assert far <= 1e-5
    assert told["W"].how == ("factors" if method == "svd" else "operator")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["silero_vad_v4", "gtcrn_simple", "kws_dnn_s"])
def test_the_bytes_of_the_sites_are_what_the_file_grows_by(
    method: str, name: str, data_dir: Path, tmp_path: Path
) -> None:
    model, size = normalised(data_dir, name, tmp_path)
    forms = make_plan(model, [Rule(method=method, options=METHODS[method])]).distort().forms
    for target in ("compute", "standard", "storage"):
        model, _ = normalised(data_dir, name, tmp_path)
        items = [Compressed(site, forms[site.name]) for site in find_sites(model) if site.name in forms]
        assert len(items) == len(forms)
        holds_to_its_bytes(model, items, target, size, tmp_path)


def normalised(data_dir: Path, name: str, folder: Path) -> tuple[ir.Model, int]:
    """Return a model whose weights are ready for methods, and the bytes of its file."""
    model = load_model(data_dir / "onnx" / f"{name}.onnx")
    normalise(model)
    save_model(model, folder / "dense.onnx", force=True)
    return model, (folder / "dense.onnx").stat().st_size


def holds_to_its_bytes(model: ir.Model, items: list[Compressed], target: str, size: int, folder: Path) -> None:
    """Lower the items in the model of a file of `size` bytes, and hold what is told of them to the new file."""
    dense = sum(array_bytes(item.site.value) for item in items)
    told = lower(model, items, find_target(target))
    save_model(model, folder / f"{target}.onnx")
    grown = (folder / f"{target}.onnx").stat().st_size - size
    assert [each.site.name for each in told] == [item.site.name for item in items]
    assert sum(each.nbytes for each in told) - dense == pytest.approx(grown, abs=0.01 * dense + 20 * len(items))
    holders: dict[ir.Value, list[Lowered]] = {}
    for each in told:
        assert each.stored
        for value in each.stored.values():
            holders.setdefault(value, []).append(each)
    for value, sites in holders.items():  # of an array of several sites each has a part
        assert value.const_value is not None
        parts = sum(each.nbytes for each in sites)
        assert 0 < value.const_value.nbytes <= parts + 500 * len(sites)  # a reader that is gone is a gain


def test_a_site_is_told_of_by_its_readers() -> None:
    model = parsed(TIED)
    (told,) = lower(model, compressed(model, "binary"), eager())
    assert {reader.role: reader.how for reader in told.readers} == {"Gather": "operator", "MatMul": "operator"}
    model = parsed(TIED)
    (told,) = lower(model, compressed(model, "binary"), find_target("standard"))
    assert {reader.role: reader.how for reader in told.readers} == {"Gather": "rows", "MatMul": "decoded"}
    assert told.how == "rows"


def test_only_planes_have_the_caveats_and_the_tolerance_of_planes() -> None:
    model = parsed(TWO)
    told = {each.site.name: each for each in lower(model, compressed(model, "binary"), find_target("int2"))}
    assert (told["A"].how, told["B"].how) == ("planes", "decoded")  # 10 outputs do not fill bytes
    assert told["A"].caveats
    assert told["A"].tolerance
    assert not told["B"].caveats
    assert told["B"].tolerance is None


def test_an_operator_that_a_target_does_not_have_is_refused() -> None:
    model = parsed(GEMMS)
    items = compressed(model, "codebook")
    assign_dense(items)
    without = replace(find_target("standard"), operators=frozenset({"MatMul"}))
    with pytest.raises(ModelError, match="target standard has no operator"):
        lower(model, items, without)
    with pytest.raises(ModelError, match="takes opset 13 at most, the model has 17"):
        lower(model, items, replace(find_target("standard"), max_opset=13))


def test_methods_of_two_weights_of_one_node_are_lowered_together() -> None:
    pairs = (("binary", "svd"), ("svd", "prune"), ("codebook", "svd+binary"), ("prune", "svd"))
    for first, second, target in [(*pair, target) for pair in pairs for target in ("compute", "standard")]:
        model = parsed(CELL)
        sites = {site.name: site for site in find_sites(model)}
        items = []
        for name, method in (("W", first), ("R", second)):
            plan = make_plan(model, [Rule(method=method, options=METHODS[method], include=(name,))])
            items += plan.compressed(plan.distort().forms)
        assert {item.site.name for item in items} == set(sites)
        far, told = lowered_and_run(model, items, random_feeds(model), eager(target))
        assert far <= 1e-4
        assert set(told) == {"W", "R"}
