"""`dtc search` on the digits: the same file by any number of workers and after a kill, goals kept or told as missed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from running import EAGER

from dtc import models
from dtc.graph import save_model
from dtc.search.candidate import between, closer, default_methods, worth_trying
from dtc.search.journal import FILE
from dtc.search.lab import Lab, Setting
from dtc.search.tasks import Task, outcome
from dtc.session import runner, session

Dtc = Callable[..., tuple[int, str, str]]

COUNT = 1200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows its labels, as these are its own answers, and the data with and without them."""
    place = tmp_path_factory.mktemp("search")
    save_model(models.build("digits-mlp", hidden=24), place / "m.onnx")
    images = np.random.default_rng(0).random((COUNT, 1, 8, 8), dtype=np.float32)
    np.savez(place / "plain.npz", image=images)
    run = runner(session(place / "m.onnx"))
    answers = next(iter(run({"image": images}).values())).argmax(axis=1)
    np.savez(place / "labelled.npz", image=images, labels=answers)
    return place


class Inline:
    """Runs tasks at once, in this process."""

    def __init__(self, setting: Setting) -> None:
        self._lab = Lab(setting)

    def submit(self, task: Task, /) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        future.set_result(outcome(task, self._lab))
        return future


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search without processes of its own."""

    @contextmanager
    def here(setting: Setting, workers: int) -> Iterator[Inline]:
        yield Inline(setting)

    monkeypatch.setattr(import_module("dtc.search.searching"), "local_processes", here)


def words(folder: Path, name: str, *more: object, data: str = "labelled.npz") -> tuple[object, ...]:
    told = ("--data", folder / data, "--methods", "uniform", "--seconds", "0", "--json")
    return ("search", folder / "m.onnx", "-o", folder / name, *told, *more)


def test_any_number_of_workers_and_a_kill_give_the_same_file(dtc: Dtc, folder: Path) -> None:
    goal = ("--max-drop", "0.05", "--exclude", "fc3*")
    status, out, err = dtc(*words(folder, "one.onnx", *goal, "--workers", "2"))
    assert status == 0, err
    first = json.loads(out)
    assert first["missed"] is None
    assert first["unseen_drop"] <= 0.05
    assert first["chosen"]["bytes"] == (folder / "one.onnx").stat().st_size < first["model_bytes"] / 2
    front = first["front"]
    assert [each["bytes"] for each in front] == sorted(each["bytes"] for each in front)
    assert [each["distance"] for each in front] == sorted((each["distance"] for each in front), reverse=True)
    # As a kill would have left it: a third of the lines, and the next one cut off.
    journal = folder / "one.dtc-search" / FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 3]) + lines[-1][:20])
    (folder / "one.onnx").rename(folder / "before.onnx")
    status, out, err = dtc(*words(folder, "one.onnx", *goal, "--workers", "1", "--memory", "1G"))
    assert status == 0, err
    assert json.loads(out) == first
    assert (folder / "one.onnx").read_bytes() == (folder / "before.onnx").read_bytes()
    # The recipe gives that file without a search.
    recipe, again = folder / "one.recipe.yaml", folder / "again.onnx"
    assert dtc("compress", folder / "m.onnx", "--recipe", recipe, "-o", again, "--seconds", "0")[0] == 0
    assert again.stat().st_size == (folder / "one.onnx").stat().st_size


@pytest.mark.usefixtures("inline")
def test_the_best_within_a_size(dtc: Dtc, folder: Path) -> None:
    told = words(folder, "size.onnx")
    status, out, err = dtc(*told, "--target-ratio", "2.5")
    assert status == 0, err
    found = json.loads(out)
    limit = (folder / "m.onnx").stat().st_size / 2.5
    assert 0.8 * limit < (folder / "size.onnx").stat().st_size <= limit
    told = (*(w for w in told if w != "--json"), "--report", folder / "page")
    status, out, err = dtc(*told, "--target-ratio", "2.5", "--force")
    assert status == 0, err
    assert f"{found['model_bytes'] / found['chosen']['bytes']:.2f}x smaller" in out.splitlines()[0]
    assert "size.recipe.yaml" in out
    # The page draws each file once, leads from its dot to its recipe, and has a row a site.
    page, report = ((folder / "page" / name).read_text() for name in ("report.html", "report.json"))
    assert json.loads(report)["search"] == json.loads(json.dumps(found))
    points = {(each["bytes"], each["words"]) for each in (found["chosen"], *found["front"], *found["uniform"])}
    assert page.count('<a href="#searched-') == len(points) == page.count('<pre id="searched-')
    saved = {each["name"]: each["before"] - each["after"] for each in found["sites"]}
    assert saved.keys() == {"fc1.weight", "fc2.weight", "fc3.weight"}
    assert sum(saved.values()) == pytest.approx(found["model_bytes"] - found["chosen"]["bytes"], rel=0.2)
    assert all(each["distance"] >= 0 for each in found["sites"])
    within = [each["distance"] for each in (*found["front"], *found["uniform"]) if each["bytes"] <= limit]
    assert found["chosen"]["distance"] == min(within)
    onnx.checker.check_model(str(folder / "size.onnx"))


@pytest.mark.usefixtures("inline")
def test_a_size_needs_no_data_and_a_promise_does(dtc: Dtc, folder: Path) -> None:
    told = ("search", folder / "m.onnx", "-o", folder / "free.onnx", "--methods", "uniform", "--seconds", "0")
    status, out, err = dtc(*told, "--target-ratio", "2.5", "--json")
    assert status == 0, err
    assert json.loads(out)["unseen"] == "16 generated inputs, as there is no data"
    status, _, err = dtc(*told, "--max-drop", "0.1", "--force")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "--max-drop is a promise about samples: give --data" in err


@pytest.mark.usefixtures("inline")
def test_a_stream_with_state_and_a_scalar_is_searched(dtc: Dtc, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 17]>
        g (float[N, 24] x, float[N, 24] state, float gain) => (float[N, 1] p, float[N, 24] next) {
            louder = Mul(x, gain)
            both = Concat<axis = 1>(louder, state)
            sum = MatMul(both, w)
            next = Tanh(sum)
            mean = ReduceMean<axes = [1], keepdims = 1>(next)
            p = Sigmoid(mean)
        }"""
    )
    weight = np.random.default_rng(0).normal(size=(48, 24)).astype(np.float32) / 9
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    steps = 256
    x = np.random.default_rng(1).normal(size=(steps, 24)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, gain=np.float32(1.5))
    told = (
        "search",
        tmp_path / "m.onnx",
        "--data",
        tmp_path / "d.npz",
        "--methods",
        "uniform",
        "--seconds",
        "0",
        "--json",
        "--held-out",
        "0.5",
        "--max-drop",
        "0.2",
    )
    status, _, err = dtc(*told)
    assert (status, "--carry next=state" in err) == (2, True)
    status, out, err = dtc(*told, "--carry", "next=state", "--force")
    assert status == 0, err
    found = json.loads(out)
    # Agreement of one probability a step, told by blocks of the stream.
    assert "agreement" in found["loss"]
    assert found["unseen_samples"] == 64
    assert found["chosen"]["bytes"] < found["model_bytes"]


