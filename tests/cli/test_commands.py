"""inspect, check, bench, models and engine as a user calls them; recipes of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from dtc import models
from dtc.graph import load_model, save_model

Dtc = Callable[..., tuple[int, str, str]]
SVD = ("--method", "svd", "--rank", "6", "--seconds", "0")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-mlp"), path)
    return path


@pytest.fixture
def compressed(dtc: Dtc, model: Path, tmp_path: Path) -> Path:
    output = tmp_path / "small.onnx"
    assert dtc("compress", model, *SVD, "-o", output)[0] == 0
    return output


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Images and what the labels would be if they were random."""
    dice = np.random.default_rng(0)
    np.savez(tmp_path / "s.npz", image=dice.random((64, 1, 8, 8), dtype=np.float32), labels=dice.integers(0, 10, 64))
    return tmp_path / "s.npz"


def weight(name: str, *shape: int) -> ir.Value:
    tensor = ir.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32), name=name)
    return ir.Value(name=name, const_value=tensor, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))


def save(path: Path, nodes: list[ir.Node], inputs: list[ir.Value], output: ir.Value, weights: list[ir.Value]) -> Path:
    graph = ir.Graph(inputs, [output], nodes=nodes, initializers=weights, opset_imports={"": 17}, name="g")
    save_model(ir.Model(graph, ir_version=8), path)
    return path


def vector(name: str, *shape: int | str) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))


def test_inspect_says_what_could_be_saved(dtc: Dtc, model: Path) -> None:
    status, out, _ = dtc("inspect", model)
    assert status == 0
    row = next(line for line in out.splitlines() if line.startswith("fc2.weight"))
    for word in ("Gemm", "256x256", "262.14 kB", "77."):
        assert word in row
    status, out, _ = dtc("inspect", model, "--json")
    found = json.loads(out)
    assert found["schema"] == "dtc-inspect/1"
    assert [site["name"] for site in found["sites"]] == ["fc1.weight", "fc2.weight", "fc3.weight"]
    assert found["sites"][0]["nbytes"] == 256 * 64 * 4
    assert found["file_bytes"] == model.stat().st_size
    assert {"svd", "prune", "binary"} <= set(found["sites"][0]["estimate"])
    # What each method would make of the whole, told first, is near to what it does make.
    sizes = {each["method"]: each["file_bytes"] for each in found["methods"]}
    assert list(sizes.values()) == sorted(sizes.values())
    assert dtc("compress", model, "--method", "uniform", "--bits", "4", "-o", model.with_name("u.onnx"))[0] == 0
    assert sizes["uniform"] == pytest.approx(model.with_name("u.onnx").stat().st_size, rel=0.1)
    assert "nothing in the graph stands in the way of retraining" in dtc("inspect", model)[1]


def test_inspect_finds_the_weights_of_branches(dtc: Dtc, data_dir: Path) -> None:
    status, out, _ = dtc("inspect", data_dir / "onnx" / "silero_vad_v4.onnx", "--json")
    assert status == 0
    sites = json.loads(out)["sites"]
    assert any("LSTM" in site["role"].upper() for site in sites)
    assert all(site["obstacle"].endswith("a gradient of If") for site in sites)
    assert {tuple(site["engines"]) for site in sites} == {("torch",)}


def test_inspect_counts_a_shared_weight_once(dtc: Dtc, tmp_path: Path) -> None:
    w, x = weight("w", 64, 64), vector("x", 1, 64)
    first = ir.node("MatMul", [x, w], name="one")
    second = ir.node("MatMul", [first.outputs[0], w], name="two", outputs=[vector("y", 1, 64)])
    path = save(tmp_path / "tied.onnx", [first, second], [x], second.outputs[0], [w])
    (site,) = json.loads(dtc("inspect", path, "--json")[1])["sites"]
    assert len(site["readers"]) == 2
    assert site["nbytes"] == 64 * 64 * 4
    assert "(+1)" in dtc("inspect", path)[1]


def test_inspect_says_that_a_model_is_quantized(dtc: Dtc, data_dir: Path) -> None:
    status, out, _ = dtc("inspect", data_dir / "onnx" / "shufflenet_v2_12_int8.onnx")
    assert status == 0
    assert "already quantized" in out


@pytest.mark.parametrize("command", [["inspect"], ["compress", *SVD], ["bench"]])
@pytest.mark.parametrize("content", [None, b"", b"no model", b"\x08\x0a" * 50])
def test_what_is_no_model_is_refused_in_one_line(
    dtc: Dtc, tmp_path: Path, command: list[str], content: bytes | None
) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    status, out, err = dtc(*command, path)
    assert status == 2
    assert err.startswith("dtc: error:")
    assert "m.onnx" in err
    assert "Traceback" not in out + err
    assert len(err.splitlines()) == 1


