"""Which samples are learnt from, which ones are judged on, and that every metric says so."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needed import unless

from dtc import models
from dtc.errors import EngineError
from dtc.graph import load_model, save_model
from dtc.job import Job
from dtc.pipeline import compress, measuring
from dtc.recipe import Data, Recipe, Rule, Training
from dtc.training.best import load_best
from dtc.training.engines.ort.install import unavailable

Dtc = Callable[..., tuple[int, str, str]]

PRUNE = ("--method", "prune", "--sparsity", "0.5", "--compensate", "--activation-bits", "8", "--seconds", "0")
CODEBOOK = ("--method", "codebook", "--codewords", "8", "--block", "1", "--seconds", "0")
NEEDS_ENGINE = unless(unavailable())


def digits(count: int) -> dict[str, np.ndarray]:
    dice = np.random.default_rng(0)
    return {"image": dice.random((count, 1, 8, 8), dtype=np.float32), "labels": dice.integers(0, 10, count)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(models.build("digits-mlp", hidden=16), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", **digits(96))
    (tmp_path / "b.py").write_text(
        "import numpy as np\n"
        "def batches(batch_size):\n"
        f"    with np.load({str(tmp_path / 'd.npz')!r}) as data:\n"
        "        arrays = {name: data[name] for name in data}\n"
        "    for start in range(0, 96, batch_size):\n"
        "        yield {name: array[start : start + batch_size] for name, array in arrays.items()}\n"
        "def splits(batch_size, split='train'):\n"
        "    yield from batches(batch_size)\n"
    )
    return tmp_path


def samples_of(outcome: str) -> str:
    told = json.loads(outcome)
    return str(told.get("check", told)["metric"]["samples"])


@pytest.mark.parametrize(
    ("options", "samples"),
    [
        (("--data", "d.npz"), "samples 86 to 95 of 96 in d.npz (held out of --data), 1 batch"),
        (("--data", "d.npz", "--held-out", "0.5"), "samples 48 to 95 of 96 in d.npz (held out of --data), 2 batches"),
        (("--data", "d.npz", "--eval-data", "e.npz"), "all 20 samples in e.npz (--eval-data), 1 batch"),
        (("--data", "b.py:splits"), 'the split "evaluate" of b.py:splits (held out of --data), 3 batches'),
        (
            ("--data", "d.npz", "--eval-data", "d.npz"),
            "all 96 samples in d.npz (--eval-data, the same as --data{}), 3 batches",
        ),
        (("--data", "b.py:batches"), "all batches of b.py:batches (--data, nothing held out{}), 3 batches"),
    ],
)
def test_what_a_compression_holds_out_is_what_its_file_is_checked_on(
    dtc: Dtc, folder: Path, options: tuple[str, ...], samples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    np.savez("e.npz", **digits(20))
    status, out, err = dtc("compress", "m.onnx", *PRUNE, *options, "-o", "o.onnx", "--json")
    assert status == 0, err
    assert samples_of(out) == samples.format(": also used for calibration")
    status, again, err = dtc("check", "m.onnx", "o.onnx", *options, "--seconds", "0", "--json")
    assert status == 0, err
    assert samples_of(again) == samples.format("")
    assert json.loads(again)["metric"]["after"] == json.loads(out)["check"]["metric"]["after"]


def test_nothing_is_learnt_from_what_is_held_out(dtc: Dtc, folder: Path) -> None:
    arrays = digits(96)
    arrays["image"][86:] = 1000
    np.savez(folder / "loud.npz", **arrays)
    for name in ("d", "loud"):
        status, _, err = dtc("compress", folder / "m.onnx", *PRUNE, "--data", folder / f"{name}.npz",
                             "-o", folder / f"{name}.onnx")  # fmt: skip
        assert status == 0, err
    assert filecmp.cmp(folder / "d.onnx", folder / "loud.onnx", shallow=False)


@pytest.mark.parametrize("asked", [("--batch-size", "16"), ()])
def test_a_model_of_one_batch_size_has_whole_batches_of_that_size(
    dtc: Dtc, folder: Path, asked: tuple[str, ...]
) -> None:
    model = load_model(folder / "m.onnx")
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape = type(value.shape)([16, *list(value.shape)[1:]])  # type: ignore[union-attr,arg-type]
    save_model(model, folder / "fixed.onnx")
    told = (*PRUNE, "--data", folder / "d.npz", *asked, "-o", folder / "o.onnx", "--json")
    status, out, err = dtc("compress", folder / "fixed.onnx", *told)
    assert status == 0, err
    assert samples_of(out).startswith("samples 80 to 95 of 96")


def notes_of(out: str) -> str:
    return "\n".join(json.loads(out)["notes"])


@NEEDS_ENGINE
def test_gradients_are_had_from_a_function_of_which_nothing_can_be_held_out(dtc: Dtc, folder: Path) -> None:
    for name, options in {"weighted": (), "plain": ("--gradient-weight", "0")}.items():
        status, out, err = dtc("compress", folder / "m.onnx", *CODEBOOK, *options, "--data", folder / "b.py:batches",
                               "-o", folder / f"{name}.onnx", "--json")  # fmt: skip
        assert status == 0, err
        assert notes_of(out) == ""
    assert not filecmp.cmp(folder / "weighted.onnx", folder / "plain.onnx", shallow=False)


def test_gradients_are_asked_for_where_a_method_uses_them_alone(
    dtc: Dtc, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("nobody weights by gradients")

    monkeypatch.setattr(measuring, "measure_gradients", refuse)
    status, _, err = dtc("compress", folder / "m.onnx", *CODEBOOK, "--gradient-weight", "0",
                         "--data", folder / "d.npz", "-o", folder / "o.onnx")  # fmt: skip
    assert status == 0, err


def test_where_no_gradient_can_be_had_it_goes_on_without_and_says_so(
    dtc: Dtc, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise EngineError("nothing can be trained")

    monkeypatch.setattr(measuring, "measure_gradients", refuse)
    common = ("compress", folder / "m.onnx", *CODEBOOK, "--data", folder / "d.npz", "--json", "-o")
    status, out, err = dtc(*common, folder / "a.onnx")
    assert status == 0, err
    assert "not weighted by gradients, which cannot be had here: nothing can be trained" in notes_of(out)
    assert dtc(*common, folder / "b.onnx", "--gradient-weight", "0")[0] == 0
    assert filecmp.cmp(folder / "a.onnx", folder / "b.onnx", shallow=False)


@NEEDS_ENGINE
def test_training_starts_from_the_weights_whose_errors_are_made_up_for(folder: Path) -> None:
    options = {"codewords": 8, "block": 1, "compensate": True, "keep_assignments": True}
    recipe = Recipe(rules=(Rule(method="codebook", options=options),), data=Data(train="b.py:splits"))
    job = Job(folder / "one.onnx", seconds=0.0, dump=folder / "dump")
    compress(folder / "m.onnx", recipe, job, base=folder)
    training = Training(steps=3, distort_every=3, evaluate_every=3, threads=1)
    found = compress(
        folder / "m.onnx",
        recipe.model_copy(update={"training": training}),
        Job(folder / "trained.onnx", seconds=0.0),
        base=folder,
        run=folder / "run",
    )
    assert found.report.training is not None
    assert [jump.step for jump in found.report.training.distortions] == [0, 3]
    assert [each.step for each in found.report.training.evaluations] == [0, 3]
    start, forms, _ = load_best(folder / "run" / "best" / "000000000")
    one_shot = load_model(next((folder / "dump").glob("*-distort.onnx"))).graph.initializers
    for site in forms:
        np.testing.assert_array_equal(start[site], np.asarray(one_shot[site].const_value))
    kept = load_best(found.run / "best" / f"{found.report.training.best_step:09d}")[1]  # type: ignore[operator]
    for site, (form,) in forms.items():
        np.testing.assert_array_equal(form.indices, kept[site][0].indices)  # type: ignore[attr-defined]


def test_a_long_check_says_how_far_it_is(dtc: Dtc, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr("dtc.cli.progress.time.monotonic", lambda: next(clock))
    status, _, err = dtc("check", folder / "m.onnx", folder / "m.onnx", "--eval-data", folder / "d.npz",
                         "--seconds", "0", "--batch-size", "20")  # fmt: skip
    assert status == 0, err
    assert [line for line in err.splitlines() if line.startswith("check")] == [
        "check: batch 3 of 5, 12 s", "check: batch 5 of 5, 24 s"
    ]  # fmt: skip
