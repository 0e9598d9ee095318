"""The parcel of work goes through the stages once, and whoever breaks the graph on the way is named."""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from needed import lacking

from dtc import data, models
from dtc.data import samples
from dtc.errors import StageError, UsageError
from dtc.graph import load_model, save_model
from dtc.job import Job
from dtc.passes import prepare
from dtc.pipeline import compress
from dtc.pipeline.watch import VERIFY
from dtc.recipe import Activations, Data, Recipe, Rule, Training
from dtc.training.engines.ort.install import unavailable

Dtc = Callable[..., tuple[int, str, str]]

SVD = Rule(method="svd", options={"rank": 6})
DIGITS = "dtc.models.datasets:digits"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-cnn", hidden=32), path)
    return path


def recipes() -> dict[str, Recipe]:
    """Every way through the pipeline: samples for statistics, ranges and moments, with training and without."""
    sampled = Data(train=DIGITS)
    moments = Rule(method="prune", options={"sparsity": 0.5, "compensate": True})
    return {
        "no data": Recipe(rules=(SVD,)),
        "moments": Recipe(rules=(moments,), data=sampled),
        "activations": Recipe(rules=(SVD,), data=sampled, activations=Activations(bits=8)),
        "retrained": Recipe(rules=(SVD,), data=sampled, training=Training(steps=4, distort_every=2, threads=1)),
    }


@pytest.mark.parametrize("way", recipes())
def test_the_model_is_normalised_once_and_the_data_opened_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    recipe = recipes()[way]
    if recipe.training is not None and (reason := unavailable()):
        lacking(reason)
    normalised: list[ir.Model] = []
    opened: list[tuple[object, ...]] = []

    def normalise(model: ir.Model) -> None:
        normalised.append(model)
        original(model)

    def open_source(spec: str, *, split: data.Split = "train", base: Path = Path(), **given: int) -> data.Source:
        opened.append((base, spec, split))
        return data.open_source(spec, split=split, base=base, **given)

    original = prepare.normalise
    monkeypatch.setattr(prepare, "normalise", normalise)
    monkeypatch.setattr(samples, "open_source", open_source)
    compress(model, recipe, Job(tmp_path / "out.onnx", seconds=0.0))
    assert len(normalised) == 1
    assert len(set(opened)) == len(opened) == (0 if way == "no data" else 1)


def test_a_dump_has_the_model_after_every_stage_that_changed_it(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    output, dump = tmp_path / "out.onnx", tmp_path / "dump"
    options = ("--method", "svd", "--rank", "6", "--data", DIGITS, "--activation-bits", "8", "--seconds", "0")
    status, _, err = dtc("compress", model, *options, "-o", output, "--dump", dump)
    assert status == 0, err
    files = sorted(path.name for path in dump.iterdir())
    stages = [name.split("-", 1)[1].removesuffix(".onnx") for name in files]
    assert [name.split("-")[0] for name in files] == [f"{number:02d}" for number in range(1, len(files) + 1)]
    # The CNN has no BatchNormalization to measure and no Dropout to take out.
    assert stages == ["normalise", "distort", "quantize_activations", "lower"]
    weight = np.asarray(load_model(dump / f"{files[-3]}").graph.initializers["fc1.weight"].const_value)
    assert np.linalg.matrix_rank(weight) == 6
    assert "fc1.weight" not in load_model(dump / files[-1]).graph.initializers
    for name in files:
        onnx.checker.check_model(str(dump / name), full_check=True)
    assert filecmp.cmp(dump / files[-1], output, shallow=False)


def test_a_dump_changes_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VERIFY)
    recipe = Recipe(rules=(SVD,))
    compress(model, recipe, Job(tmp_path / "plain.onnx", seconds=0.0))
    compress(model, recipe, Job(tmp_path / "dumped.onnx", seconds=0.0, dump=tmp_path / "dump"))
    assert filecmp.cmp(tmp_path / "plain.onnx", tmp_path / "dumped.onnx", shallow=False)


def test_an_older_dump_is_overwritten_with_force_only(model: Path, tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "01-normalise.onnx").write_bytes(b"precious")
    job = Job(tmp_path / "out.onnx", seconds=0.0, dump=tmp_path / "dump")
    with pytest.raises(UsageError, match="holds a dump already; choose another --dump or add --force"):
        compress(model, Recipe(rules=(SVD,)), job)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("dumped", [False, True])
def test_the_stage_that_breaks_the_graph_is_named_with_those_before_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dumped: bool
) -> None:
    def break_a_node(model: ir.Model, *_: object) -> list[object]:
        next(iter(model.graph)).op_type = "Gremlin"
        return []

    monkeypatch.setattr("dtc.passes.lower.lower", break_a_node)
    job = Job(tmp_path / "out.onnx", seconds=0.0, dump=tmp_path / "dump" if dumped else None)
    before = "normalise, choose, begin_run, .*distort, .*write_dense, halve"
    with pytest.raises(StageError, match=rf"stage lower, after {before}, left a model that ONNX's checker refuses"):
        compress(model, Recipe(rules=(SVD,)), job)
    assert not job.output.exists()
    assert list(tmp_path.glob("dump/*-lower.onnx")) == ([tmp_path / "dump" / "03-lower.onnx"] if dumped else [])


def test_of_a_model_that_came_broken_no_stage_is_accused(model: Path, tmp_path: Path) -> None:
    broken = load_model(model)
    broken.graph.outputs[0].shape = ir.Shape(("N", 11))  # ten, and ONNX Runtime warns
    save_model(broken, tmp_path / "broken.onnx")
    result = compress(tmp_path / "broken.onnx", Recipe(rules=(SVD,)), Job(tmp_path / "out.onnx", seconds=0.0))
    assert any("as it came does not pass ONNX's checker" in note for note in result.report.notes)


def test_without_a_dump_nothing_is_looked_at_in_production(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VERIFY)

    def never(*_: object, **__: object) -> None:
        pytest.fail("the checker ran")

    monkeypatch.setattr("onnx.checker.check_model", never)
    compress(model, Recipe(rules=(SVD,)), Job(tmp_path / "out.onnx", seconds=0.0))