def test_check_passes_a_model_against_itself(dtc: Dtc, model: Path, samples: Path) -> None:
    status, out, _ = dtc(
        "check", model, model, "--data", samples, "--max-drop", 0, "--max-difference", 0, "--seconds", 0
    )
    assert status == 0
    assert "accuracy" in out
    assert "latency" not in out


def test_check_fails_with_status_1_over_a_limit(dtc: Dtc, model: Path, compressed: Path, samples: Path) -> None:
    status, out, err = dtc("check", model, compressed, "--max-difference", "1e-3", "--seconds", 0, "--json")
    assert status == 1
    assert "differs by" in err
    assert json.loads(out)["schema"] == "dtc-check/1"
    assert json.loads(out)["failures"]
    assert dtc("check", model, compressed, "--seconds", 0)[0] == 0
    own = samples.with_name("own.npz")
    images = np.load(samples)["image"]
    np.savez(own, image=images, target=np.zeros(64))  # not the name of labels, which is told
    status, out, err = dtc(
        "check", model, compressed, "--data", own, "--metric", "accuracy", "--max-drop", "0.01", "--seconds", 0
    )
    assert status == 1
    assert "accuracy went from 1 to" in err
    assert "array 'target' of the data is no input of the model, and was not read; if it holds the labels" in out


