"""Bench and the measurements under it; no test here depends on how fast the machine is."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import dtc.models
from dtc.checking import bench
from dtc.checking.measurements import measure_latency, measure_memory
from dtc.errors import DataError, ModelError
from dtc.graph import save_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bench")
    save_model(dtc.models.build("digits-mlp", hidden=8), folder / "narrow.onnx")
    save_model(dtc.models.build("digits-mlp", hidden=4096), folder / "wide.onnx")
    return folder / "narrow.onnx", folder / "wide.onnx"


def test_rows_say_what_was_measured(models: tuple[Path, Path]) -> None:
    rows = bench(models, seconds=0.05, batch=3)
    assert [row.path for row in rows] == list(models)
    for row in rows:
        assert row.inputs == {"image": (3, 1, 8, 8)}
        assert row.threads == 1
        assert row.file_bytes == row.path.stat().st_size
        assert 0 < row.latency.p10 <= row.latency.median <= row.latency.p90
        assert row.latency.runs >= 3
        assert row.versions["onnxruntime"] == onnxruntime.__version__
        assert "core" in row.machine
        assert row.memory is not None
    narrow, wide = (row.memory.taken for row in rows if row.memory is not None)
    assert wide - narrow > 60_000_000  # the weights alone are 68 MB more


def test_mistakes_are_named(models: tuple[Path, Path], data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: no such file"):
        bench([tmp_path / "none.onnx"])
    with pytest.raises(DataError, match=r"mnist-8\.onnx: the model has no free batch dimension"):
        bench([data_dir / "onnx" / "mnist-8.onnx"], batch=2)


def test_functions_take_turns() -> None:
    calls: list[str] = []
    first, second = measure_latency([lambda: calls.append("a"), lambda: calls.append("b")], seconds=0)
    assert first.runs == second.runs == 3
    # Twice to warm up; then in turns, the order reversed each time, the first run of each turn not counted.
    assert "".join(calls) == "aabb" + "aabb" + "bbaa" + "aabb"


def test_a_slow_function_is_not_run_longer_than_asked() -> None:
    runs = 0

    def slow() -> None:
        nonlocal runs
        runs += 1
        time.sleep(0.02)

    (latency,) = measure_latency([slow], seconds=0.05)
    assert runs < 20
    assert latency.median >= 0.02


def test_memory_of_a_model_that_cannot_run(models: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match=r"narrow\.onnx: its memory cannot be measured .*DataError"):
        measure_memory(models[0], {"pixels": np.zeros(3, np.float32)})
