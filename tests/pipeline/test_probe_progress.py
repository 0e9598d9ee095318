"""A method that runs the model for each of its decisions tells how many runs are made, of how many at the most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import dtc
from dtc import models
from dtc.cli.progress import _Heartbeat, _Lines
from dtc.graph import save_model
from dtc.pipeline.progress import ModelProbed


def test_bins_tell_how_often_the_model_is_run(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    save_model(models.build("digits-mlp", hidden=16), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", image=np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32))
    rule = dtc.Rule(method="bins", options={"bins": 6}, include=("fc1*", "fc2*"))
    recipe = dtc.Recipe(rules=(rule,), data=dtc.Data(train=str(tmp_path / "d.npz")))
    told: list[Any] = []
    dtc.compress(tmp_path / "m.onnx", recipe, dtc.Job(tmp_path / "o.onnx", seconds=0.0), on_event=told.append)
    runs = [event for event in told if isinstance(event, ModelProbed)]
    assert [event.done for event in runs] == list(range(1, len(runs) + 1))
    assert {event.of for event in runs} == {len(runs)}
    # As a pipe shows it: a line now and then, with the time left.
    monkeypatch.setattr("dtc.cli.progress._QUIET", 0.0)
    lines = _Lines(_Heartbeat())
    lines.show(ModelProbed(1, 40))
    lines.show(ModelProbed(10, 40))
    assert "run with other weights 10 times of at most 40" in capsys.readouterr().err
