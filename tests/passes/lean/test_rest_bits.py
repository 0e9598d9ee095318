"""Weights that their method leaves alone are stored in a few bits where that is asked for; excluded ones are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

from dtc.graph import load_model
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

BODY = """h = MatMul(x, large) r = Relu(h) m = MatMul(r, narrow) s = Relu(m) y = MatMul(s, kept)"""
SVD = Rule(method="svd", options={"rank": 20}, exclude=("kept",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[N,64] x) => (float[N,40] y) {{ {BODY} }}'
    )
    rng = np.random.default_rng(0)
    # Two factors of rank 20 are smaller than 64x96, and larger than 96x16.
    for name, shape in {"large": (64, 96), "narrow": (96, 16), "kept": (16, 40)}.items():
        array = rng.standard_normal(shape, dtype=np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("bits", [None, 8, 5])
def test_what_a_method_skips_is_rounded(path: Path, bits: int | None) -> None:
    plan = make_plan(load_model(path), [SVD], rest_bits=bits)
    distorted = plan.distort()
    assert distorted.forms["large"][0].kind == "low_rank"
    assert distorted.skipped["kept"] == "excluded"
    assert "kept" not in distorted.forms
    assert "rank 20" in distorted.skipped["narrow"]
    if bits is None:
        assert "narrow" not in distorted.forms
        return
    (form,) = distorted.forms["narrow"]
    array = next(site.array() for site in plan.sites if site.name == "narrow")
    steps = np.abs(array).max(axis=0) / (2 ** (bits - 1) - 1)
    # Rounding to steps has an error of a step over the root of 12.
    assert (np.square(distorted.dense["narrow"] - array).mean(axis=0) <= 1.3 * np.square(steps) / 12).all()
    assert form.kind == "binary"


def test_methods_that_keep_something_do_not_see_them(path: Path) -> None:
    rule = Rule(method="codebook", options={"block": 8, "codewords": 256, "keep_assignments": True})
    plan = make_plan(load_model(path), [rule], rest_bits=8)
    forms = plan.distort().forms
    assert {name: form[0].kind for name, form in forms.items()} == {
        "large": "codebook",
        "narrow": "binary",
        "kept": "binary",
    }
    latents = plan.latents(forms, set(forms))
    assert latents is not None
    assert set(latents.forms()) == {"large"}
    again = plan.distort(previous=forms).forms
    assert {name: form[0].kind for name, form in again.items()} == {name: f[0].kind for name, f in forms.items()}


def test_the_report_says_which(dtc: Any, path: Path, tmp_path: Path) -> None:
    words = ("compress", path, "--method", "svd", "--rank", 20, "--exclude", "kept", "--seconds", 0)
    status, out, err = dtc(*words, "--rest-bits", 8, "-o", tmp_path / "o.onnx", "--json")
    assert status == 0, err
    report = json.loads(out)
    sites = {site["name"]: site for site in report["sites"]}
    assert {name: site["method"] for name, site in sites.items()} == {"large": "svd", "narrow": "uniform", "kept": None}
    assert "in 8 bits, as their method leaves them alone: narrow" in report["notes"]
    assert sites["narrow"]["stored_bytes"] < 0.5 * sites["narrow"]["nbytes"]
