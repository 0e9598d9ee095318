"""Which engine trains where none is named: the first of those that can train everything that is to be compressed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from fake_engine import make_run_inputs
from needed import lacking

from dtc.errors import EngineError, Interrupted, PartlyTrainedError
from dtc.graph import save_model
from dtc.models.net import Net
from dtc.recipe import Recipe
from dtc.training import engine_choice, engine_kind
from dtc.training.engine_choice import by_able_engine
from dtc.training.engine_kind import engines
from dtc.training.events import Noted, Stepped
from dtc.training.launch import train
from dtc.training.run import create_run, open_run

PLAIN = Recipe.model_validate({"data": {"train": "-"}, "training": {}})


@pytest.fixture
def two(monkeypatch):
    """Two engines that can run here, `first` and `second`; what they cannot is told in a dict by name."""
    ort, unavailable = engines()["ort"], dict[str, str]()
    kinds = {
        name: replace(
            ort, name=name, title=f"the {name}", preference=rank, unavailable=lambda n=name: unavailable.get(n)
        )
        for name, rank in (("first", 2), ("second", 1))
    }
    monkeypatch.setattr(engine_kind, "engines", lambda: kinds)
    return unavailable


def asked_of(recipe, declined):
    """Which engines are asked, whether for all sites, and with which remark; `declined` has errors by name."""
    seen = []

    def attempt(asked):
        seen.append((asked.kind.name, asked.whole, asked.remark))
        error = declined.get(asked.kind.name)
        if error is not None and (asked.whole or not isinstance(error, PartlyTrainedError)):
            raise error
        return seen

    return by_able_engine(recipe, attempt)


def test_the_preferred_engine_trains_what_it_can_train_whole(two):
    assert asked_of(PLAIN, {}) == [("first", True, "")]


def test_another_trains_what_the_preferred_one_cannot_and_says_why(two):
    for error in (PartlyTrainedError("not 'W'"), EngineError("node 'x' is too new")):
        told = asked_of(PLAIN, {"first": error})
        assert told[1:] == [("second", True, f"trained by the second: first: {error}")]
    two["first"] = "not for this Python"
    assert asked_of(PLAIN, {}) == [("second", False, "trained by the second: first: not for this Python")]


def test_where_none_can_train_all_the_first_that_can_train_some_does(two):
    partly = {name: PartlyTrainedError(f"not what {name} cannot") for name in ("first", "second")}
    remark = "trained by the first, as far as it can: first: not what first cannot; second: not what second cannot"
    assert asked_of(PLAIN, partly)[2:] == [("first", False, remark)]
    assert asked_of(PLAIN, partly | {"first": EngineError("nothing")})[2][:2] == ("second", False)


def test_where_none_can_train_one_line_has_all_reasons(two):
    errors = {"first": EngineError("no gradient"), "second": EngineError("no operator")}
    with pytest.raises(EngineError, match=r"^first: no gradient; second: no operator$"):
        asked_of(PLAIN, errors)
    with pytest.raises(EngineError, match=r"^the model has no output 'z'$"):
        asked_of(PLAIN, dict.fromkeys(errors, EngineError("the model has no output 'z'")))
    two["second"] = "is not installed"
    with pytest.raises(EngineError, match=r"^first: no gradient; second: is not installed$"):
        asked_of(PLAIN, errors)
    two["first"] = "not for this Python"
    with pytest.raises(EngineError, match=r"^first: not for this Python; second: is not installed$"):
        asked_of(PLAIN, {})


def test_an_engine_that_is_named_trains_alone(two):
    named = Recipe.model_validate({"data": {"train": "-"}, "training": {"engine": "second"}})
    assert asked_of(named, {"second": PartlyTrainedError("not 'W'")}) == [("second", False, "")]
    assert engine_choice.by_able_engine(named, lambda asked: asked.kind.title) == "the second"


def test_a_weight_before_a_maximum_is_trained_by_torch(dtc, tmp_path):
    """ReduceMax has no gradient in onnxruntime-training; the run keeps the engine, and its record says why."""
    for name in ("ort", "torch"):
        if reason := engines()[name].unavailable():
            lacking(reason)
    net = Net("largest", 0)
    x = net.input("x", ir.DataType.FLOAT, ["N", 16])
    wide = net.op("Unsqueeze", "wide", [net.linear("a", x, (16, 24)), net.constant("axis", np.array([1], np.int64))])
    out = net.linear("b", net.op("ReduceMax", "top", [wide], axes=[1], keepdims=0), (24, 16))
    save_model(net.model({"y": (out, ["N", 16])}), tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(64, 16)).astype("f"), labels=rng.integers(0, 16, 64))
    rank = ("--method", "svd", "--rank", 3)
    told = ("--retrain", "--data", tmp_path / "data.npz", "--steps", 4, "--distort-every", 2, "--seconds", 0)
    status, _, err = dtc("compress", tmp_path / "model.onnx", *rank, *told, "-o", tmp_path / "out.onnx")
    assert status == 0, err
    said = " ".join(err.split())
    assert "trained by PyTorch" in said
    assert "ort: trains 1 of 2 sites: not 'a.weight', lies before node 'top': ReduceMax has no gradient" in said
    run = tmp_path / "out.dtc-run"
    assert open_run(run).recipe.training.engine == "torch"
    report = json.loads((run / "report.json").read_text())
    assert report["training"]["engine"].startswith("PyTorch")
    assert any("trained by PyTorch" in note for note in report["training"]["notes"])


def test_a_run_goes_on_with_another_engine_and_says_so(fake_engine_found, tmp_path):
    if reason := engines()["torch"].unavailable():
        lacking(reason)
    often = {"steps": 1500, "distort_every": 300, "evaluate_every": 1500, "checkpoint_every": 1500}
    recipe, model = make_run_inputs(tmp_path, engine="fake", **often)
    run, seen = create_run(tmp_path / "run", recipe, model, base=tmp_path), []

    def stop(event):
        if isinstance(event, Stepped):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        train(run.folder, on_event=stop)
    run.placed(engine="torch")
    assert train(run.folder, on_event=seen.append).step == 1500
    said = [event.text for event in seen if isinstance(event, Noted)]
    assert len(said) == 1
    assert said[0].startswith(
        f"goes on with {engines()['torch'].title}, after {engines()['fake'].title}: not bit for bit"
    )
    # It went on from where it was: what it had learned by then is not lost.
    losses = {event.step: event.loss for event in seen if isinstance(event, Stepped)}
    assert 1 < min(losses) < max(losses) == 1500
    assert open_run(run.folder).recipe.training.engine == "torch"