@pytest.mark.usefixtures("inline")
def test_too_few_samples_keep_no_promise(dtc: Dtc, folder: Path) -> None:
    with np.load(folder / "labelled.npz") as data:
        np.savez(folder / "few.npz", **{name: array[:60] for name, array in data.items()})
    status, out, err = dtc(*words(folder, "few.onnx", "--max-drop", "0.05", "--include", "fc3*", data="few.npz"))
    assert status == 1
    found = json.loads(out)
    # Nine samples: one of them is more than the loss that is allowed.
    assert (found["unseen_samples"], found["unseen_drop"] <= 0.05 < found["unseen_error"]) == (9, True)
    assert "uncertain by 0.11, on unseen samples, 0.05 allowed; more samples tell it closer (--eval-data" in err
    assert not any(each["reaches"] for each in found["front"])


def test_pairs_and_huffman_codes_are_candidates_where_both_methods_declare_values() -> None:
    names = default_methods()
    assert {"svd+uniform", "prune+codebook"} <= set(names)
    assert not {"svd+prune", "prune+svd", "prune+bins"} & set(names)
    pairs = worth_trying(["svd+uniform"])
    assert [each.words for each in pairs[:2]] == [f"svd+uniform bits={bits} rank_ratio=0.25" for bits in (4, 6)]
    (plain,) = (each for each in worth_trying(["codebook"]) if each.words == "codebook block=1 codewords=16")
    assert [each.words for each in closer(plain)] == ["codebook block=1 codewords=16 huffman=True"]
    assert closer(closer(plain)[0]) == ()
    # A rate by itself is crossed with nothing, and single sites may have what lies between two of them.
    (even,) = (each for each in worth_trying(["codebook"]) if each.words == "codebook index_bits=3")
    assert closer(even) == between(plain) == ()
    assert [each.words for each in between(even)] == ["codebook index_bits=2.5", "codebook index_bits=3.5"]


