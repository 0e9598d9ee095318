"""A method that is in nobody's list: a module and an entry point in a folder on the path, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from distributions import Run, distribution, runner

from dtc import models
from dtc.graph import save_model

TERNARY = '''
"""Ternary weights: nothing, or one of two values of a row that differ in their sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from dtc.forms import BinaryCode, Form
from dtc.passes.method import Method, DistortionStep, Outcome, Weights
from dtc.passes.options import Options, Try
from dtc.passes.solvers.groups import assemble, settle


class TernaryOptions(Options):
    """Where zero ends."""

    threshold: Annotated[float, Try(1.0, 0.7, 0.4)] = Field(
        0.7, gt=0, lt=2, description="weights below this share of their row's mean magnitude become zero"
    )


class Ternary(Method):
    """Replace each weight by zero, or by the mean magnitude of what is left of its row with the weight's sign."""

    name: ClassVar[str] = "ternary"
    title: ClassVar[str] = "ternary weights"
    paper: ClassVar[str] = "F. Li, B. Liu: Ternary weight networks, 2016 (arXiv 1605.04711)"
    options_type: ClassVar[type[Options]] = TernaryOptions
    example: ClassVar[Mapping[str, Any]] = {"threshold": 0.7}
    gives: ClassVar[type[Form]] = BinaryCode
    heeds_mask: ClassVar[bool] = True
    options: TernaryOptions

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        return f"about {16 * cols / (cols + 8):.0f}x"

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        return {w.site: settle(w, tuple(self._form(w, index) for index in range(len(w.matrices)))) for w in weights}

    def _form(self, w: Weights, index: int) -> BinaryCode:
        size = np.abs(w.matrices[index])
        left = np.ones(size.shape, bool) if w.mask is None else w.mask[index]
        limit = self.options.threshold * (size * left).sum(1, keepdims=True) / np.maximum(left.sum(1, keepdims=True), 1)
        kept = left & (size > limit)
        alphas = (size * kept).sum(1, keepdims=True) / np.maximum(kept.sum(1, keepdims=True), 1)
        return assemble((w.matrices[index] > 0).astype(np.uint8), alphas, size.shape[1], 0, "float16", kept=kept)
'''


def ternary(folder: Path, source: str) -> Run:
    """Return the command line with a distribution of the method on its path."""
    distribution(folder, {"ternary_method": source}, {"dtc.passes.methods": "ternary_method"})
    return runner(folder)


@pytest.fixture(scope="module")
def dtc(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the command line in a process of its own, with the method on its path."""
    return ternary(tmp_path_factory.mktemp("site"), TERNARY)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-mlp"), path)
    return path


def test_help_knows_the_method_its_options_and_its_compositions(dtc: Run) -> None:
    status, out, err = dtc("methods")
    assert status == 0, err
    assert "ternary weights" in out
    _, out, _ = dtc("methods", "ternary")
    page = " ".join(out.split())
    for words in (
        "--threshold FLOAT",
        "above 0, below 2; default: 0.7; worth trying: 1.0, 0.7, 0.4",
        "arXiv 1605.04711",
    ):
        assert words in page
    assert "goes with prune+ternary, prune-masked+ternary, svd+ternary paper" in page
    _, out, _ = dtc("compress", "--method", "prune+ternary", "--help")
    assert "--threshold" in out
    assert "--sparsity" in out


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ternary", ("--threshold", "0.5")),
        ("prune+ternary", ("--sparsity", "0.5")),
        ("svd+ternary", ("--rank", "12")),
    ],
)
def test_the_method_compresses_alone_and_in_compositions(
    dtc: Run, model: Path, tmp_path: Path, method: str, options: tuple[str, ...]
) -> None:
    recipe, report = tmp_path / "r.yaml", tmp_path / "report"
    output = tmp_path / "small.onnx"
    words = ("compress", model, "--method", method, *options, "--seconds", 0, "--json", "-o", output)
    status, out, err = dtc(*words, "--save-recipe", recipe, "--report", report)
    assert status == 0, err
    found = json.loads(out)
    assert found["ratios"]["sites"] > 4
    assert found["check"]["failures"] == []
    assert f"method: {method}" in recipe.read_text()
    assert method in (report / "report.html").read_text()
    again = dtc("compress", model, "--recipe", recipe, "--seconds", 0, "-o", tmp_path / "again.onnx")
    assert again[0] == 0, again[2]
    assert (tmp_path / "again.onnx").read_bytes() == output.read_bytes()


def test_the_method_is_in_the_retraining_loop(dtc: Run, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", image=np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32))
    training = ("--retrain", "--data", tmp_path / "s.npz", "--steps", 4, "--distort-every", 2, "--threads", 1)
    output = tmp_path / "out.onnx"
    status, _, err = dtc("compress", model, "--method", "ternary", *training, "--seconds", 0, "-o", output)
    assert status == 0, err
    assert "distortion 2" in err
    assert output.exists()


def test_an_option_of_another_meaning_is_refused_when_methods_are_found(tmp_path: Path) -> None:
    status, _, err = ternary(tmp_path / "site", TERNARY.replace("threshold", "sparsity"))("methods")
    assert status == 1
    assert "declare --sparsity differently" in err
    assert "ternary" in err
    assert "prune" in err


def test_a_method_that_does_not_say_what_it_gives_is_refused(tmp_path: Path) -> None:
    silent = TERNARY.replace("    gives: ClassVar[type[Form]] = BinaryCode\n", "")
    status, _, err = ternary(tmp_path / "site", silent)("methods")
    assert status == 1
    assert "method ternary (ternary_method) does not declare gives" in err
