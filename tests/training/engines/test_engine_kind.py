"""How engines are found, chosen and named: `ort` in its folder, and another one that a distribution brings."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from fake_engine import make_run_inputs

from dtc.errors import RecipeError, UsageError
from dtc.job import Job
from dtc.pipeline import compress, resume
from dtc.recipe import Recipe
from dtc.training import engine_kind
from dtc.training.engine_kind import default_engine, engine_of, engine_title, engines, find_engine
from dtc.training.run import create_run, open_run

UNKNOWN = "no engine is called 'torhc'; there are: fake, ort, torch"


def test_an_engine_is_found_by_its_folder_or_its_entry_point(fake_engine_found):
    assert {name: kind.name for name, kind in engines().items()} == {name: name for name in ("fake", "ort", "torch")}
    assert all(kind.title and kind.device for kind in engines().values())


def test_listing_the_engines_imports_no_runtime(fake_engine_found):
    code = "import sys, dtc.training.engine_kind as k; before = set(sys.modules); k.engines();"
    code += "new = set(sys.modules) - before;"
    code += "print(*[m for m in new if m.startswith(('dtc.training.engines.ort.', 'torch', 'onnxruntime'))])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["dtc.training.engines.ort.install"]


def test_an_engine_that_there_is_not_is_told_with_those_that_there_are(fake_engine_found):
    with pytest.raises(UsageError, match=UNKNOWN):
        find_engine("torhc")
    asked = {"data": {"train": "-"}, "training": {"engine": "torhc"}}
    with pytest.raises(UsageError, match=f"--engine: {UNKNOWN}"):
        engine_of(Recipe.model_validate(asked))
    text = "data:\n  train: x.npz\ntraining:\n  engine: torhc\n"
    with pytest.raises(RecipeError, match=rf"mine\.yaml:4:3: training\.engine: {UNKNOWN}"):
        engine_of(Recipe.from_yaml(text, "mine.yaml"))


def test_a_recipe_without_an_engine_has_the_preferred_one_that_can_run_here(fake_engine_found, monkeypatch):
    plain = Recipe.model_validate({"data": {"train": "-"}, "training": {}})
    found = {name: replace(kind, unavailable=lambda: None) for name, kind in engines().items()}
    monkeypatch.setattr(engine_kind, "engines", lambda: found)
    assert default_engine().name == engine_of(plain).name == "ort"
    found["ort"] = replace(found["ort"], unavailable=lambda: "not on this machine")
    assert engine_of(plain).name == "torch"
    found["torch"] = replace(found["torch"], unavailable=lambda: "not here either")
    assert engine_of(plain).name == "fake"
    found["fake"] = replace(found["fake"], unavailable=lambda: "nor this")
    assert engine_of(plain).name == "ort"  # which then says why it cannot


def test_what_no_engine_asked_for_computes_in_is_refused_in_one_line(fake_engine_found, tmp_path):
    def asked(**training):
        return Recipe.model_validate({"data": {"train": "-"}, "training": training})

    with pytest.raises(UsageError, match=r"^--device cuda: the engine ort computes on cpu alone$"):
        engine_of(asked(engine="ort", device="cuda"))
    with pytest.raises(UsageError, match=r"^--precision bf16: the engine fake computes in float32 alone$"):
        engine_of(asked(engine="fake", precision="bf16"))
    # One has the loss, and says what it lacks itself.
    spelling = Recipe.model_validate(
        {"objective": {"loss": "ctc"}, "data": {"train": "-"}, "training": {"engine": "ort"}}
    )
    with pytest.raises(UsageError, match=r"^--loss ctc: the engine ort has no such loss; take --engine torch"):
        engine_of(spelling)
    assert engine_of(asked(device="cuda:1")).name == engine_of(asked(precision="fp16")).name == "torch"
    # A run goes on on another device, if its engine has it.
    recipe, model = make_run_inputs(tmp_path, engine="torch", device="cuda")
    Job(tmp_path / "out.onnx").write(create_run(tmp_path / "run", recipe, model, base=tmp_path).folder)
    for device, reason in (("gpu", "--device: no such device"), ("cuda:x", "--device: no such device")):
        with pytest.raises(UsageError, match=reason):
            resume(tmp_path / "run", device=device)
    assert open_run(tmp_path / "run").retold(device="cpu").recipe.training.device == "cpu"
    assert open_run(tmp_path / "run").recipe.training.device == "cpu"
    with pytest.raises(UsageError, match="--device mps: the engine fake"):
        open_run(tmp_path / "run").retold(engine="fake", device="mps")
    assert open_run(tmp_path / "run").recipe.training.engine == "torch"


def test_a_run_of_an_engine_that_is_not_here_is_still_reported(tmp_path):
    recipe, _ = make_run_inputs(tmp_path, engine="elsewhere")
    assert engine_title(recipe) == "elsewhere"


def test_another_engine_retrains_and_the_report_names_it(fake_engine_found, tmp_path):
    recipe, model = make_run_inputs(tmp_path, engine="fake", steps=12)
    compress(model, recipe, Job(tmp_path / "small.onnx", seconds=0), base=tmp_path, run=tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["training"]["engine"] == report["versions"]["engine"] == "fake engine 1.0"


def test_the_command_line_lists_and_installs_every_engine(fake_engine_found, dtc):
    status, out, _ = dtc("engine", "list")
    assert status == 0
    for kind in engines().values():
        assert kind.title in " ".join(out.split())
    assert out.count("the default") == 1
    assert dtc("engine", "install", "fake")[:2] == (0, f"fake: installed in {engines()['fake'].installed()}\n")
    status, _, err = dtc("engine", "install", "torhc")
    assert (status, UNKNOWN in err) == (2, True)


def test_the_command_line_refuses_an_unknown_engine_before_any_work(fake_engine_found, dtc, tmp_path):
    _, model = make_run_inputs(tmp_path)
    arguments = ("--method", "svd", "--rank", 2, "--data", tmp_path / "data.npz", "--retrain", "--engine", "torhc")
    status, _, err = dtc("compress", model, *arguments, "-o", tmp_path / "small.onnx")
    assert status == 2
    assert f"--engine: {UNKNOWN}" in " ".join(err.split())
    assert not list(tmp_path.glob("*run*"))
