"""Raising a model's opset in place: it computes what it did, and its sites are there under their names."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
from running import random_feeds, relative_error, run

from dtc.errors import ModelError
from dtc.graph import find_sites, load_model
from dtc.graph.opset import require_opset


@pytest.mark.parametrize("name", ["mnist-8", "kws_dnn_s", "gtcrn_simple", "silero_vad_v4", "resnet20_cifar10_derived"])
def test_a_raised_model_computes_the_same(data_dir: Path, name: str):
    model = load_model(data_dir / "onnx" / f"{name}.onnx")
    model.ir_version = 10
    feeds = random_feeds(model)
    expected = run(model, feeds)
    names = [(site.name, site.view) for site in find_sites(model)]
    assert require_opset(model, 18)
    assert model.opset_imports[""] == 18
    assert [(site.name, site.view) for site in find_sites(model)] == names
    for found, wanted in zip(run(model, feeds), expected, strict=True):
        assert relative_error(found, wanted) <= 1e-5


def test_a_model_that_is_new_enough_is_left_as_it_is():
    model = ir.from_onnx_text('<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }')
    graph = model.graph
    assert not require_opset(model, 13)
    assert model.graph is graph
    assert model.opset_imports[""] == 17


def test_a_model_that_cannot_be_converted_is_refused_with_what_to_do():
    text = '<ir_version: 8, opset_import: ["": 9, "": 9]> g (float[2] x) => (float[2] y) { y = NoSuchOperator(x) }'
    with pytest.raises(ModelError, match=r"opset 9 cannot be converted to opset 13.*export it"):
        require_opset(ir.from_onnx_text(text), 13)
    with pytest.raises(ModelError, match=r"opset 13, which the engine needs"):
        require_opset(ir.from_onnx_text(text), 13, needed_by="the engine")
