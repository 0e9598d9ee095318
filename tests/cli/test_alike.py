"""A model of many like sites is told in a few rows, by names that can be typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from dtc.cli.alike import labels
from dtc.graph import save_model

Dtc = Callable[..., tuple[int, str, str]]

PREFIX = "StatefulPartitionedCall/a_model_of_long_names/encoder/"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model of 24 like products, and another one that is larger."""
    rng, names = np.random.default_rng(0), [f"{PREFIX}layer_{number}/kernel" for number in range(25)]
    nodes, value = [], ir.val("x", ir.DataType.FLOAT, ["N", 16])
    graph_input, weights = value, []
    for name, width in zip(names, [16] * 24 + [64], strict=True):
        array = rng.normal(size=(16, width)).astype(np.float32)
        weights.append(ir.val(name, const_value=ir.tensor(array, name=name)))
        nodes.append(ir.node("MatMul", [value, weights[-1]]))
        value = nodes[-1].outputs[0]
    value.name, value.type, value.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape(["N", 64])
    graph = ir.Graph([graph_input], [value], nodes=nodes, initializers=weights, opset_imports={"": 17}, name="g")
    save_model(ir.Model(graph, ir_version=9), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_many_like_sites_have_a_row(dtc: Dtc, path: Path) -> None:
    status, out, err = dtc("inspect", path)
    assert status == 0, err
    lines = out.splitlines()
    assert "25 sites, weights that can be compressed, hold" in lines[1]
    names = next(number for number, line in enumerate(lines) if PREFIX in line)
    assert "names of sites" in lines[names]
    assert lines[names + 2].split()[:7] == ["layer_0/kernel", "and", "23", "alike", "MatMul", "16x16", "24.58"]
    assert lines[names + 3].split()[:3] == ["layer_24/kernel", "MatMul", "16x64"]
    assert len(lines) < 30
    status, out, _ = dtc("inspect", path, "--sites")
    assert all(f"layer_{number}/kernel" in out for number in range(25))
    # The same of what was done.
    told = ("compress", path, "--method", "uniform", "--bits", "8", "--seconds", "0", "--force", "--allow-growth")
    status, out, err = dtc(*told)
    assert status == 0, err
    rows = [line for line in out.splitlines() if "layer_" in line]
    assert len(rows) <= 4
    assert any("and 23 alike" in row for row in rows)
    status, out, _ = dtc(*told, "--sites")
    assert all(f"layer_{number}/kernel" in out for number in range(25))


def test_labels_stay_distinct() -> None:
    assert labels([["fc1.weight"], ["fc2.weight"]]) == (["fc1.weight", "fc2.weight"], "")
    names = [f"model/{'block/' * 9}{part}/dense/{'x' * 30}" for part in ("query", "value")]
    found, beginning = labels([[name] for name in names])
    assert [beginning + each for each in found] != names
    assert len(set(found)) == 2
    assert all(len(each) < 50 for each in found)
    assert labels([[names[0]], [names[0]]])[0] == [labels([[names[0]]])[0][0]] * 2
    assert labels([]) == ([], "")
