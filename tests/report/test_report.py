"""The report of a compression says what the compression did."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports import HOSTILE, METHODS, Page, compressed, strict_json, two_layers

from dtc.errors import UsageError
from dtc.graph import find_sites, load_model
from dtc.job import Job
from dtc.pipeline import Compression, compress
from dtc.recipe import Recipe, Rule
from dtc.report import SCHEMA, Report, page, read_report, write_report

Dtc = Callable[..., tuple[int, str, str]]


@dataclass
class Done:
    method: str
    folder: Path
    result: Compression
    weights: dict[str, Any]

    def json(self) -> Any:
        return strict_json(self.folder / "report" / "report.json")


KEYS = {
    "schema",
    "created",
    "versions",
    "model",
    "output",
    "recipe",
    "ratios",
    "check",
    "by_site",
    "fidelity",
    "sites",
    "training",
    "search",
    "notes",
}


@pytest.fixture(scope="module", params=METHODS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One compression with each method."""
    folder = tmp_path_factory.mktemp(request.param)
    result, weights = compressed(folder, request.param)
    return Done(request.param, folder, result, weights)


def test_the_numbers_are_those_of_the_compression(done: Done) -> None:
    result, weights, method, folder = done.result, done.weights, done.method, done.folder
    assert result.pages == (folder / "report" / "report.html",)
    report = done.json()
    ratios, outcome = result.report.ratios, result.report.check
    assert ratios is not None
    assert outcome is not None
    assert set(report) == KEYS
    assert report["schema"] == SCHEMA == "dtc-report/1"
    sizes = [(folder / name).stat().st_size for name in ("net.onnx", "small.onnx")]
    assert report["ratios"]["file"] == sizes[0] / sizes[1]
    assert report["ratios"]["sites"] == ratios.sites
    assert report["recipe"]["rules"][0]["method"] == method
    assert [report[kind]["files"][0]["bytes"] for kind in ("model", "output")] == sizes
    assert outcome.candidate.latency is not None
    assert report["check"]["candidate"]["latency"]["median"] == outcome.candidate.latency.median
    assert report["check"]["differences"][0]["relative_l2"] == outcome.differences[0].relative_l2
    assert report["check"]["failures"] == []
    assert report["training"] is None
    for site, row in zip(report["sites"], result.report.sites, strict=True):
        assert (site["name"], site["method"], site["form"], site["detail"]) == (row.name, method, row.form, row.detail)
        assert (site["nbytes"], site["stored_bytes"]) == (weights[row.name].nbytes, row.stored_bytes)
        assert site["error"] == row.error
        assert site["bits_per_weight"] == pytest.approx(8 * row.stored_bytes / weights[row.name].size)
        assert site["weights"]["difference"] == pytest.approx(row.error)
        assert bool(site["weights"]["spectra"]) == (method == "svd")


def test_histograms_count_every_weight_where_numpy_does(done: Done) -> None:
    for site in done.json()["sites"]:
        found = site["weights"]["histogram"]
        before = done.weights[site["name"]]
        assert sum(found["before"]) == sum(found["after"]) == before.size
        edges = np.asarray(found["edges"])
        middle = len(found["before"]) // 2
        assert edges[middle] < 0 < edges[middle + 1]
        open_ended = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
        expected = np.array([np.sum((before > a) & (before <= b)) for a, b in pairwise(open_ended)])
        assert np.abs(expected - found["before"]).sum() <= 2  # edges are written with seven digits
        if done.method == "prune":
            assert site["weights"]["zeros"] == pytest.approx([0.0, 0.8], abs=0.01)
            assert found["after"][middle] >= 0.79 * before.size


def test_spectra_are_those_of_numpy(tmp_path: Path) -> None:
    _, weights = compressed(tmp_path, "svd")
    for site in strict_json(tmp_path / "report" / "report.json")["sites"]:
        (spectrum,) = site["weights"]["spectra"]
        expected = np.linalg.svd(weights[site["name"]].astype(np.float64), compute_uv=False)
        np.testing.assert_allclose(spectrum["before"], expected, rtol=1e-5)
        np.testing.assert_allclose(spectrum["after"], expected[:4], rtol=1e-4)


def test_a_site_left_alone_has_its_reason_and_no_picture(tmp_path: Path) -> None:
    result, _ = compressed(tmp_path, "svd", exclude=("second",))
    first, second = strict_json(tmp_path / "report" / "report.json")["sites"]
    assert (second["form"], second["method"], second["weights"]) == (None, None, None)
    assert second["reason"] == "excluded"
    assert first["reason"] is None
    kept = next(site for site in find_sites(load_model(result.output)) if site.name == "second")
    assert kept.array().nbytes == second["stored_bytes"] == second["nbytes"]


