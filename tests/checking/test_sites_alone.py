"""Compressed sites run alone: each kind of reader is checked, what is wrong is named, what cannot run is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from check_graphs import HEAD, weight, written

from dtc.checking.sites import Limit, SiteChecks, SitesCheck, Subject, find_regions
from dtc.errors import CheckFailedError
from dtc.forms import LowRank
from dtc.graph import find_sites, load_model
from dtc.job import Job
from dtc.passes.lean import fold_batch_norms
from dtc.passes.lower import Compressed, find_target, lower
from dtc.passes.method import Skip, make_method
from dtc.passes.plan import weights_of
from dtc.passes.prepare import normalise
from dtc.pipeline import compress
from dtc.recipe import Recipe, Rule

Dtc = Callable[..., tuple[int, str, str]]

READERS = (
    HEAD
    + """(float[N, 3, S, S] image, int64[N, T] words, float[T, N, 24] steps, bool flag)
        => (float[N, 40] y, float[N, T, 40] e, float[T, 1, N, 16] l, float[T, 1, N, 16] g, float r, float[N, 40] i) {
    c = Conv <strides = [2, 2]> (image, conv)
    n = BatchNormalization (c, scale, shift, mean, var)
    a = Relu (n)
    t = ConvTranspose <group = 2> (a, turned)
    p = GlobalAveragePool (t)
    f = Flatten (p)
    m = MatMul (f, matmul)
    y = Gemm <transB = 1> (m, gemm, bias)
    e = Gather (table, words)
    l, lh, lc = LSTM <hidden_size = 16> (steps, lstm_w, lstm_r)
    g = GRU <hidden_size = 16> (steps, gru_w, gru_r)
    q = Einsum <equation = "tbi,io->tbo"> (steps, einsum)
    r = ReduceSum <keepdims = 0> (q)
    i = If (flag) <
        then_branch = yes () => (float[N, 40] i1) { i1 = MatMul (y, inner) },
        else_branch = no () => (float[N, 40] i2) { i2 = Identity (y) }
    >
}"""
)
WEIGHTS = {
    "conv": weight(32, 3, 5, 5),
    "turned": weight(32, 12, 3, 3),
    "matmul": weight(24, 48),
    "gemm": weight(40, 48),
    "bias": weight(40),
    "table": weight(60, 40),
    "lstm_w": weight(1, 64, 24) / 5,
    "lstm_r": weight(1, 64, 16) / 4,
    "gru_w": weight(1, 48, 24) / 5,
    "gru_r": weight(1, 48, 16) / 4,
    "einsum": weight(24, 32),
    "inner": weight(40, 40),
    "scale": 1 + weight(32) ** 2,
    "shift": weight(32),
    "mean": weight(32),
    "var": 1 + weight(32) ** 2,
}
VECTORS = {"bias", "scale", "shift", "mean", "var"}


def alone(
    path: Path, method: str, options: dict[str, Any], target: str, spoiled: tuple[str, ...] = ()
) -> tuple[SiteChecks, tuple[str, ...], set[str]]:
    """Check each site of a lowered model against its dense weight, some of which are made a little different."""
    dense = load_model(path)
    normalise(dense)
    sites = {site.name: site for site in find_sites(dense)}
    outcomes = make_method(method, options).distort(
        [weights_of(site, tuple(sites.values())) for site in sites.values()]
    )
    forms = {name: outcome for name, outcome in outcomes.items() if not isinstance(outcome, Skip)}
    lowered = dense.clone()
    folded = fold_batch_norms(lowered, forms)
    items = [Compressed(site, folded.forms[site.name]) for site in find_sites(lowered) if site.name in forms]
    lower(lowered, items, find_target(target))
    compressed = [site for name, site in sites.items() if name in forms]
    for name, parts in forms.items():
        array = sites[name].restore(np.stack([form.dense() for form in parts]))
        sites[name].assign(array * np.float32(1.01 if name in spoiled else 1))
    limits = dict.fromkeys(forms, Limit(1e-4))
    subject = Subject(dense, {name: sites[name].nbytes for name in forms}, limits)
    regions = find_regions(dense, lowered, compressed, folded.stands_for)
    return *SitesCheck(subject, lowered, seed=0).run(regions), set(forms)


@pytest.mark.parametrize(
    ("method", "options", "target"),
    [
        ("svd", {"rank": 4}, "compute"),
        ("svd", {"rank": 4}, "scan"),
        ("binary", {"bits": 2}, "compute"),
        ("prune", {"sparsity": 0.8}, "storage"),
        ("codebook", {"codewords": 4, "block": 1}, "standard"),
    ],
)
def test_every_reader_runs_alone_and_a_wrong_weight_is_named(
    method: str, options: dict[str, Any], target: str, tmp_path: Path
) -> None:
    path = written(tmp_path, READERS, **WEIGHTS)
    facts, failures, compressed = alone(path, method, options, target)
    assert compressed >= WEIGHTS.keys() - VECTORS - {"gru_r", "lstm_r"}
    assert (failures, facts.not_checked, facts.checked_by_site) == ((), {}, len(compressed))
    assert facts.relative_l2 is not None
    assert facts.relative_l2 < 1e-5
    wrong = ("conv", "table", "lstm_w", "inner")
    facts, failures, _ = alone(path, method, options, target, wrong)
    assert facts.relative_l2 == pytest.approx(0.01, rel=0.6)
    assert all(any(repr(name) in failure for failure in failures) for name in wrong)
    assert not any(repr(name) in failure for failure in failures for name in ("matmul", "gemm", "turned", "einsum"))


def test_a_form_that_is_lowered_to_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, HEAD + "(float[N, 48] x) => (float[N, 40] y) { y = MatMul (x, W) }", W=weight(48, 40))
    honest = LowRank.dense
    monkeypatch.setattr(LowRank, "dense", lambda form: honest(form) + np.float32(0.01))
    recipe = Recipe(rules=(Rule(method="svd", options={"rank": 4}),))
    with pytest.raises(CheckFailedError, match=r"not written.*site 'W', run alone, differs by .*0.0001 allowed"):
        compress(path, recipe, Job(tmp_path / "small.onnx", seconds=0))
    assert not (tmp_path / "small.onnx").exists()


def test_the_report_tells_it_also_where_names_are_stripped_and_statistics_folded(dtc: Dtc, tmp_path: Path) -> None:
    path = written(tmp_path, READERS, **WEIGHTS)
    told = ("--method", "svd", "--rank", 4, "--strip-names", "--seconds", 0, "-o", tmp_path / "small.onnx")
    status, out, err = dtc("compress", path, *told, "--json")
    assert status == 0, err
    report = json.loads(out)
    found = report["by_site"]
    assert found["checked_by_site"] == sum(site["form"] is not None for site in report["sites"]) > 8
    assert found["not_checked"] == {}
    assert 0 < found["relative_l2"] < 1e-5


def test_what_cannot_run_alone_is_said(tmp_path: Path) -> None:
    text = HEAD + "(float[N, 48] x) => (float[N, 40] y) { y = MatMul (x, W) }"
    dense = load_model(written(tmp_path, text, W=weight(48, 40)))
    other = load_model(written(tmp_path, text.replace("y", "other"), W=weight(48, 40)))
    sites = find_sites(dense)
    subject = Subject(dense, {"W": sites[0].nbytes}, {"W": Limit(1e-4)})
    facts, failures = SitesCheck(subject, other, seed=0).run(find_regions(dense, other, sites))
    assert (facts.checked_by_site, facts.relative_l2, failures) == (0, None, ())
    assert "MatMul" in facts.not_checked["W"]
    assert "0 of 1" in facts.words


def test_a_model_that_does_not_fit_is_checked_by_its_sites_alone(dtc: Dtc, tmp_path: Path) -> None:
    path = written(tmp_path, READERS, **WEIGHTS)
    told = ("compress", path, "--method", "uniform", "--bits", 4, "--force", "-o", tmp_path / "small.onnx")
    status, out, err = dtc(*told, "--memory", "250100K")
    assert status == 0, err
    assert "the whole model was not run: that takes" in out
    assert "(--memory)" in out
    assert "sites one by one" in out
    assert "latency" not in out
    assert load_model(tmp_path / "small.onnx").graph.outputs
    recipe = Recipe(rules=(Rule(method="uniform", options={"bits": 4}),))
    small = compress(path, recipe, Job(tmp_path / "other.onnx", memory=250_100_000))
    assert small.report.fidelity is None
    assert small.report.by_site is not None
    assert (tmp_path / "other.onnx").read_bytes() == (tmp_path / "small.onnx").read_bytes()
    status, _, err = dtc(*told, "--memory", "250100K", "--max-drop", 0.1, "--data", "x.npz")
    assert status == 2
    assert "--data" in err