def test_check_fails_another_interface_and_refuses_no_model(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    w, x = weight("w", 64, 10), vector("x", 1, 64)
    node = ir.node("MatMul", [x, w], outputs=[vector("y", 1, 10)])
    other = save(tmp_path / "other.onnx", [node], [x], node.outputs[0], [w])
    status, _, err = dtc("check", model, other)
    assert status == 1
    assert "image" in err
    assert dtc("check", model, tmp_path / "none.onnx")[0] == 2


def test_bench_compares_in_one_run(dtc: Dtc, model: Path, compressed: Path) -> None:
    status, out, _ = dtc("bench", model, compressed, "--batch", 4, "--seconds", 0.1, "--json")
    assert status == 0
    assert json.loads(out)["schema"] == "dtc-bench/1"
    rows = json.loads(out)["models"]
    assert [row["path"] for row in rows] == [str(model), str(compressed)]
    assert [row["file_bytes"] for row in rows] == [model.stat().st_size, compressed.stat().st_size]
    assert rows[0]["inputs"] == {"image": [4, 1, 8, 8]}
    assert all(row["latency"]["p10"] <= row["latency"]["median"] <= row["latency"]["p90"] for row in rows)


def test_models_are_listed_and_built(dtc: Dtc, tmp_path: Path) -> None:
    assert "digits-mlp" in dtc("models", "list")[1]
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    assert dtc("models", "build", "digits-mlp", "--model-seed", 3, "-o", first)[0] == 0
    assert dtc("models", "build", "digits-mlp", "--model-seed", 3, "-o", second)[0] == 0
    assert first.read_bytes() == second.read_bytes()
    assert "fc1.weight" in load_model(first).graph.initializers
    status, _, err = dtc("models", "build", "digits-mlp", "-o", first)
    assert status == 2
    assert "exists already" in err
    assert dtc("models", "build", "no-such", "-o", tmp_path / "c.onnx")[0] == 2


def test_the_engine_is_listed(dtc: Dtc) -> None:
    status, out, _ = dtc("engine", "list")
    assert status == 0
    assert "onnxruntime-training" in out
    assert dtc("engine", "install", "none")[0] == 2


def test_an_installed_engine_is_not_installed_again(dtc: Dtc) -> None:
    status, out, _ = dtc("engine", "install", "ort")
    assert status == 0
    assert "installed in" in out


@pytest.mark.parametrize(
    "command",
    [
        ("--method", "prune", "--sparsity", "0.8"),
        ("--method", "binary", "--bits", "2"),
        ("--method", "codebook", "--codewords", "16"),
        ("--method", "bins", "--bins", "8"),
        ("--method", "prune+binary", "--sparsity", "0.5", "--bits", "1", "--include", "fc2*", "--seed", "4"),
    ],
)
def test_the_saved_recipe_gives_the_same_file(dtc: Dtc, model: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    first, second, recipe = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "recipe.yaml"
    status, _, err = dtc("compress", model, *command, "--seconds", 0, "-o", first, "--save-recipe", recipe)
    assert status == 0, err
    # Saved once more it is the same, which overwrites nothing.
    status, _, err = dtc("compress", model, "--recipe", recipe, "--seconds", 0, "-o", second, "--save-recipe", recipe)
    assert status == 0, err
    assert first.read_bytes() == second.read_bytes()


RECIPE = """\
rules:
  - method: prune
    options: {sparsity: 0.5}
    include: [fc1*]
  - method: svd
    options:
      rank: 4
data: {train: s.npz}
"""


def test_each_site_has_the_first_rule_that_matches(dtc: Dtc, model: Path, samples: Path) -> None:
    recipe = samples.with_name("r.yaml")
    recipe.write_text(RECIPE)
    status, out, err = dtc("compress", model, "--recipe", recipe, "--seconds", 0, "--json")
    assert status == 0, err
    forms = {site["name"]: site["form"] for site in json.loads(out)["sites"]}
    assert forms["fc1.weight"] == "sparse"
    assert forms["fc2.weight"] == forms["fc3.weight"] == "low_rank"


def test_data_of_a_recipe_is_found_from_the_recipe(
    dtc: Dtc, model: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, elsewhere = samples.with_name("r.yaml"), tmp_path / "elsewhere"
    recipe.write_text(RECIPE)
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    saved = tmp_path / "elsewhere" / "saved.yaml"
    status, out, err = dtc(
        "compress", model, "--recipe", recipe, "--seconds", 0, "--json", "--save-recipe", saved, "-o", "a.onnx"
    )
    assert status == 0, err
    assert json.loads(out)["check"]["metric"]["name"] == "accuracy"
    assert "train: ../s.npz" in saved.read_text()
    monkeypatch.chdir(tmp_path.parent)
    assert dtc("compress", model, "--recipe", saved, "--seconds", 0, "-o", tmp_path / "b.onnx")[0] == 0
    assert (elsewhere / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_options_stand_above_the_recipe(dtc: Dtc, model: Path, samples: Path, tmp_path: Path) -> None:
    recipe, saved = samples.with_name("r.yaml"), tmp_path / "saved.yaml"
    recipe.write_text(RECIPE.replace("s.npz", "gone.npz"))
    arguments = ("compress", model, "--recipe", recipe, "--seconds", 0)
    assert dtc(*arguments)[0] == 2
    status, _, err = dtc(*arguments, "--data", samples, "--seed", 7, "--batch-size", 16, "--save-recipe", saved)
    assert status == 0, err
    for line in ("seed: 7", "  batch_size: 16"):
        assert line in saved.read_text().splitlines()
    before = saved.read_bytes()
    status, _, err = dtc(*arguments, "--data", samples, "--save-recipe", saved, "-o", tmp_path / "o.onnx")
    assert status == 2
    assert "saved.yaml: exists already" in err
    assert saved.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "options", "message"),
    [
        ("rank: 4", "rank: 0", (), "r.yaml:7:7: rules.1.options.rank: Input should be greater than or equal to 1"),
        ("rank: 4", "ranks: 4", (), "r.yaml:7:7: rules.1.options.ranks: method svd has no such option"),
        ("method: svd", "method: swd", (), "r.yaml:5:5: rules.1.method: no method is called 'swd'"),
        ("fc1*", "conv*", (), "r.yaml:4:5: rules.0.include: conv* matches no site"),
        (
            "prune\n    options: {",
            "binary+prune\n    options: {bits: 2, ",
            (),
            "r.yaml:2:5: rules.0.method: method binary+prune makes no sense",
        ),
        (
            "    options: {sparsity: 0.5}\n",
            "",
            (),
            "r.yaml:2:5: rules.0.options: give exactly one of --sparsity, --pattern",
        ),
        ("prune\n", "binary\n", (), "r.yaml:3:5: rules.0.options.bits: is required"),
        ("rules:", "rule:", (), "r.yaml:1:1: rule: no such key; did you mean rules?"),
        (RECIPE, "seed: 1", (), "r.yaml: rules: is missing"),
        ("", "", ("--method", "svd"), "--method does not go with --recipe"),
        ("", "", ("--rank", "3"), "--rank does not go with --recipe"),
        ("", "", ("--exclude", "fc*"), "--exclude does not go with --recipe"),
        ("", "", ("--epochs", "3"), "--epochs is for retraining; add --retrain"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_with_its_place(
    dtc: Dtc, model: Path, samples: Path, old: str, new: str, options: tuple[str, ...], message: str
) -> None:
    recipe = samples.with_name("r.yaml")
    recipe.write_text(RECIPE.replace(old, new, 1))
    status, out, err = dtc("compress", model, "--recipe", recipe, "--seconds", 0, *options)
    assert status == 2
    assert message in err
    assert "Traceback" not in out + err
    assert len(err.splitlines()) == 1