@pytest.mark.usefixtures("inline")
def test_the_best_within_a_time(dtc: Dtc, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Times as the products tell them: no clock in a test.
    timing = import_module("dtc.search.lab")
    sizes = {"fc1.weight": 0.4, "fc2.weight": 0.4, "fc3.weight": 0.1}
    monkeypatch.setattr(timing, "site_shares", lambda *_: sizes)
    monkeypatch.setattr(timing, "latency_ratio", lambda _, path, *__: macs(path) / macs(folder / "m.onnx"))
    (folder / "eager.json").write_text(EAGER.model_dump_json())  # else so small a model has no factors
    told = tuple("svd" if word == "uniform" else word for word in words(folder, "fast.onnx"))
    status, out, err = dtc(*told, "--max-latency-ratio", "0.6", "--costs", folder / "eager.json")
    assert status == 0, err
    found = json.loads(out)
    assert found["latency"] == macs(folder / "fast.onnx") / macs(folder / "m.onnx") <= 0.6
    within = [each["distance"] for each in (*found["front"], *found["uniform"]) if each["latency"] <= 0.6]
    assert found["chosen"]["distance"] == min(within)
    assert [each["latency"] for each in found["front"]] == sorted(each["latency"] for each in found["front"])
    # Nothing that is decoded when a session loads is faster.
    status, _, err = dtc(*words(folder, "slow.onnx", "--lower", "standard"), "--max-latency-ratio", "0.6")
    assert status == 1
    assert "no candidate is expected to be faster" in err


@pytest.mark.usefixtures("inline")
def test_integers_are_expected_to_be_faster_and_their_files_have_them(
    dtc: Dtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = import_module("dtc.search.lab")
    save_model(models.build("digits-cnn", hidden=32), tmp_path / "c.onnx")
    np.savez(tmp_path / "d.npz", image=np.random.default_rng(0).random((300, 1, 8, 8), dtype=np.float32))
    monkeypatch.setattr(timing, "site_shares", lambda _, sites, *__: {site.name: 1 / len(sites) for site in sites})
    monkeypatch.setattr(timing, "latency_ratio", lambda _, path, *__: 1 - 0.1 * len(quantizers(path)))
    told = ("--methods", "int8", "--max-latency-ratio", "0.9", "--data", tmp_path / "d.npz", "--seconds", "0", "--json")
    status, out, err = dtc("search", tmp_path / "c.onnx", "-o", tmp_path / "o.onnx", *told)
    assert status == 0, err
    assert quantizers(tmp_path / "o.onnx")
    assert json.loads(out)["chosen"]["latency"] == 1 - 0.1 * len(quantizers(tmp_path / "o.onnx"))


def quantizers(path: Path) -> list[str]:
    """Return what is rounded."""
    return [node.input[0] for node in onnx.load(path).graph.node if node.op_type == "QuantizeLinear"]


def macs(path: Path) -> int:
    """Return the multiplications of a row: a weight each."""
    return sum(int(np.prod(each.dims)) for each in onnx.load(path).graph.initializer if len(each.dims) == 2)


@pytest.mark.usefixtures("inline")
def test_a_goal_out_of_reach_gives_the_nearest_and_status_1(dtc: Dtc, folder: Path) -> None:
    status, out, err = dtc(*words(folder, "small.onnx", "--target-size", "100"))
    assert status == 1
    assert "the nearest to the goal has" in err
    found = json.loads(out)
    assert found["chosen"]["bytes"] == (folder / "small.onnx").stat().st_size
    assert found["chosen"]["bytes"] == min(each["bytes"] for each in found["front"])
    # Who watches is told before the work.
    told = words(folder, "far.onnx", "--target-size", "100", "--folder", folder / "small.dtc-search")
    status, _, err = dtc(*(each for each in told if each != "--json"))
    assert (status, "no file of 100 B will be found: " in err) == (1, True)


@pytest.mark.usefixtures("inline")
def test_without_labels_outputs_are_held_to_the_originals(dtc: Dtc, folder: Path) -> None:
    status, out, err = dtc(*words(folder, "plain.onnx", "--max-drop", "0.1", data="plain.npz"))
    assert status == 0, err
    found = json.loads(out)
    assert found["loss"] == "relative L2 of the outputs (no labels)"
    assert 0 < found["unseen_drop"] <= 0.1
    agreeing = ("--max-drop", "0.1", "--metric", "accuracy", "--exclude", "fc1*")
    status, out, err = dtc(*words(folder, "agree.onnx", *agreeing, data="plain.npz"))
    assert status == 0, err
    assert "agreement with the original's own answers" in json.loads(out)["loss"]
    assert not any(site.startswith("fc1") for site in json.loads(out)["chosen"]["sites"])


@pytest.mark.usefixtures("inline")
def test_the_shortest_form_is_a_compression(dtc: Dtc, folder: Path) -> None:
    told = ("compress", folder / "m.onnx", "--method", "auto", "--data", folder / "labelled.npz", "--seconds", "0")
    limited = ("--exclude", "fc1*", "--exclude", "fc2*", "--max-drop", "0.1", "--save-recipe", folder / "auto.yaml")
    status, out, err = dtc(*told, *limited)
    assert status == 0, err
    assert "ratios: sites" in out
    assert (folder / "m.auto.onnx").stat().st_size < (folder / "m.onnx").stat().st_size
    assert "rules:" in (folder / "auto.yaml").read_text()
    status, _, err = dtc(*told, "--bits", "2")
    assert status == 2
    assert "--bits does not go with --method auto" in err
    status, _, err = dtc("compress", folder / "m.onnx", "--method", "auto")
    assert status == 2
    assert "--method auto keeps a promise about samples: give --data" in err


@pytest.mark.usefixtures("inline")
def test_a_folder_belongs_to_one_search(dtc: Dtc, folder: Path) -> None:
    told = words(folder, "own.onnx", "--max-drop", "0.05", "--time", "0.01s")
    status, _, err = dtc(*told)
    assert status == 1
    assert "the same command goes on from there, or give it more --time" in err
    _, _, err = dtc(*told, "--seed", "1")
    assert "holds a search with another recipe" in err
    (folder / "strange").mkdir()
    (folder / "strange" / "file").touch()
    _, _, err = dtc(*told, "--folder", folder / "strange")
    assert "is no folder of a search" in err


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ((), "--target-size 500kB, --target-ratio 8 and --max-latency-ratio 0.7"),
        (("--max-drop", "0.1", "--target-ratio", "3"), "by one of --max-drop"),
        (("--max-drop", "much"), "--max-drop much: write a number"),
        (("--target-size", "5 apples"), "--target-size 5 apples: write a size"),
        (("--max-drop", "1%", "--time", "soon"), "--time soon: write a time"),
        (("--max-drop", "1%", "--methods", "magic"), "no method is called 'magic'"),
        (("--max-drop", "1%", "--include", "nothing"), "--include nothing leaves no site"),
        (("--max-drop", "1%", "--distort-every", "8"), "--distort-every is for retraining; add --retrain EPOCHS"),
        (("--max-drop", "1%", "--ray", "auto", "--force"), "--ray needs the package ray: pip install 'dtc[ray]'"),
    ],
)
def test_mistakes_are_told_in_a_line(
    dtc: Dtc, folder: Path, monkeypatch: pytest.MonkeyPatch, told: tuple[str, ...], said: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    status, _, err = dtc(*words(folder, "wrong.onnx", *told))
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("inline")
def test_what_was_retrained_is_written_where_it_is_the_best(
    dtc: Dtc, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("dtc.search.polishing"), "POLISHED", 1)
    told = words(folder, "polished.onnx", "--target-ratio", "2.5", "--retrain", "4", "--distort-every", "8")
    status, out, err = dtc(*told)
    assert status == 0, err
    found = json.loads(out)
    (retrained,) = found["retrained"]
    plain = next(each for each in found["front"] if each["sites"] == retrained["sites"] and not each["retrained"])
    assert found["chosen"] == (retrained if retrained["drop"] < plain["drop"] else found["chosen"])
    # Killed before it could tell of the retraining: the run directory has it, and the file is the same.
    before = (folder / "polished.onnx").read_bytes()
    journal = folder / "polished.dtc-search" / FILE
    lines = [line for line in journal.read_bytes().splitlines(keepends=True) if b"retrained" not in line]
    journal.write_bytes(b"".join(lines))
    (folder / "polished.onnx").unlink()
    status, out, err = dtc(*told)
    assert status == 0, err
    assert json.loads(out) == found
    assert (folder / "polished.onnx").read_bytes() == before
