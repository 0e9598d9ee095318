"""Quantized activations through a whole compression: one-shot, retrained, resumed, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from dtc import models
from dtc.errors import CheckFailedError
from dtc.graph import find_quantizers, save_model
from dtc.job import Job
from dtc.models.net import Net
from dtc.passes.lower import Lowered
from dtc.pipeline import compress
from dtc.recipe import Activations, Data, Recipe, Rule

Dtc = Callable[..., tuple[int, str, str]]

UNIFORM = ("--method", "uniform", "--bits", "8", "--seconds", "0")
DIGITS = ("--data", "dtc.models.datasets:digits", "--eval-data", "dtc.models.datasets:digits_test")
SHORT = ("--retrain", "--steps", "60", "--distort-every", "20", "--checkpoint-every", "20", "--threads", "1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-cnn", hidden=32), path)
    return path


def written(path: Path) -> ir.Model:
    return ir.load(path)


def arrays(path: Path) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in written(path).graph.initializers.items()}


def scales(path: Path) -> dict[str, float]:
    return {name: float(array) for name, array in arrays(path).items() if name.endswith(".scale")}


def intermediate(path: Path, image: np.ndarray, *names: str) -> list[np.ndarray]:
    model = written(path)
    values = {value.name: value for node in model.graph for value in node.outputs}
    model.graph.outputs.extend(values[name] for name in names)
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(names), {"image": image})


@pytest.mark.parametrize(("bits", "training"), [(8, ()), (4, ()), (4, (*SHORT, "--lr", "3e-3"))])
def test_the_file_rounds_activations_as_numpy_does(
    dtc: Dtc, model: Path, tmp_path: Path, bits: int, training: tuple[str, ...]
) -> None:
    output = tmp_path / "out.onnx"
    status, out, err = dtc(
        "compress", model, *UNIFORM, *DIGITS, "--activation-bits", bits, *training, "-o", output, "--json"
    )
    assert status == 0, err
    result = json.loads(out)
    assert result["fidelity"]["quantizers"] == 3
    assert result["fidelity"]["relative_l2"] < 1e-4
    quantizers = find_quantizers(written(output).graph)
    assert {each.highest for each in quantizers} == {2**bits - 1}
    image = np.random.default_rng(0).random((50, 1, 8, 8), dtype=np.float32)
    for each in quantizers:
        data, rounded = intermediate(output, image, each.data.name, each.dequantize[0].outputs[0].name)
        scale, zero, low, high = each.levels
        steps = np.clip(np.rint(data / np.float32(scale)) + zero, low, high) - zero
        np.testing.assert_array_equal(rounded, (steps * np.float32(scale)).astype("f"))
    if training:
        assert result["check"]["metric"]["after"] > 0.3 > result["check"]["metric"]["before"]


def test_scales_are_trained_and_outlive_an_interruption(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    output, run = tmp_path / "out.onnx", tmp_path / "run"
    options = ("--activation-bits", "2", "--activation-delta", "0.01", "--run", run, "-o", output)
    assert dtc("compress", model, *UNIFORM, *DIGITS, *SHORT, *options)[0] == 0
    started = {f"{each['activation']['name']}.scale": each["levels"]["scale"]
               for each in json.loads((run / "activations.json").read_text())}  # fmt: skip
    trained = scales(output)
    assert trained.keys() == started.keys()
    assert all(trained[name] != pytest.approx(started[name], rel=1e-4) for name in started)
    whole = output.read_bytes()
    output.unlink()
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints" / "000000060")
    status, _, err = dtc("compress", "--resume", run)
    assert status == 0, err
    assert output.read_bytes() == whole


def test_a_run_whose_levels_were_changed_is_not_resumed(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    output, run = tmp_path / "out.onnx", tmp_path / "run"
    options = ("--activation-bits", "4", "--run", run, "-o", output)
    assert dtc("compress", model, *UNIFORM, *DIGITS, *SHORT, "--steps", "2", *options)[0] == 0
    facts = (run / "activations.json").read_text()
    (run / "activations.json").write_text(facts.replace('"zero_point": 0', '"zero_point": 1'))
    status, _, err = dtc("compress", "--resume", run, "--force")
    assert status == 1
    assert "activations.json: has changed since the run began" in err


def test_without_labels_the_original_teaches(dtc: Dtc, tmp_path: Path) -> None:
    """A teacher with rounded activations would leave nothing to learn."""
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-mlp", hidden=32), path)
    images = np.random.default_rng(1).random((400, 1, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "u.npz", image=images)
    options = (*UNIFORM, "--data", tmp_path / "u.npz", "--activation-bits", "2", "--json", "--allow-growth")
    status, out, err = dtc("compress", path, *options, "-o", tmp_path / "once.onnx")
    assert status == 0, err
    once = json.loads(out)["check"]["differences"][0]["relative_l2"]
    long = (*SHORT, "--steps", "200", "--lr", "3e-3", "-o", tmp_path / "trained.onnx")
    status, out, err = dtc("compress", path, *options, *long)
    assert status == 0, err
    assert json.loads(out)["check"]["differences"][0]["relative_l2"] < 0.9 * once


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_a_model_that_came_with_quantizers_is_trained_with_them(dtc: Dtc, tmp_path: Path, kind: str) -> None:
    """As exporters write them: every operator has constants of its own."""
    net = Net("quantized", 0)
    x = net.op("Flatten", "flat", [net.input("image", ir.DataType.FLOAT, ["N", 1, 8, 8])])
    h = net.op("Relu", "relu", [net.linear("fc1", x, (64, 32))])
    for op, name in (("QuantizeLinear", "q"), ("DequantizeLinear", "r")):
        scale, zero = (
            net.op("Constant", f"{name}.{part}", [], value=ir.tensor(np.array(number, dtype)))
            for part, number, dtype in (("scale", 0.02, np.float32), ("zero", 3, kind))
        )
        h = net.op(op, name, [h, scale, zero])
    save_model(net.model({"y": (net.linear("fc2", h, (32, 10)), ["N", 10])}), tmp_path / "m.onnx")
    svd = ("--method", "svd", "--rank", "6", "--seconds", "0", "--lr", "3e-3")
    output = tmp_path / "out.onnx"
    status, out, err = dtc("compress", tmp_path / "m.onnx", *svd, *DIGITS, *SHORT, "-o", output, "--json")
    assert status == 0, err
    (found,) = find_quantizers(written(output).graph)
    assert found.levels[0] != pytest.approx(0.02, rel=1e-3)
    assert json.loads(out)["check"]["metric"]["after"] > 0.4


@pytest.mark.parametrize("lower", ["compute", "standard", "storage"])
def test_every_way_of_lowering_is_checked_without_the_rounding(tmp_path: Path, lower: str) -> None:
    """Deep and with two bits: what float rounding moves by a level here changes everything behind it."""
    net = Net("deep", 0)
    x = net.input("x", ir.DataType.FLOAT, ["N", 64])
    for index in range(6):
        x = net.op("Tanh", f"h{index}", [net.op("MatMul", f"m{index}", [x, net.uniform(f"W{index}", (64, 64), 0.4)])])
    save_model(net.model({"y": (x, ["N", 64])}), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(400, 64)).astype("f"))
    recipe = Recipe(
        rules=(Rule(method="svd", options={"rank": 12}),),
        data=Data(train=str(tmp_path / "d.npz")),
        activations=Activations(bits=2),
        lower=lower,
    )
    result = compress(tmp_path / "m.onnx", recipe, Job(tmp_path / "out.onnx", seconds=0.0))
    assert result.report.fidelity is not None
    assert result.report.fidelity.quantizers == 5
    assert result.report.fidelity.relative_l2 < 1e-5


def test_a_wrong_weight_is_still_found_behind_quantizers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: ir.Model, *_: object) -> list[Lowered]:
        value = model.graph.initializers["fc1.weight"]
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(1.001), name=value.name)
        return []

    monkeypatch.setattr("dtc.passes.lower.lower", wrong)
    recipe = Recipe(
        rules=(Rule(method="uniform", options={"bits": 8}),),
        data=Data(train="dtc.models.datasets:digits"),
        activations=Activations(bits=8),
    )
    with pytest.raises(CheckFailedError, match="it would be wrong"):
        compress(model, recipe, Job(tmp_path / "out.onnx", seconds=0.0, allow_growth=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--activation-bits", "4"), "--activation-bits needs samples to take ranges from: give --data"),
        (("--activation-bits", "9", *DIGITS), "--activation-bits: Input should be less than or equal to 8 (given: 9)"),
        (("--activation-delta", "0.1", *DIGITS), "--activation-delta is for retraining; add --retrain"),
        (("--activation-bits", "4", "--include", "conv1*", *DIGITS), "--activation-bits: no compressed weight reads"),
    ],
)
def test_mistakes_are_told_in_words(
    dtc: Dtc, model: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    status, _, err = dtc("compress", model, *UNIFORM, *options, "-o", tmp_path / "out.onnx")
    assert status == 2
    assert words in " ".join(err.split())


def test_a_saved_recipe_quantizes_alike(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    first, second, recipe = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "recipe.yaml"
    assert (
        dtc("compress", model, *UNIFORM, *DIGITS, "--activation-bits", 4, "-o", first, "--save-recipe", recipe)[0] == 0
    )
    assert Recipe.load(recipe).activations.bits == 4
    assert dtc("compress", model, "--recipe", recipe, "-o", second, "--seconds", 0)[0] == 0
    assert first.read_bytes() == second.read_bytes()


def test_the_report_says_that_files_were_compared_without_the_rounding(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    given = (*UNIFORM, *DIGITS, "--activation-bits", "4")
    status, _, err = dtc("compress", model, *given, "-o", tmp_path / "o.onnx", "--report", tmp_path / "report")
    assert status == 0, err
    fidelity = json.loads((tmp_path / "report" / "report.json").read_text())["fidelity"]
    count = len(scales(tmp_path / "o.onnx"))
    assert fidelity["quantizers"] == count > 0
    assert f"its {count} quantizers of activations left out of both" in (tmp_path / "report/report.html").read_text()
