"""The main job as a user runs it, on a model that is built here and on real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from dtc import models
from dtc.graph import load_model, save_model
from dtc.passes.lower import Compressed, Lowered, find_target

Dtc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-mlp"), path)
    return path


def test_one_command_needs_nothing_else(dtc: Dtc, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtc.cli.progress._QUIET", 0.001)
    status, out, err = dtc("compress", model, "--method", "svd", "--rank", "8", "--seconds", "0.1")
    assert status == 0
    assert "check outcome: 0 s so far" in err  # which measures for 0.1 s at the least, and tells nothing else
    written = model.with_name("digits.svd.onnx")
    assert f"written: {written}" in out
    assert written.stat().st_size < model.stat().st_size / 8
    for word in ("sites", "whole file", "bits per weight", "latency"):
        assert word in out
    session = ort.InferenceSession(written, providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((3, 1, 8, 8), np.float32)})[0].shape == (3, 10)


def test_the_ratios_are_those_of_the_files(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "small.onnx"
    _, out, _ = dtc("compress", model, "--method", "svd", "--rank", "8", "-o", output, "--json", "--seconds", 0)
    result = json.loads(out)
    ratios = result["ratios"]
    files = [result[name]["files"][0]["bytes"] for name in ("model", "output")]
    assert files == [model.stat().st_size, output.stat().st_size]
    assert ratios["file"] == pytest.approx(model.stat().st_size / output.stat().st_size)
    shapes = [(256, 64), (256, 256), (10, 256)]
    dense = sum(rows * cols for rows, cols in shapes)
    stored = sum(8 * (rows + cols) for rows, cols in shapes)
    assert ratios["sites"] == pytest.approx(dense / stored)
    assert ratios["bits_per_weight"] == pytest.approx(32 * stored / dense)
    assert result["fidelity"]["relative_l2"] < find_target("compute").tolerance


def test_a_site_that_would_grow_is_left_alone_with_the_reason(dtc: Dtc, model: Path) -> None:
    status, out, _ = dtc("compress", model, "--method", "svd", "--rank", "40", "--seconds", 0)
    assert status == 0
    line = next(line for line in out.splitlines() if "fc3.weight" in line)
    assert "left alone" in line
    assert "saves nothing at 10x256: ranks up to 9 pay" in line


def test_include_and_exclude_choose_sites(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "small.onnx"
    dtc(
        "compress",
        model,
        "--method",
        "svd",
        "--rank",
        "8",
        "--include",
        "fc*",
        "--exclude",
        "fc3*",
        "-o",
        output,
        "--seconds",
        0,
    )
    names = set(load_model(output).graph.initializers)
    assert "fc3.weight" in names
    assert not {"fc1.weight", "fc2.weight"} & names


def test_data_gives_the_metric_before_and_after(dtc: Dtc, model: Path) -> None:
    status, out, err = dtc(
        "compress",
        model,
        "--method",
        "svd",
        "--rank",
        "30",
        "--data",
        "dtc.models.datasets:digits_test",
        "--max-drop",
        1,
    )
    assert status == 0, err
    assert "accuracy" in out


def test_a_drop_over_the_limit_gives_status_1(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(200, 1, 8, 8)).astype(np.float32)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    labels = session.run(None, {"image": images})[0].argmax(axis=1)
    np.savez(tmp_path / "own.npz", image=images, labels=labels)
    status, _, err = dtc(
        "compress", model, "--method", "svd", "--rank", "2", "--data", tmp_path / "own.npz", "--max-drop", "0.01"
    )
    assert status == 1
    assert "accuracy went from 1 to" in err


def test_the_saved_recipe_gives_the_same_file_byte_for_byte(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    first, second, recipe = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "recipe.yaml"
    command = ("--method", "svd", "--energy", "0.6", "--exclude", "fc3*", "--seconds", "0")
    assert dtc("compress", model, *command, "-o", first, "--save-recipe", recipe)[0] == 0
    assert dtc("compress", model, "--recipe", recipe, "--seconds", 0, "-o", second)[0] == 0
    assert first.read_bytes() == second.read_bytes()


SVD = ("MODEL", "--method", "svd", "--rank", "4")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx", "--method", "svd", "--rank", "4"], "nowhere.onnx: no such file"),
        (["MODEL"], "give --method"),
        (["MODEL", "--method", "swd", "--rank", "4"], "no method is called 'swd'; there are:"),
        (["MODEL", "--method", "svd"], "give exactly one of --rank, --rank-ratio, --energy"),
        (["MODEL", "--method", "svd", "--rank", "0"], "--rank: Input should be greater than or equal to 1"),
        (["MODEL", "--method", "svd", "--rank", "300"], "--rank 300 is larger than any site allows"),
        (["MODEL", "--method", "svd", "--rank", "4", "--shared-projection", "all"], "'all' is not one of"),
        (["MODEL", "--method", "svd", "--rank", "four"], "'four' is not a valid integer"),
        (["MODEL", "--method", "svd", "--rank", "4", "--include", "conv*"], "--include conv* matches no site"),
        (["MODEL", "--method", "svd", "--rank", "4", "--retrain"], "--retrain needs samples: give --data"),
        (
            [*SVD, "--retrain", "--data", "MODEL", "--distort-every", "0"],
            "--distort-every: Input should be greater than or equal to 1",
        ),
        (["MODEL", "--distort-every", "soon"], "'soon' is neither a whole number nor auto"),
        (
            [*SVD, "--retrain", "--data", "MODEL", "--mode", "iterative", "--distort-every", "auto"],
            "distort_every: auto is for distortions every so many steps",
        ),
        (["MODEL", "--method", "svd", "--rank", "4", "--data", "nowhere.npz"], "nowhere.npz"),
        (["MODEL", "--method", "svd", "--rank", "4", "--max-drop", "0.1"], "--max-drop"),
        (["MODEL", "--method", "svd", "--rank", "4", "-o", "MODEL"], "is the model itself"),
        (["MODEL", "--method", "svd", "--rank", "4", "-o", "no/such/folder/x.onnx"], "no such folder for the output"),
        (["MODEL", "--method", "svd", "--rank", "4", "--input", "image"], "write it as NAME=VALUE"),
        (["MODEL", "--recipe", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--resume", "nowhere"], "nowhere: not a run directory"),
        (["MODEL", "--resume", "nowhere", "--steps", "3", "--force"], "as it was begun: leave out MODEL, --steps"),
        (
            ["MODEL", "--method", "codebook", "--index-bits", "4", "--codewords", "16"],
            "--index-bits tells how many codewords there are",
        ),
    ],
)
def test_wrong_use_is_one_clear_line_and_status_2(dtc: Dtc, model: Path, arguments: list[str], message: str) -> None:
    before = sorted(model.parent.iterdir())
    status, out, err = dtc("compress", *[str(model) if word == "MODEL" else word for word in arguments])
    assert status == 2
    assert message in err
    assert "Traceback" not in out + err
    assert sorted(model.parent.iterdir()) == before


def test_nothing_is_overwritten_without_force(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "precious.onnx"
    output.write_bytes(b"precious")
    arguments = ("compress", model, "--method", "svd", "--rank", "4", "-o", output, "--seconds", 0)
    status, _, err = dtc(*arguments)
    assert status == 2
    assert "exists already" in err
    assert output.read_bytes() == b"precious"
    assert dtc(*arguments, "--force")[0] == 0
    assert output.read_bytes() != b"precious"


@pytest.mark.parametrize("name", ["ptb_rnnlm_lstm100_derived", "gtcrn_simple", "resnet20_cifar10_derived", "kws_dnn_s"])
def test_real_models_in_one_shot(dtc: Dtc, data_dir: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / "out.onnx"
    source = data_dir / "onnx" / f"{name}.onnx"
    status, out, err = dtc("compress", source, "--method", "svd", "--rank-ratio", "0.3", "-o", output, "--seconds", 0)
    assert status == 0, err
    assert output.stat().st_size < source.stat().st_size
    assert "written file against the distorted dense model" in out


def test_an_already_quantized_model_is_refused_with_the_reason(dtc: Dtc, data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "onnx" / "shufflenet_v2_12_int8.onnx"
    status, _, err = dtc("compress", source, "--method", "svd", "--rank", "4", "-o", tmp_path / "out.onnx")
    assert status == 2
    assert "no float weight" in err
    assert "already quantized" in err


@pytest.mark.parametrize("lower", ["compute", "standard", "storage", "int2"])
def test_every_way_of_lowering_writes_a_faithful_file(dtc: Dtc, model: Path, tmp_path: Path, lower: str) -> None:
    output, newest = tmp_path / "small.onnx", load_model(model)
    newest.opset_imports[""] = 25  # of which all nodes are what they were
    save_model(newest, model, force=True)
    arguments = ("--method", "binary", "--bits", "2", "--lower", lower, "--seconds", "0", "-o", output)
    status, _, err = dtc("compress", model, *arguments)
    assert status == 0, err
    domains = {node.domain for node in load_model(output).graph}
    if lower != "compute":  # which has operators of dtc where they pay
        assert ("dtc" in domains) == (lower == "storage")
    types = {str(value.dtype) for value in load_model(output).graph.initializers.values()}
    assert ("INT2" in types) == (lower == "int2")


def test_a_lowered_model_that_computes_something_else_is_not_written(
    dtc: Dtc, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def negate(model: ir.Model, items: Sequence[Compressed], *_: object) -> list[Lowered]:
        items[0].site.assign(-items[0].site.array())
        return []

    monkeypatch.setattr("dtc.passes.lower.lower", negate)
    output = tmp_path / "small.onnx"
    status, _, err = dtc("compress", model, "--method", "svd", "--rank", "4", "--seconds", "0", "-o", output)
    assert status == 1
    assert "not written, as it would be wrong" in err
    assert not output.exists()
