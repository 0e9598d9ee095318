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
    # Two factors of rank 20 are smaller than 64x320, and larger than 320x21.
    for name, shape in {"large": (64, 320), "narrow": (320, 21), "kept": (21, 40)}.items():
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
    rule = Rule(method="codebook", options={"block": 8, "codewords": 1024, "keep_assignments": True})
    plan = make_plan(load_model(path), [rule], rest_bits=8)
    rounded = make_plan(load_model(path), [Rule(method="uniform", options={"bits": 8}, include=("narrow",))])
    forms = plan.distort().forms | rounded.distort().forms  # as if the method had left that one alone before
    latents = plan.latents(forms, set(forms))
    assert latents is not None
    assert set(latents.forms()) == {"large", "kept"}
    assert {form[0].kind for form in plan.distort(previous=forms).forms.values()} == {"codebook"}


def test_the_report_says_which(dtc: Any, path: Path, tmp_path: Path) -> None:
    words = ("compress", path, "--method", "svd", "--rank", 20, "--exclude", "kept", "--seconds", 0)
    status, out, err = dtc(*words, "--rest-bits", 8, "--lower", "standard", "-o", tmp_path / "o.onnx", "--json")
    assert status == 0, err
    report = json.loads(out)
    sites = {site["name"]: site for site in report["sites"]}
    assert {name: site["method"] for name, site in sites.items()} == {"large": "svd", "narrow": "uniform", "kept": None}
    assert "in 8 bits, as their method leaves them alone: narrow" in report["notes"]
    assert report["fidelity"]["relative_l2"] < 1e-5
    assert sites["narrow"]["stored_bytes"] < 0.5 * sites["narrow"]["nbytes"]


def test_no_file_is_larger_for_it(dtc: Any, path: Path, tmp_path: Path) -> None:
    proto = onnx.load(path)
    rng = np.random.default_rng(1)
    del proto.graph.initializer[1:]
    for name, shape in {"narrow": (320, 4), "kept": (4, 40)}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal(shape, dtype=np.float32), name))
    onnx.save(proto, path)
    words = ("compress", path, "--method", "svd", "--rank", 20, "--seconds", 0, "--json")
    sizes = {}
    for option in ((), ("--rest-bits", 8)):
        status, out, err = dtc(*words, *option, "-o", tmp_path / f"{len(option)}.onnx")
        assert status == 0, err
        assert json.loads(out)["fidelity"]["relative_l2"] < 1e-5
        sizes[option] = (tmp_path / f"{len(option)}.onnx").stat().st_size
    assert sizes["--rest-bits", 8] <= sizes[()]
