"""Every small model of the folder `cases` beside the data, through the command line: compressed right, or told why not.

What a case stands for is written in `cases.md` there; here is what has to come of each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

Dtc = Callable[..., tuple[int, str, str]]
Case = Callable[[str], Path]

METHODS: dict[str, tuple[object, ...]] = {
    "uniform": ("-m", "uniform", "--bits", 8),
    "svd": ("-m", "svd", "--rank-ratio", 0.5),
    "prune": ("-m", "prune", "--sparsity", 0.8),
    "binary": ("-m", "binary", "--bits", 2),
    "codebook": ("-m", "codebook", "--codewords", 16, "--block", 1),
}

CHOICES = (
    ("uniform", "compute"),
    ("uniform", "standard"),
    ("svd", "standard"),
    ("prune", "compute"),
    ("binary", "standard"),
    ("codebook", "compute"),
)
"""Every form by one lowering, and one form by both."""

SITES: dict[str, set[str]] = {
    "activation_resize10": {"W", "V"},
    "const_sparse_value": {"W", "V"},
    "convT": {"W"},
    "conv_dw": {"W"},
    "deep_weight_chain": {"W0"},
    "dt_fp16": {"W"},
    "einsum2": {"W"},
    "external_constant/m": {"W"},
    "func_const_inside": {"K"},
    "function_old_opset": {"W", "V"},
    "gather_3d": {"E"},
    "gemm_w_left": {"W"},
    "if_rate_resize10": {"W"},
    "if_same_name": {"K", "If_0.then_branch/K"},
    "log_resize10": {"W"},
    "ml_zipmap": {"W"},
    "ms_fusedgemm": {"W"},
    "nan_weight": {"W"},
    "qkv_split": {"V"},
    "random_op": {"W"},
    "rec_rnn": {"W", "R"},
    "resize10_linear": {"W"},
    "seq_output": {"W"},
    "shared_by_two": {"W", "V"},
    "sparse_init_mixed": {"W", "V"},
    "string_passthrough": {"W"},
}
"""The weights that are found in each case."""

SEED = {"sr": (8000, 16000)}
"""Inputs that mean something, with the values that they are given in turn."""

REFUSED = {"ms_unknown_domain": "my.custom:MyOp(-1) is not a registered function/op; name the library"}
"""Cases that cannot be run, with what is said of them."""

RANDOM = {"random_op"}
"""Cases whose outputs differ from run to run."""


def feed_of(session: ort.InferenceSession, draw: int) -> dict[str, Any]:
    """Return positive numbers, small whole ones, strings and both truths, as a model's inputs ask."""
    rng, feed = np.random.default_rng(draw), {}
    for given in session.get_inputs():
        shape = [size if isinstance(size, int) and size > 0 else 2 for size in given.shape]
        match given.type:
            case "tensor(float)":
                feed[given.name] = rng.uniform(0.5, 2, shape).astype(np.float32)
            case "tensor(float16)":
                feed[given.name] = rng.uniform(0.5, 2, shape).astype(np.float16)
            case "tensor(bool)":
                feed[given.name] = np.full(shape, draw == 0)
            case "tensor(string)":
                feed[given.name] = np.full(shape, "word", object)
            case "tensor(int32)" | "tensor(int64)":
                dtype = np.int32 if "32" in given.type else np.int64
                chosen = SEED.get(given.name)
                feed[given.name] = np.full(shape, chosen[draw], dtype) if chosen else rng.integers(0, 3, shape, dtype)
    return feed


def flat(value: Any) -> list[np.ndarray]:
    """Return the arrays of an output, those of sequences and maps one after the other."""
    if isinstance(value, dict):
        return [np.array(list(value.values()))]
    return [array for each in value for array in flat(each)] if isinstance(value, list) else [np.asarray(value)]


def difference(source: Path, output: Path) -> float:
    """Return the largest relative difference of an output, in sessions of this test's own; it may be rounded away."""
    before, after = (ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (source, output))
    assert [each.name for each in before.get_outputs()] == [each.name for each in after.get_outputs()]
    worst = 0.0
    for draw in range(2):
        feed = feed_of(before, draw)
        for wanted, found in zip(before.run(None, feed), after.run(None, feed), strict=True):
            for one, other in zip(flat(wanted), flat(found), strict=True):
                assert one.shape == other.shape
                if one.dtype.kind != "f":
                    continue
                assert np.isfinite(other[np.isfinite(one)]).all()
                ones, others = np.nan_to_num(one.astype(float)), np.nan_to_num(other.astype(float))
                worst = max(worst, float(np.linalg.norm(ones - others) / max(np.linalg.norm(ones), 1e-6)))
    return worst


def names() -> list[str]:
    return sorted(SITES)


def test_every_case_is_known(case: Case) -> None:
    folder = case("conv_dw").parent
    files = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.onnx")}
    assert files == set(SITES) | set(REFUSED)


@pytest.mark.parametrize("name", names())
def test_a_case_has_the_sites_that_it_has(dtc: Dtc, case: Case, name: str) -> None:
    status, out, err = dtc("inspect", case(name), "--json")
    assert (status, err) == (0, "")
    assert {site["name"] for site in json.loads(out)["sites"]} == SITES[name]


@pytest.mark.parametrize(("method", "lower"), CHOICES)
@pytest.mark.parametrize("name", names())
def test_a_case_is_compressed(dtc: Dtc, case: Case, tmp_path: Path, name: str, method: str, lower: str) -> None:
    source, output = case(name), tmp_path / "o.onnx"
    told = ("-o", output, "--lower", lower, "--seconds", 0, "--json")
    status, out, err = dtc("compress", source, *METHODS[method], *told)
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert {site["name"] for site in report["sites"]} == SITES[name]
    assert sum(file["bytes"] for file in report["output"]["files"]) <= sum(
        file["bytes"] for file in report["model"]["files"]
    )
    assert all(site["file_bytes"] <= site["nbytes"] for site in report["sites"])
    onnx.checker.check_model(str(output))
    if name not in RANDOM:
        assert difference(source, output) < (0.05 if method == "uniform" else np.inf)


@pytest.mark.parametrize("name", REFUSED)
def test_a_case_that_cannot_run_is_refused_before_the_work(dtc: Dtc, case: Case, tmp_path: Path, name: str) -> None:
    source = case(name)
    for method in METHODS.values():
        status, out, err = dtc("compress", source, *method, "-o", tmp_path / "o.onnx")
        assert (status, out) == (2, "")
        assert err.startswith(f"dtc: error: {source}: ONNX Runtime")
        assert REFUSED[name] in err
        assert err.count("\n") == 1


def test_the_case_with_nan_is_left_alone_by_all(dtc: Dtc, case: Case, tmp_path: Path) -> None:
    reasons = set()
    for method, words in METHODS.items():
        status, out, err = dtc("compress", case("nan_weight"), *words, "-o", tmp_path / f"{method}.onnx", "--json")
        assert (status, err) == (0, "")
        reasons |= {site["reason"] for site in json.loads(out)["sites"] if site["reason"] and "NaN" in site["reason"]}
    assert reasons == {"holds NaN"}
