"""A model that is run from a changed site on gives what the whole model gives, however much of what enters is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from dtc.graph import find_sites, load_model, save_model
from dtc.graph.signature import Arrays
from dtc.passes import prepare
from dtc.recipe import Objective
from dtc.search.onward import Onward
from dtc.session import runner, session

GRAPH = """<ir_version: 9, opset_import: ["" : 17]>
g (float[N, 8] x, bool turned) => (float[N, 4] y, float[N, 8] side) {
    first = MatMul(x, w1)
    a = Relu(first)
    left = MatMul(a, w2)
    right = MatMul(a, w3)
    negative = Neg(right)
    both = Concat<axis = 1>(left, negative, a)
    side = MatMul(a, w4)
    chosen = If(turned) <
        then_branch = one () => (float[N, 8] p) { p = MatMul(a, w5) },
        else_branch = other () => (float[N, 8] q) { q = Add(left, right) }
    >
    size = Shape(a)
    count = Cast<to = 1>(size)
    most = ReduceMax<keepdims = 0>(count)
    turned_weight = Transpose(w6)
    mixed = MatMul(both, turned_weight)
    sum = Add(mixed, chosen)
    scaled = Div(sum, most)
    last = MatMul(scaled, w7)
    y = Add(last, bias)
}"""
SHAPES = {"w1": (8, 8), "w2": (8, 8), "w3": (8, 8), "w4": (8, 8), "w5": (8, 8), "w6": (8, 24), "w7": (8, 4)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model, rng = onnx.parser.parse_model(GRAPH), np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    arrays["bias"] = np.ones(4, np.float32)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(each, name) for name, each in arrays.items())
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def batches() -> list[Arrays]:
    """Batches of several sizes: some are as large as the sizes of the layers, so that sizes are not mistaken."""
    rng = np.random.default_rng(1)
    x = [rng.normal(size=(rows, 8)).astype(np.float32) for rows in (8, 8, 3)]
    return [{"x": each, "turned": np.array(number == 1)} for number, each in enumerate(x)]


def test_from_a_changed_site_on_outputs_are_those_of_the_whole(path: Path, tmp_path: Path) -> None:
    model, given = load_model(path), batches()
    prepare.normalise(model)
    sites = find_sites(model)
    assert {site.name for site in sites} == SHAPES.keys()
    rooms = [Onward(model, sites, given, Objective(), room=room) for room in (1 << 20, 600, 0)]
    answers: dict[str, list[Arrays]] = {}
    # Forward, and back to one that was passed before.
    for number, site in enumerate([*sites, sites[1]]):
        count = 2 if number < 3 else 3
        entering = [each.entering(site.name, count) for each in rooms]
        before = site.value.const_value
        site.assign(np.asarray(site.array(), np.float32)[::-1])
        if site.name == "w4":
            # The output that is judged does not depend on it.
            assert entering == [None] * 3
            site.value.const_value = before
            continue
        assert all(each is not None for each in entering)
        found = [list(map(on.rest(site.name), each)) for on, each in zip(rooms, entering, strict=True) if each]
        save_model(model, tmp_path / f"{number}.onnx")
        run = runner(session(tmp_path / f"{number}.onnx", threads=1))
        site.value.const_value = before
        for batch, *parts in zip(given[:count], *found, strict=True):
            for part in parts:
                np.testing.assert_allclose(part["y"], run(batch)["y"], rtol=1e-5, atol=1e-6)
                # To the last bit: what was not kept is computed in the same steps.
                assert (part["y"] == parts[0]["y"]).all()
        answers.setdefault(site.name, found[0])
        assert all((one["y"] == two["y"]).all() for one, two in zip(answers[site.name], found[0], strict=False))


def test_a_model_that_carries_state_is_run_whole(path: Path) -> None:
    model = load_model(path)
    prepare.normalise(model)
    onward = Onward(model, find_sites(model), batches(), Objective(carry={"side": "x"}), room=1 << 20)
    assert onward.entering("w7", 1) is None
