"""The bidirectional LSTMs of `models/`, lowered, against the dense distorted model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from running import eager

from dtc import models
from dtc.graph import all_nodes, find_sites, save_model
from dtc.passes.lower import lower
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise, strip_training
from dtc.recipe import Rule
from dtc.session import runner, session

CASES = {
    "svd": {"rank": 6},
    "svd, shared by the layer": {"rank": 6, "shared_projection": "layer"},
    "svd, shared with the next layer": {"rank": 6, "shared_projection": "next"},
    "binary": {"bits": 2},
    "prune": {"sparsity": 0.8},
}


def sequences() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    lengths = np.array([8, 5, 1, 6], np.int32)
    x = rng.normal(size=(8, 4, 8)).astype(np.float32) * (np.arange(8)[:, None, None] < lengths[:, None])
    return {"x": x, "lengths": lengths}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["bilstm-classifier", "bilstm-tagger"])
def test_bidirectional_with_lengths(tmp_path: Path, name: str, case: str) -> None:
    model = models.build(name, width=16)
    normalise(model)
    rule = Rule(method=case.split(",", maxsplit=1)[0], options=CASES[case])
    plan = make_plan(model, [rule])
    distorted = plan.distort()
    recurrent = [site.name for site in plan.sites if site.role.endswith(".R")]
    assert recurrent
    assert set(recurrent) <= set(distorted.forms)
    for site in find_sites(model):
        if site.name in distorted.dense:
            site.assign(distorted.dense[site.name])
    strip_training(model)
    save_model(model, tmp_path / "dense.onnx")
    lower(model, plan.compressed(distorted.forms), eager())
    save_model(model, tmp_path / "small.onnx")
    if case.startswith("svd"):
        assert sum(node.op_type == "LSTM_dense_low_rank" for node in all_nodes(model)) >= 1
    feeds = sequences()
    wanted, found = (runner(session(tmp_path / f"{which}.onnx", threads=1))(feeds) for which in ("dense", "small"))
    for output in wanted:
        np.testing.assert_allclose(found[output], wanted[output], atol=2e-5)
