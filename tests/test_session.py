"""Sessions: what a model needs is said in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import dtc.models
from dtc.errors import DataError, ModelError
from dtc.graph import save_model
from dtc.graph.signature import TensorSpec, input_specs
from dtc.session import runner, session, signature


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tagger") / "tagger.onnx"
    save_model(dtc.models.build("bilstm-tagger", width=4), path)
    return path


def batch() -> dict[str, np.ndarray]:
    return {"x": np.zeros((5, 2, 8), np.float32), "lengths": np.array([5, 1], np.int32)}


def test_the_signature_is_the_models(tagger: Path) -> None:
    model = dtc.models.build("bilstm-tagger", width=4)
    inputs, outputs = signature(session(tagger, threads=1))
    assert inputs == input_specs(model)
    assert [spec.name for spec in outputs] == [value.name for value in model.graph.outputs]
    assert inputs == (TensorSpec("x", "float32", ("T", "N", 8)), TensorSpec("lengths", "int32", ("N",)))
    assert str(inputs[0]) == "'x' float32 [T, N, 8]"


def test_runs_by_name_and_ignores_the_rest(tagger: Path) -> None:
    outputs = runner(session(tagger, threads=1))(batch() | {"labels": np.zeros(3)})
    assert {name: array.shape for name, array in outputs.items()} == {"logits": (5, 2, 10)}


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        ("x", np.zeros((5, 2, 8)), r"input 'x' float32 \[T, N, 8\], but the data holds float64"),
        ("x", np.zeros((5, 2, 9), np.float32), r"float32 \[5, 2, 9\]"),
        ("x", np.zeros((5, 8), np.float32), r"float32 \[5, 8\]"),
        ("lengths", np.zeros(2, np.int64), r"input 'lengths' int32 \[N\], but the data holds int64 \[2\]"),
    ],
)
def test_an_input_that_does_not_fit_is_named(tagger: Path, name: str, wrong: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        runner(session(tagger, threads=1))(batch() | {name: wrong})


def test_missing_inputs_are_named_all_at_once(tagger: Path) -> None:
    run = runner(session(tagger, threads=1))
    with pytest.raises(DataError, match=r"needs input 'lengths' int32 \[N\], but the data holds only 'x'"):
        run({"x": batch()["x"]})
    with pytest.raises(DataError, match=r"needs input 'x' float32 \[T, N, 8\], 'lengths' int32 \[N\], but"):
        run({"y": batch()["x"]})


def test_a_failing_run_is_one_line(tagger: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match=r"fails while it runs: .*LSTM") as caught:
        runner(session(tagger, threads=1))(batch() | {"lengths": np.array([9, 9], np.int32)})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_is_refused_names_file_and_node(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = dtc.models.build("digits-mlp", hidden=4)
    first = next(node for node in model.graph if node.op_type == "Gemm")
    first.op_type = "Gemmm"
    save_model(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match=r"odd\.onnx: ONNX Runtime .*fc1.*Gemmm") as caught:
        session(tmp_path / "odd.onnx")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.onnx: no such file"):
        session(tmp_path / "nothing.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match=r"empty\.onnx: ONNX Runtime"):
        session(tmp_path / "empty.onnx")


def test_threads_are_as_told(tagger: Path) -> None:
    assert session(tagger, threads=1).get_session_options().intra_op_num_threads == 1


def test_initializers_that_are_inputs_need_not_be_given() -> None:
    model = dtc.models.build("digits-mlp", hidden=4)
    model.graph.inputs.append(model.graph.initializers["fc1.weight"])
    assert [spec.name for spec in input_specs(model)] == ["image"]
    assert isinstance(model.graph.inputs[1], ir.Value)