def test_the_page_is_whole_and_loads_nothing(done: Done) -> None:
    result = done.result
    text = (done.folder / "report" / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert "://" not in text
    for tag, attributes in found.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form", "a", "image", "use"}
        assert not {"src", "href", "srcset", "style", "xlink:href"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in text
    assert "url(" not in text
    words = found.text()
    ratios = result.report.ratios
    assert ratios is not None
    for expected in ("first", "second", f"{ratios.sites:.2f}", f"{ratios.file:.2f}"):
        assert expected in words
    assert found.count("svg") == (4 if done.method == "svd" else 2)
    assert "nan" not in " ".join(str(value) for _, attributes in found.elements for value in attributes.values())


def test_a_hostile_name_is_text_and_nothing_else(tmp_path: Path) -> None:
    compressed(tmp_path, "svd", first=HOSTILE, second="--><style>*{display:none}</style>" + "x" * 300)
    found = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert found.count("script") == 1
    assert found.count("style") == 1
    assert HOSTILE in found.text()
    (script,) = [data for tag, data in found.texts if tag == "script"]
    assert "pwned" not in script
    policy = next(a["content"] for _, a in found.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy  # else a browser would not run our own


def test_weights_that_are_no_numbers_stay_out_of_the_json(tmp_path: Path) -> None:
    compressed(tmp_path, "svd")
    report = read_report(tmp_path / "report" / "report.json")
    assert report.check is not None
    broken = report.check.model_copy(
        update={"differences": (report.check.differences[0].model_copy(update={"max_abs": np.inf}),)}
    )
    write_report(report.model_copy(update={"check": broken}), tmp_path / "again")
    assert strict_json(tmp_path / "again" / "report.json")["check"]["differences"][0]["max_abs"] is None


def test_a_failure_is_named_on_the_page(tmp_path: Path) -> None:
    compressed(tmp_path, "svd")
    report = read_report(tmp_path / "report" / "report.json")
    assert report.check is not None
    failed = report.check.model_copy(update={"differences": (), "failures": ("it <b>fell</b>",)})
    text = Page(page(report.model_copy(update={"check": failed}))).text()
    assert "failed" in text
    assert "it <b>fell</b>" in text
    assert "not compared" in text


def test_report_makes_the_same_page_again(dtc: Dtc, tmp_path: Path) -> None:
    compressed(tmp_path, "prune")
    path = tmp_path / "report" / "report.html"
    first = path.read_bytes()
    path.unlink()
    status, out, _ = dtc("report", tmp_path / "report")
    assert status == 0
    assert str(path) in out
    assert path.read_bytes() == first


def test_runs_stand_side_by_side(dtc: Dtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("prune", "svd"):
        (tmp_path / method).mkdir()
        compressed(tmp_path / method, method)
    monkeypatch.chdir(tmp_path)
    folders = ("prune/report", "svd/report")
    status, out, err = dtc("report", *folders)
    assert status == 0, err
    head, *lines = (re.split(r"\s{2,}", line.strip()) for line in out.splitlines())
    assert tuple(head) == folders
    cells = {fact: found for fact, *found in lines}
    assert cells["made by"] == ["prune sparsity=0.8", "svd rank=4"]
    ratios = [json.loads(Path(each, "report.json").read_text())["ratios"]["file"] for each in folders]
    assert [words.rpartition(", ")[2] for words in cells["file"]] == [f"{ratio:.2f}x" for ratio in ratios]
    assert dtc("report", *folders, "-o", tmp_path / "there")[0] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a run directory"),
        ("{", "no report that this dtc reads"),
        ('{"schema": "dtc-report/2"}', "no report that this dtc reads (schema"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(dtc: Dtc, tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    status, _, err = dtc("report", tmp_path)
    assert status == 2
    assert message in err
    assert not (tmp_path / "report.html").exists()


def test_an_older_report_is_overwritten_with_force_only(tmp_path: Path) -> None:
    two_layers(tmp_path / "net.onnx")
    recipe = Recipe(rules=(Rule(method="svd", options={"rank": 4}),))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("precious")
    with pytest.raises(UsageError, match="holds a report already"):
        compress(tmp_path / "net.onnx", recipe, Job(tmp_path / "small.onnx", report=tmp_path / "report"))
    assert not (tmp_path / "small.onnx").exists()
    compress(tmp_path / "net.onnx", recipe, Job(tmp_path / "small.onnx", report=tmp_path / "report", force=True))
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!doctype html>")


def test_the_command_line_names_the_page(dtc: Dtc, tmp_path: Path) -> None:
    two_layers(tmp_path / "net.onnx")
    arguments = (
        "compress",
        tmp_path / "net.onnx",
        "--method",
        "svd",
        "--rank",
        "4",
        "--report",
        tmp_path / "out" / "r",
    )
    status, out, err = dtc(*arguments)
    assert status == 0, err
    assert f"report: {tmp_path / 'out' / 'r' / 'report.html'}" in out
    assert read_report(tmp_path / "out" / "r" / "report.json").sites[0].name == "first"


def test_no_report_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    two_layers(tmp_path / "net.onnx")
    recipe = Recipe(rules=(Rule(method="svd", options={"rank": 4}),))
    result = compress(tmp_path / "net.onnx", recipe, Job(tmp_path / "small.onnx"))
    assert result.pages == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "small.onnx"]


@pytest.mark.parametrize("reported", [True, False])
def test_the_command_line_prints_the_document_that_the_file_holds(dtc: Dtc, tmp_path: Path, reported: bool) -> None:
    two_layers(tmp_path / "net.onnx")
    options = ("--method", "svd", "--rank", "4", "--json", "--seconds", "0")
    given = ("--report", tmp_path / "report") if reported else ()
    status, out, err = dtc("compress", tmp_path / "net.onnx", *options, *given)
    assert status == 0, err
    printed = Report.model_validate_json(out)
    assert printed.schema_ == SCHEMA
    assert all(site.weights is not None and site.weights.spectra for site in printed.sites)
    assert "NaN" not in out
    if reported:
        assert json.loads(out) == strict_json(tmp_path / "report" / "report.json")


def test_files_in_a_report_go_by_their_names(done: Done) -> None:
    check = done.json()["check"]
    assert [check[model]["path"] for model in ("reference", "candidate")] == ["net.onnx", "small.onnx"]
    assert check["schema"] == "dtc-check/1"
