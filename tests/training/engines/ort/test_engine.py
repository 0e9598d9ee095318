"""The `ort` engine beyond the contract: it refuses no case of it, and survives crashes of the gradient builder."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
from engine_process import refused

from dtc.training.engines.ort.capability import _crashing

HERE = Path(__file__).parent


@pytest.fixture
def results(ort):
    return ort.run(HERE / "engine_cases.py")


@pytest.mark.parametrize(
    ("script", "count"), [("network", 7), ("gradient", 45), ("recurrent", 42), ("batch_norm", 4), ("quantization", 11)]
)
def test_no_case_of_the_contract_is_refused(ort, script, count):
    found = ort.run(HERE.parent / f"{script}_cases.py")
    assert len(found) == count
    assert [name for name, each in found.items() if isinstance(each, str)] == []


def test_of_the_promises_float16_alone_is_refused(ort):
    found = ort.run(HERE.parent / "promise_cases.py")
    assert [name for name, each in found.items() if refused(each)] == ["float16"]
    assert found["float16"].startswith("EngineError: initializer 'w' is float16")


def test_an_operator_that_is_too_new_is_named(results):
    assert results["too new"].startswith("EngineError: node 'rms': RMSNormalization of opset 23")


def test_a_conversion_that_changes_the_model_is_refused_with_what_it_changed(results):
    for name, node in (("linear", "Resize 'grow'"), ("hardmax", "Hardmax 'hard'")):
        assert results[name].startswith("EngineError: the ort engine trains opset 13 or later, and converting this")
        assert f"(changed: {node}); export it at opset 13 or later" in results[name]


def test_a_conversion_that_changes_nothing_is_proven(results):
    assert [results[name] for name in ("nearest", "noise", "new enough")] == ["proven"] * 3


def test_a_crash_blocks_the_node_and_the_next_trial_runs(results):
    first, second = results["crashed trial"]
    assert first.startswith("EngineError: nothing can be trained")
    assert "node 'out': onnxruntime-training crashes over the gradient of this MatMul" in first
    assert second == "taken"


def test_a_killed_trial_is_no_crash(results):
    first, second = results["killed trial"]
    assert first.startswith("EngineError: the process that tries out gradients was ended (SIGKILL)")
    assert second == "taken"


def test_a_helper_that_has_ended_is_started_again(results):
    assert results["tired helper"] == [0, "taken"]


@pytest.mark.parametrize("culprit", range(5))
def test_the_crashing_node_is_found_by_bisection(culprit):
    nodes = [ir.node("Relu", [ir.Value(name=f"v{index}")], name=f"n{index}") for index in range(5)]
    through = {f"w{index}": nodes[index:] for index in range(5)}

    def crashes(names):
        return any(nodes[culprit] in through[name] for name in names)

    (found,) = _crashing(through, crashes)
    assert found is nodes[culprit]
