"""The table of one-shot results on a small model: what stands in it, and that nothing is measured twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtc import models
from dtc.graph import save_model
from dtc.models.reproduce.one_shot import Benchmark, Contender, compared, measure, table
from dtc.recipe import Objective


def test_a_line_is_measured_once_and_told_with_its_bytes_and_its_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTC_DATA", str(tmp_path))
    (tmp_path / "onnx").mkdir()
    save_model(models.build("digits-mlp"), tmp_path / "onnx" / "m.onnx")
    digits = "dtc.models.datasets:digits"
    case = Benchmark("digits", "m.onnx", digits, f"{digits}_test", Objective(metric="accuracy"))
    lines = [Contender("uniform 8", False), Contender("ONNX Runtime static int8, QDQ per channel", True)]
    for line in lines:
        measure(case, line, tmp_path)
    static, uniform = [line for line in table(case, tmp_path) if line.startswith(("| uniform", "| ONNX"))]
    written = lines[0].record(case, tmp_path).with_suffix(".onnx").stat().st_size
    assert uniform.split(" | ")[2] == f"{written:,}"
    assert static.split(" | ")[1] == "yes"
    found = compared(case, tmp_path)
    assert [(file.way, file.ratio == found.bytes / written) for file in found.files] == [
        ("other quantizers", False),
        ("one-shot", True),
    ]
    facts = json.loads(lines[0].record(case, tmp_path).read_text())
    lines[0].record(case, tmp_path).write_text(json.dumps(facts | {"metric": facts["metric"] + 0.25}))
    measure(case, lines[0], tmp_path)
    assert any("| +25" in line or "| +24" in line for line in table(case, tmp_path))
