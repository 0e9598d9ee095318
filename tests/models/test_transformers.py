"""Transformers with drawn weights: they run as exporters' files do, and every weight of a product is a site."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from dtc.errors import UsageError
from dtc.graph import find_sites, load_model
from dtc.inspection import inspect_model
from dtc.models.transformers import build_transformer, main, sizes_for, write
from dtc.sample_inputs import sample_inputs
from dtc.session import runner, session

SIZES: dict[str, Any] = {"width": 64, "layers": 2, "heads": 4, "vocabulary": 300, "positions": 48}

VARIANTS: dict[str, tuple[str, dict[str, Any], int]] = {
    "gpt2": ("gpt2", {}, 2 + 2 * 4 + 1),
    "gpt2-half": ("gpt2", {"dtype": "float16", "tied": True}, 2 + 2 * 4),
    "llama": ("llama", {"groups": 2, "quantized": True, "tied": True}, 1 + 2 * 6),
    "llama-half": ("llama", {"groups": 1, "dtype": "float16"}, 1 + 2 * 7 + 1),
    "llama-rotary": ("llama", {"attention": "rotary"}, 1 + 2 * 7 + 1),
}
"""Family, options, and the number of sites."""

METHODS: dict[str, tuple[str, ...]] = {
    "gpt2-half": ("codebook", "--codewords", "16", "--block", "1"),
    "llama": ("prune+uniform", "--sparsity", "0.8", "--bits", "3"),
    "llama-rotary": ("svd", "--rank", "4"),
}

Dtc = Callable[..., tuple[int, str, str]]


def written(variant: str, folder: Path, **more: Any) -> Path:
    family, options, _ = VARIANTS[variant]
    write(build_transformer(family, **(SIZES | options | more)), folder / f"{variant}.onnx")
    return folder / f"{variant}.onnx"


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_runs_and_every_product_is_a_site(variant: str, tmp_path: Path, dtc: Dtc) -> None:
    path = written(variant, tmp_path)
    assert path.stat().st_size < 50_000  # weights lie beside it
    model = load_model(path)
    assert len(find_sites(model)) == VARIANTS[variant][2]
    for feed in sample_inputs(model, runner(session(path, threads=1)), count=3, seed=0):
        logits = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["logits"], feed)[0]
        assert np.isfinite(logits).all()
        assert 0.1 < logits.std(dtype=np.float64) < 10
        past, new = feed["past_key_values.0.key"].shape[2], feed["input_ids"].shape[1]
        assert feed["attention_mask"].shape[1] == past + new


@pytest.mark.parametrize("variant", METHODS)
def test_it_is_compressed(variant: str, tmp_path: Path, dtc: Dtc) -> None:
    options = ["-o", tmp_path / "out.onnx", "--json", "--method", *METHODS[variant]]
    status, out, err = dtc("compress", written(variant, tmp_path, layers=1), *options)
    assert status == 0, err
    sites = json.loads(out)["sites"]
    assert len(sites) >= 6
    assert all(site["form"] or site["reason"] for site in sites)
    assert sum(site["form"] is not None for site in sites) >= len(sites) - 4


def test_what_is_quantized_already_says_so(tmp_path: Path) -> None:
    leftovers = {each.name: each.reason for each in inspect_model(written("llama", tmp_path)).leftovers}
    assert leftovers["model.layers.0.mlp.down_proj.weight_Q4"] == "already quantized: read by MatMulNBits"
    assert "GroupQueryAttention" in leftovers["cos_cache"]


def test_weights_are_heavy_tailed_and_decided_by_the_seed() -> None:
    def weight(name: str, **options: Any) -> np.ndarray:
        model = build_transformer("llama", **SIZES, **options)
        tensor = model.graph.initializers[name].const_value
        assert tensor is not None
        return np.asarray(tensor.numpy())

    name = "model.layers.1.mlp.up_proj.weight"
    assert np.array_equal(weight(name), weight(name))
    assert not np.array_equal(weight(name), weight(name, seed=1))
    assert not np.array_equal(weight(name), weight(name.replace("up", "gate")))
    assert weight(name, dtype="float16").dtype == np.float16
    table = weight("model.embed_tokens.weight").astype(np.float64)
    assert np.square(np.square(table)).mean() > 4 * np.square(np.square(table).mean())  # of Gaussian ones it is 3


def test_a_size_is_met(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for gigabytes, dtype in ((1, "float16"), (3, "float32"), (10, "float32")):
        model = build_transformer("llama", **sizes_for("llama", gigabytes, dtype=dtype))
        found = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
        assert abs(found / 1e9 - gigabytes) < 0.45
    with pytest.raises(UsageError, match="llama: 3 heads"):
        build_transformer("llama", width=64, heads=3)
    with pytest.raises(SystemExit):
        main(["gpt2", "-o", str(tmp_path / "m.onnx"), "--width", "many"])
    assert "gpt2: --width many: Input should be a valid integer" in capsys.readouterr().err
