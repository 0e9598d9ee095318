"""The run directory: whole in itself, and loud about what changed in it."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import onnx_ir as ir
import pytest
from fake_engine import Accuracy, FakeEngine, FakePlan, distort, make_run_inputs, network, samples

from dtc.data import ArraySource
from dtc.errors import DataError, ModelError, RecipeError, TrainingError, UsageError
from dtc.recipe import Objective, Recipe
from dtc.training.best import load_best
from dtc.training.launch import read_result, train
from dtc.training.objective import resolve_objective
from dtc.training.run import create_run, fingerprint, open_run
from dtc.training.snapshot import Snapshot, finished
from dtc.training.work import Tools, work

TOOLS = Tools(
    lambda model, recipe, teacher: FakeEngine(model),
    lambda *_: FakePlan(),
    lambda name: Accuracy(),
)


def recipe_with(recipe: Recipe, **data) -> Recipe:
    return Recipe.model_validate(recipe.model_dump() | {"data": {"batch_size": 16, **data}})


def finish(folder) -> None:
    assert work(folder, TOOLS, should_stop=lambda: False)


def test_a_run_holds_all_that_it_needs(tmp_path):
    (tmp_path / "in").mkdir()
    recipe, model = make_run_inputs(tmp_path / "in", steps=6)
    create_run(tmp_path / "run", recipe, model, base=tmp_path / "in")
    shutil.rmtree(tmp_path / "in")
    (tmp_path / "run").rename(tmp_path / "moved")
    for path in (tmp_path / "moved").rglob("*.*"):
        if path.suffix in (".yaml", ".json"):
            assert str(tmp_path) not in path.read_text()
    run = open_run(tmp_path / "moved")
    assert run.load_model().graph.name == "network"
    train, evaluate = run.samples(run.load_model()).for_training()
    assert isinstance(train, ArraySource)
    assert isinstance(evaluate, ArraySource)
    assert (train.samples, evaluate.samples) == (86, 10)  # a tenth of 96 is held out
    finish(tmp_path / "moved")
    assert read_result(run).step == 6


@pytest.mark.parametrize("kind", ["folder", "script", "module", "evaluate"])
def test_every_kind_of_data_comes_along(tmp_path, kind, monkeypatch):
    recipe, model = make_run_inputs(tmp_path, steps=6)
    body = "import numpy as np\ndef batches(split='train'):\n    for k in range(4):\n"
    body += "        yield {'x': np.ones((3, 6)), 'labels': np.arange(3)}\n"
    match kind:
        case "folder":
            (tmp_path / "arrays").mkdir()
            for name, array in samples().items():
                np.save(tmp_path / "arrays" / f"{name}.npy", array)
            recipe = recipe_with(recipe, train="arrays")
        case "script":
            (tmp_path / "mine.py").write_text(body)
            recipe = recipe_with(recipe, train="mine.py:batches")
        case "module":
            (tmp_path / "dtc_test_module_of_a_run.py").write_text(body)
            monkeypatch.syspath_prepend(tmp_path)
            recipe = recipe_with(recipe, train="dtc_test_module_of_a_run:batches")
        case "evaluate":
            recipe = recipe_with(recipe, train="data.npz", evaluate=str(tmp_path / "data.npz"))
    create_run(tmp_path / "run", recipe, model, base=tmp_path)
    for name in ("data.npz", "mine.py"):
        (tmp_path / name).unlink(missing_ok=True)
    finish(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["step"] == 6


def test_external_data_of_the_model_comes_along(tmp_path):
    recipe, _ = make_run_inputs(tmp_path)
    (tmp_path / "big" / "weights").mkdir(parents=True)
    data = "weights/model.data"
    ir.save(network(), tmp_path / "big" / "model.onnx", external_data=data, size_threshold_bytes=1)
    create_run(tmp_path / "run", recipe, tmp_path / "big" / "model.onnx", base=tmp_path)
    shutil.rmtree(tmp_path / "big")
    loaded = open_run(tmp_path / "run").load_model()
    assert np.array_equal(
        loaded.graph.initializers["W"].const_value.numpy(), network().graph.initializers["W"].const_value.numpy()
    )


def test_array_data_is_not_stored_twice(tmp_path):
    recipe, model = make_run_inputs(tmp_path)
    create_run(tmp_path / "run", recipe, model, base=tmp_path)
    assert (tmp_path / "run" / "data" / "train" / "data.npz").samefile(tmp_path / "data.npz")
    assert not (tmp_path / "run" / "model" / "model.onnx").samefile(model)


def test_data_is_copied_where_it_cannot_be_linked(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    recipe, model = make_run_inputs(tmp_path)
    create_run(tmp_path / "run", recipe, model, base=tmp_path)
    assert fingerprint(tmp_path / "run" / "data" / "train" / "data.npz") == fingerprint(tmp_path / "data.npz")


@pytest.mark.parametrize("what", ["model/model.onnx", "data/train/data.npz"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_what_changed_since_the_run_began_is_named(tmp_path, what, how):
    recipe, model = make_run_inputs(tmp_path)
    create_run(tmp_path / "run", recipe, model, base=tmp_path)
    path = tmp_path / "run" / what
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(TrainingError, match=f"{what}: has changed since the run began"):
        open_run(tmp_path / "run")


def test_a_large_file_is_sampled(tmp_path, monkeypatch):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(300 << 20)
    before = fingerprint(tmp_path / "large")
    assert before.startswith("sampled:")
    with (tmp_path / "large").open("r+b") as file:
        file.seek((300 << 20) - 1)
        file.write(b"1")
    assert fingerprint(tmp_path / "large") != before


def test_an_existing_folder_is_not_written_over(tmp_path):
    recipe, model = make_run_inputs(tmp_path)
    (tmp_path / "run").mkdir()
    create_run(tmp_path / "run", recipe, model, base=tmp_path)
    with pytest.raises(UsageError, match="exists already; resume it"):
        create_run(tmp_path / "run", recipe, model, base=tmp_path)


def test_a_run_that_cannot_be_made_leaves_nothing(tmp_path):
    recipe, model = make_run_inputs(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"absent\.npz"):
        create_run(tmp_path / "run", recipe_with(recipe, train="absent.npz"), model, base=tmp_path)
    with pytest.raises(ModelError):
        create_run(tmp_path / "run", recipe, tmp_path / "absent.onnx", base=tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_without_training_is_not_trained(tmp_path):
    recipe, model = make_run_inputs(tmp_path)
    run = create_run(tmp_path / "run", recipe.model_copy(update={"training": None}), model, base=tmp_path)
    assert run.recipe.training is None
    with pytest.raises(RecipeError, match=r"recipe\.yaml: has no training"):
        train(run.folder)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"format": 9, "model": "m", "files": {}}'])
def test_other_folders_are_no_runs(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"not a run directory|format 9"):
        open_run(tmp_path)


def test_a_run_that_has_not_ended_has_no_result(tmp_path):
    recipe, model = make_run_inputs(tmp_path)
    run = create_run(tmp_path / "run", recipe, model, base=tmp_path)
    with pytest.raises(TrainingError, match="no result yet; resume it"):
        read_result(run)


def test_two_checkpoints_are_kept_and_a_stopped_run_goes_on(tmp_path):
    recipe, model = make_run_inputs(tmp_path, steps=40, checkpoint_every=5)
    folder = create_run(tmp_path / "run", recipe, model, base=tmp_path).folder
    asked = iter(range(1000))
    assert not work(folder, TOOLS, should_stop=lambda: next(asked) == 22)
    assert [path.name for path in finished(folder / "checkpoints")] == ["000000020", "000000023"]
    finish(folder)
    assert [path.name for path in finished(folder / "checkpoints")] == ["000000035", "000000040"]
    kept = {int(path.name) for path in finished(folder / "best")}  # that of each kept checkpoint
    assert kept == {Snapshot.load(path).facts["progress"]["best"]["step"] for path in finished(folder / "checkpoints")}
    assert read_result(open_run(folder)).best_step in kept


class Crash(BaseException):
    """Nothing of ours catches it, as nothing catches a power cut."""


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_touch_of_the_disk_changes_nothing(tmp_path, monkeypatch, after):
    """The process dies just before, or just after, the k-th sync, rename or removal, for every k."""
    recipe, model = make_run_inputs(tmp_path, steps=9, checkpoint_every=2, evaluate_every=3)
    whole = create_run(tmp_path / "whole", recipe, model, base=tmp_path).folder
    disk = {"touches": 0, "crash at": 0}

    def fragile(call):
        def touch(*arguments, **options):
            disk["touches"] += 1
            now = disk["touches"] == disk["crash at"]
            if now and not after:
                raise Crash
            result = call(*arguments, **options)
            if now:
                raise Crash
            return result

        return touch

    monkeypatch.setattr(os, "fsync", fragile(os.fsync))
    monkeypatch.setattr(shutil, "rmtree", fragile(shutil.rmtree))
    monkeypatch.setattr(type(tmp_path), "rename", fragile(type(tmp_path).rename))
    finish(whole)
    assert disk["touches"] > 20
    numbers = range(1, disk["touches"] + 1)
    folders = [create_run(tmp_path / f"run-{k}", recipe, model, base=tmp_path).folder for k in numbers]
    for k, folder in zip(numbers, folders, strict=True):
        disk |= {"touches": 0, "crash at": k}
        with pytest.raises(Crash):
            finish(folder)
        finish(folder)
        assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
        for kind in ("checkpoints", "best"):
            ours, theirs = (finished(run / kind)[-1] for run in (folder, whole))
            assert ours.name == theirs.name
            for name, array in Snapshot.load(ours).arrays.items():
                assert np.array_equal(array, Snapshot.load(theirs).arrays[name])


def test_a_run_without_a_whole_checkpoint_begins_anew_and_says_so(tmp_path):
    recipe, model = make_run_inputs(tmp_path, steps=12, checkpoint_every=5)
    folder = create_run(tmp_path / "run", recipe, model, base=tmp_path).folder
    finish(folder)
    whole = (folder / "metrics.jsonl").read_text()
    for path in finished(folder / "checkpoints"):
        (path / "arrays.npz").write_bytes(b"")
    finish(folder)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert sum("going on from step 0" in line for line in lines) == 2
    assert [line for line in lines if '"note"' not in line] == whole.splitlines()


def test_a_run_without_rules_is_plain_training(tmp_path):
    recipe, model = make_run_inputs(tmp_path, steps=20)
    plain = recipe.model_copy(update={"rules": ()})
    folder = create_run(tmp_path / "run", plain, model, base=tmp_path).folder
    finish(folder)
    assert '"distortion"' not in (folder / "metrics.jsonl").read_text()
    result = read_result(open_run(folder))
    parameters, forms, _ = load_best(folder / "best" / f"{result.best_step:09d}")
    assert (result.distortions, forms) == (0, {})
    assert np.linalg.matrix_rank(parameters["W"]) > 2


def test_epochs_become_steps(tmp_path):
    recipe, model = make_run_inputs(tmp_path, steps=None, epochs=2.5)
    folder = create_run(tmp_path / "run", recipe, model, base=tmp_path).folder
    finish(folder)
    assert read_result(open_run(folder)).step == 13  # 86 samples are 5 batches of 16; 12.5 of them


AWKWARD = {"../up": np.eye(2, dtype=np.float32), "a/b": np.zeros((0, 3)), "file": np.array(3.5), "ünï": np.ones(1)}


def test_snapshots_keep_any_name_and_shape(tmp_path):
    Snapshot(AWKWARD, {"step": 5}).save(tmp_path / "5")
    found = Snapshot.load(tmp_path / "5")
    assert found.facts == {"step": 5}
    assert found.arrays.keys() == AWKWARD.keys()
    for name, array in AWKWARD.items():
        assert np.array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["5"]


def test_any_flipped_byte_of_a_snapshot_is_noticed(tmp_path):
    Snapshot(AWKWARD, {"step": 5}).save(tmp_path / "5")
    dice = np.random.default_rng(0)
    for file in sorted((tmp_path / "5").iterdir()):
        whole = file.read_bytes()
        for at in dice.choice(len(whole), size=min(60, len(whole)), replace=False):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :])
            with pytest.raises(TrainingError, match="damaged"):
                Snapshot.load(tmp_path / "5")
        file.write_bytes(whole)
    assert Snapshot.newest(tmp_path)


@pytest.mark.parametrize(
    ("objective", "labels", "loss", "metric"),
    [
        ({}, np.zeros(2, np.int64), "cross-entropy", "accuracy"),
        ({"carry": {"hn": "h0"}}, np.zeros(2, np.int64), "cross-entropy", "perplexity"),
        ({}, np.zeros(2, np.float32), "mse", "mse"),
        ({"metric": "snr"}, np.zeros(2, np.float32), "mse", "snr"),
        ({}, None, "distill", None),
        ({"loss": "distill"}, np.zeros(2, np.int64), "distill", "accuracy"),
        ({"loss": "bce"}, np.zeros(2, np.float32), "bce", None),
    ],
)
def test_auto_is_decided_by_the_labels(objective, labels, loss, metric):
    batch = {"x": np.zeros(2)} | ({} if labels is None else {"labels": labels})
    found = resolve_objective(Objective(**objective), batch)
    assert (found.loss, found.metric) == (loss, metric)


@pytest.mark.parametrize(("shape", "loss"), [(("N", 1), "bce"), (("N",), "bce"), (("N", 2), "cross-entropy")])
def test_integers_of_one_score_each_are_no_classes(shape, loss):
    output = ir.Value(name="p", shape=ir.Shape(shape))
    found = resolve_objective(Objective(), {"x": np.zeros(2), "labels": np.zeros(2, np.int64)}, output)
    assert (found.loss, found.metric) == (loss, "accuracy")


def test_labels_that_are_needed_and_missing():
    with pytest.raises(DataError, match="the loss mse needs labels, but the data has no array 'labels'"):
        resolve_objective(Objective(loss="mse"), {"x": np.zeros(2)})


def test_without_labels_the_loss_decides_and_the_metric_is_for_the_check():
    found = resolve_objective(Objective(metric="accuracy"), {"x": np.zeros(2)})
    assert (found.loss, found.metric) == ("distill", None)


def test_what_cannot_be_trained_is_distorted_but_the_teacher_is_not(tmp_path):
    recipe, model = make_run_inputs(tmp_path, steps=4)
    run = create_run(tmp_path / "run", recipe, model, base=tmp_path)
    original = {name: v.const_value.numpy().copy() for name, v in run.load_model().graph.initializers.items()}
    made = []

    def make_engine(model, recipe, teacher):
        engine = FakeEngine(model)
        held = [None if m is None else m.graph.initializers["W"].const_value.numpy() for m in (model, teacher)]
        made.append(held)
        # The fake one reads all of its parameters, so what it cannot train is hidden only from the worker's first look.
        if len(made) == 1:
            del engine.parameters["W"]
        return engine

    methods = FakePlan(lambda parameters, at: distort({**original, **parameters}, at))
    tools = Tools(make_engine, lambda *_: methods, lambda name: Accuracy())
    assert work(run.folder, tools, should_stop=lambda: False)
    (first, no_teacher), (second, teacher) = made
    assert no_teacher is None
    assert np.array_equal(first, original["W"])
    assert not np.array_equal(second, original["W"])
    assert np.array_equal(teacher, original["W"])


def test_an_older_run_is_replaced_only_when_asked_and_never_another_folder(tmp_path):
    recipe, model = make_run_inputs(tmp_path, steps=4)
    first = create_run(tmp_path / "run", recipe, model, base=tmp_path)
    (first.folder / "metrics.jsonl").write_text("old")
    with pytest.raises(UsageError, match="exists already"):
        create_run(first.folder, recipe, model, base=tmp_path)
    assert not create_run(first.folder, recipe, model, base=tmp_path, replace=True).metrics.exists()
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match="exists already"):
        create_run(other, recipe, model, base=tmp_path, replace=True)
    assert (other / "thesis.txt").read_text() == "all of it"
