"""What a model loses on unseen samples of a stream counts from where the search left the stream, with its state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from dtc.recipe import Objective
from dtc.search.loss import Judge


def test_errors_of_a_state_add_up_along_a_stream(tmp_path: Path) -> None:
    for name, gain in (("one", 1.0), ("other", 1.01)):
        model = onnx.parser.parse_model(
            """<ir_version: 9, opset_import: ["" : 17]>
            g (float[N, 4] x, float[N, 4] state) => (float[N, 4] y, float[N, 4] next) {
                kept = Mul(state, gain)
                next = Add(kept, x)
                y = Identity(next)
            }"""
        )
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(gain), "gain"))
        onnx.save(model, tmp_path / f"{name}.onnx")
    batches = [{"x": np.ones((2, 4), np.float32)} for _ in range(6)]
    objective = Objective(carry={"next": "state"})
    files = [tmp_path / "one.onnx", tmp_path / "other.onnx"]
    # After n steps the one is n, the other (1.01^n - 1) / 0.01; the loss is relative.
    alone = Judge(files[0], batches[3:], objective, measure="error").measure(files[1], 3)
    behind = Judge(files[0], batches[3:], objective, measure="error", before=batches[:3]).measure(files[1], 3)
    assert alone.rows == behind.rows == 6
    steps = np.arange(1, 7)
    errors = np.square(steps - (1.01**steps - 1) / 0.01)
    assert alone.distance == pytest.approx(errors[:3].sum() / np.square(steps[:3]).sum(), rel=1e-3)
    assert behind.distance == pytest.approx(errors[3:].sum() / np.square(steps[3:]).sum(), rel=1e-3)
