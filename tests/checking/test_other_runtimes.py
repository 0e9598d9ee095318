"""A candidate in another runtime: right, refused, wrong, and whether the reference was so too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from distributions import distribution, runner

from dtc.checking import CheckOptions, CheckReport, check
from dtc.checking.runtime import Runtime, runtimes
from dtc.graph import save_model

FAKE = """
import os, time
from pathlib import Path

NAME, PACKAGE, MODULE = "fake", "onnxruntime", "onnxruntime"


def run(path, feeds, outputs):
    import onnxruntime
    what = Path(path).stem
    if what == "abort":
        os.abort()
    if what == "hang":
        time.sleep(60)
    if what.startswith("refuse"):
        raise ValueError("no such operator")
    found = onnxruntime.InferenceSession(path).run(outputs, feeds)
    return [each + what.startswith("wrong") for each in found]
"""
"""A runtime that does with a file what the file's name says."""


@pytest.fixture
def fake(tmp_path: Path) -> Runtime:
    source = tmp_path / "fake_runtime.py"
    source.write_text(FAKE)
    return Runtime("fake", "onnxruntime", "onnxruntime", source)


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[2,8] x) => (float[2,8] y) { y = Relu(x) }'
    save_model(ir.from_onnx_text(text), tmp_path / "saved.onnx")

    def named(name: str) -> Path:
        return Path(shutil.copy(tmp_path / "saved.onnx", tmp_path / f"{name}.onnx"))

    return named


def checked(reference: Path, candidate: Path, runtime: Runtime) -> CheckReport:
    return check(reference, candidate, options=CheckOptions(seconds=0, runtimes=(runtime,)))


def test_a_runtime_that_computes_the_same_is_right(fake: Runtime, model: Callable[[str], Path]) -> None:
    report = checked(model("model"), model("same"), fake)
    (found,) = report.elsewhere
    assert (found.outcome, found.original, report.failures) == ("right", None, ())
    assert found.relative_l2 == found.from_reference == 0
    assert found.version
    assert CheckReport.model_validate_json(report.to_json()).elsewhere == report.elsewhere


@pytest.mark.parametrize(
    ("name", "outcome", "word"),
    [("refuse", "refused", "no such operator"), ("abort", "refused", "SIGABRT"), ("wrong", "wrong", "relative L2")],
)
def test_a_file_that_fails_where_the_original_does_not_is_a_failure(
    fake: Runtime, model: Callable[[str], Path], name: str, outcome: str, word: str
) -> None:
    report = checked(model("model"), model(name), fake)
    (found,) = report.elsewhere
    assert (found.outcome, found.original) == (outcome, "right")
    assert report.failures == (found.words,)
    assert word in found.words


def test_what_fails_on_the_original_too_is_said_and_no_failure(fake: Runtime, model: Callable[[str], Path]) -> None:
    refused = checked(model("refuse"), model("refuse_2"), fake)
    assert refused.failures == ()
    assert "refuses the original, too: no such operator" in refused.elsewhere[0].words
    wrong = checked(model("wrong"), model("wrong_2"), fake)
    assert wrong.failures == ()
    assert "something else of the original, too" in wrong.elsewhere[0].words


def test_a_runtime_that_takes_too_long_is_stopped(fake: Runtime, model: Callable[[str], Path]) -> None:
    with pytest.raises(Exception, match="took longer than 1 s"):
        fake.run(model("hang"), [{"x": np.zeros((2, 8), np.float32)}], ["y"], limit=1.0)


def test_the_command_finds_a_runtime_of_another_distribution(tmp_path: Path, model: Callable[[str], Path]) -> None:
    distribution(tmp_path, {"fake_runtime": FAKE}, {"dtc.checking.runtimes": "fake_runtime"})
    status, out, _ = runner(tmp_path)(
        "check", model("model"), model("same"), "--runtime", "fake", "--runtime", "reference", "--seconds", 0
    )
    assert status == 0, out
    assert "fake" in out
    assert "reference" in out


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("nothing", "none is called 'nothing'; there are: "),
        ("onnxruntime@/nowhere/python", "no interpreter"),
    ],
)
def test_a_runtime_that_is_not_there_is_one_line(
    dtc: Callable[..., tuple[int, str, str]], model: Callable[[str], Path], told: str, words: str
) -> None:
    status, _, error = dtc("check", model("model"), model("same"), "--runtime", told)
    assert status == 2
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_what_is_not_installed_names_its_package(tmp_path: Path) -> None:
    missing = Runtime("fake", "a-package", "no_module_of_this_name", tmp_path)
    with pytest.raises(Exception, match="--runtime fake: is not installed; pip install a-package"):
        missing.require()


def test_each_runtime_is_declared() -> None:
    assert {"openvino", "tract", "mnn", "reference", "onnxruntime"} <= set(runtimes())
