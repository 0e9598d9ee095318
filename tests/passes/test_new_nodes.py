"""New nodes of every form: their names are no others, and constants are stored once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from running import assign_dense, eager, random_feeds, relative_error, run

from dtc.graph import all_nodes
from dtc.passes.lower import lower
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

METHODS: dict[str, dict[str, Any]] = {
    "svd": {"rank": 4},
    "prune": {"sparsity": 0.7},
    "binary": {"bits": 2},
    "prune+binary": {"sparsity": 0.9, "bits": 1},
    "codebook": {"codewords": 12, "block": 1, "gradient_weight": 0},
    "prune+codebook": {"sparsity": 0.8, "codewords": 8, "block": 1},
    "svd+uniform": {"rank": 4, "bits": 4},
    "prune+svd": {"sparsity": 0.9, "rank": 2},
}
PARTS = ("codes", "alphas", "indices", "codewords", "values", "bitmap", "gaps", "mask", "survivors", "left", "right")


def hostile_model() -> ir.Model:
    """Two products, a look-up and an LSTM among values that have the names which lowering would like."""
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["": 17]>
        g (float[6, 2, 24] x, int64[3] v3) => (float[6, 2, 20] y, float[3, 32] rows, float[6, 1, 2, 8] z)
        {
            v0 = MatMul(x, W)
            v1 = Add(v0, v2)
            v4 = MatMul(v1, A)
            y = Add(v4, v5)
            rows = Gather(E, v3)
            z, v6, v7 = LSTM <hidden_size = 8> (x, L, R)
        }
    """)
    rng = np.random.default_rng(0)

    def store(name: str, *shape: int) -> None:
        value = next((v for node in model.graph for v in node.inputs if v is not None and v.name == name), None)
        value = value or ir.Value(name=name)
        value.const_value = ir.tensor(rng.standard_normal(shape).astype(np.float32), name=name)
        value.shape, value.dtype = ir.Shape(shape), ir.DataType.FLOAT
        model.graph.register_initializer(value)

    weights = {"W": (24, 40), "A": (40, 20), "E": (30, 32), "L": (1, 32, 24), "R": (1, 32, 8)}
    for name, shape in {**weights, "v2": (40,), "v5": (20,)}.items():
        store(name, *shape)
    biases = model.graph.initializers
    for index, name in enumerate(f"{weight}.{part}" for weight in weights for part in PARTS):
        store(name, 40)
        node = ir.node("Add", [biases["v2"], biases[name]], name=f"v{index + 10}", version=None)
        node.outputs[0].name, node.outputs[0].type = f"v{index + 10}", ir.TensorType(ir.DataType.FLOAT)
        node.outputs[0].shape = ir.Shape([40])
        model.graph.append(node)
        model.graph.outputs.append(node.outputs[0])
    for number, node in enumerate(node for node in model.graph if node.name in (None, "")):
        node.name = f"v{number}"
    return model


@pytest.mark.parametrize("mode", ["compute", "standard", "storage"])
@pytest.mark.parametrize("method", METHODS)
def test_no_new_name_is_one_of_the_model(method: str, mode: str) -> None:
    model = hostile_model()
    given = dict(model.graph.initializers)
    feeds = {**random_feeds(model), "v3": np.array([0, 29, 7])}
    plan = make_plan(model, [Rule(method=method, options=METHODS[method])])
    items = plan.compressed(plan.distort().forms)
    assert len(items) >= 3
    assign_dense(items)
    expected = run(model, feeds)
    lower(model, items, eager(mode))
    found = run(model, feeds)
    assert max(relative_error(f, e) for f, e in zip(found, expected, strict=True)) < 1e-5
    for name, value in given.items():
        if "." in name or name.startswith("v"):
            assert model.graph.initializers[name] is value
    for names in ([node.name for node in all_nodes(model)], [v.name for n in all_nodes(model) for v in n.outputs]):
        assert max(Counter(names).values()) == 1


@pytest.mark.parametrize("method", ["prune", "binary", "prune+binary", "codebook", "prune+codebook"])
def test_sites_share_their_constants(method: str) -> None:
    model = hostile_model()
    plan = make_plan(model, [Rule(method=method, options=METHODS[method])])
    before = set(model.graph.initializers)
    lower(model, plan.compressed(plan.distort().forms), eager("standard"))
    new = [value for name, value in model.graph.initializers.items() if name not in before and name[0] == "v"]
    arrays = [value.const_value.numpy() for value in new if value.const_value is not None]
    assert arrays
    assert max(Counter((a.dtype, a.shape, a.tobytes()) for a in arrays).values()) == 1
    assert any(len(value.uses()) > 1 for value in new)
