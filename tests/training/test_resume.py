"""A run that is killed at any moment and resumed is the run that was never killed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_engine import make_run_inputs

from dtc.errors import EngineError, Interrupted, TrainingError
from dtc.training.command import python_command
from dtc.training.events import DistortedWeights, Finished, Noted, Started, Stepped
from dtc.training.launch import train
from dtc.training.run import create_run, open_run
from dtc.training.snapshot import Snapshot, finished

HERE = Path(__file__).parent


def worker(**environment):
    command = python_command("fake_worker", first_on_path=[HERE])
    return type(command)(command.arguments, {**command.environment, **environment})


def start(run: Path, **environment) -> subprocess.Popen:
    command = worker(**environment)
    return subprocess.Popen([*command.arguments, str(run)], env=dict(command.environment), stderr=subprocess.DEVNULL)


def content(run: Path) -> dict[str, str]:
    """Everything that must be the same, bit for bit."""
    last = Snapshot.load(finished(run / "checkpoints")[-1])
    best = Snapshot.load(finished(run / "best")[-1])
    hashed = {"metrics": hashlib.sha256((run / "metrics.jsonl").read_bytes()).hexdigest()}
    for prefix, snapshot in (("last/", last), ("best/", best)):
        for name, array in snapshot.arrays.items():
            hashed[prefix + name] = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return hashed


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    recipe, model = make_run_inputs(folder)
    create_run(folder / "run", recipe, model, base=folder)
    assert start(folder / "run").wait() == 0
    return content(folder / "run")


@pytest.fixture
def new_run(tmp_path):
    recipe, model = make_run_inputs(tmp_path)
    return create_run(tmp_path / "run", recipe, model, base=tmp_path).folder


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_and_resumed_is_the_same_run(new_run, uninterrupted, seed):
    dice = random.Random(seed)
    kills, metrics = 0, new_run / "metrics.jsonl"
    while kills < 3:
        process = start(new_run, FAKE_PAUSE="0.004")
        seen = metrics.stat().st_size if metrics.exists() else 0
        target = seen + dice.randrange(0, 2000)
        while process.poll() is None and (not metrics.exists() or metrics.stat().st_size < target):
            time.sleep(0.001)
            if metrics.exists() and metrics.stat().st_size < seen:  # it went back to its checkpoint
                seen = metrics.stat().st_size
                target = seen + dice.randrange(0, 2000)
        time.sleep(dice.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert start(new_run).wait() == 0
    assert content(new_run) == uninterrupted


def test_a_moved_run_goes_on_where_it_was(new_run, uninterrupted, tmp_path):
    process = start(new_run, FAKE_PAUSE="0.01")
    while not finished(new_run / "checkpoints") and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 3
    elsewhere = tmp_path / "elsewhere" / "moved"
    elsewhere.parent.mkdir()
    new_run.rename(elsewhere)
    (tmp_path / "data.npz").unlink()
    (tmp_path / "model.onnx").unlink()
    assert start(elsewhere).wait() == 0
    assert content(elsewhere) == uninterrupted


@pytest.mark.parametrize("damage", ["arrays.npz", "facts.json"])
def test_a_damaged_checkpoint_is_passed_over_and_said_so(new_run, damage):
    process = start(new_run, FAKE_PAUSE="0.01")
    while len(finished(new_run / "checkpoints")) < 2 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.wait()
    older, newer = finished(new_run / "checkpoints")
    whole = (newer / damage).read_bytes()
    (newer / damage).write_bytes(whole[: len(whole) // 2] + b"\x00" + whole[len(whole) // 2 + 1 :])
    events = []
    result = train(new_run, on_event=events.append, command=worker())
    (note,) = [event for event in events if isinstance(event, Noted)]
    assert newer.name in note.text
    assert f"going on from step {int(older.name)}" in note.text
    steps = [event.step for event in events if isinstance(event, Stepped)]
    assert steps == list(range(int(older.name) + 1, result.step + 1))


def test_the_parent_follows_every_event_and_gets_the_result(new_run, uninterrupted):
    events = []
    result = train(new_run, on_event=events.append, command=worker())
    samples = "samples 86 to 95 of 96 in data.npz (held out of --data)"
    skipped = {"V": "no rule of the recipe matches it"}
    assert events[0] == Started(60, 6 * 12 + 12 * 12 + 12 * 3, {}, skipped, evaluated_on=samples)
    assert isinstance(events[-1], Finished)
    assert [event.step for event in events if isinstance(event, Stepped)] == list(range(1, 61))
    assert sum(isinstance(event, DistortedWeights) for event in events) == 9
    assert result.step == 60
    assert 0 < result.distortion_share < 1
    parameters, forms, skipped = result.load()
    assert np.array_equal(parameters["W"], forms["W"][0].dense().T)
    assert np.array_equal(parameters["U"], forms["U"][0].dense().T)
    assert skipped == {"V": "no rule of the recipe matches it"}
    assert content(new_run) == uninterrupted


def test_a_finished_run_gives_its_result_again(new_run, uninterrupted):
    first = train(new_run, command=worker())
    again = train(new_run, command=worker())
    assert (again.best_step, again.score) == (first.best_step, first.score)
    assert again.seconds["step"] == first.seconds["step"]  # nothing was trained again
    assert content(new_run) == uninterrupted


def test_ctrl_c_leaves_a_run_that_goes_on(new_run, uninterrupted):
    def interrupt(event):
        if isinstance(event, DistortedWeights):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        train(new_run, on_event=interrupt, command=worker(FAKE_PAUSE="0.01"))
    assert stopped.value.run == new_run
    assert finished(new_run / "checkpoints")
    resumed = []
    train(new_run, on_event=resumed.append, command=worker())
    assert isinstance(resumed[0], Started)
    assert resumed[1].step > 7
    assert content(new_run) == uninterrupted


def test_the_worker_ends_after_a_checkpoint_when_its_parent_dies(new_run, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(new_run)],
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent.parent}", "FAKE_PAUSE": "0.02"},
    )
    while not (new_run / "metrics.jsonl").exists() or (new_run / "metrics.jsonl").stat().st_size < 600:
        time.sleep(0.005)
    parent.kill()
    parent.wait()
    wait_for_lock(new_run)
    steps = int(finished(new_run / "checkpoints")[-1].name)
    assert 0 < steps < 60
    assert steps == sum('"event": "step"' in line for line in (new_run / "metrics.jsonl").read_text().splitlines())


PARENT = """
import sys, pathlib, test_resume
from dtc.training.launch import train
train(pathlib.Path(sys.argv[1]), command=test_resume.worker())
"""


def wait_for_lock(run: Path) -> None:
    from dtc.training.lock import only_worker

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with only_worker(run):
                return
        except TrainingError:
            time.sleep(0.02)
    pytest.fail("the worker outlived its parent")


def test_the_workers_linear_algebra_keeps_to_one_thread(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    assert python_command("m", first_on_path=[]).environment["OPENBLAS_NUM_THREADS"] == "1"


def test_two_workers_never_share_a_run(new_run):
    first = start(new_run, FAKE_PAUSE="0.3")
    while not (new_run / "metrics.jsonl").exists():
        time.sleep(0.005)
    with pytest.raises(TrainingError, match="another process is working on this run"):
        train(new_run, command=worker())
    first.kill()
    first.wait()


def test_an_error_of_the_worker_is_the_same_error_in_the_parent(new_run):
    with pytest.raises(EngineError, match=r"^the fake engine is broken$"):
        train(new_run, command=worker(FAKE_ERROR="engine"))


def test_a_bug_in_the_worker_is_told_with_where_to_look(new_run):
    with pytest.raises(TrainingError, match=r"ValueError: the fake engine is broken.*worker\.log"):
        train(new_run, command=worker(FAKE_ERROR="bug"))
    assert "Traceback" in (new_run / "worker.log").read_text()


def test_a_worker_that_is_killed_is_told_and_the_run_goes_on(new_run, uninterrupted):
    def kill(event):
        if isinstance(event, Stepped) and event.step == 20:
            holder = (new_run / "pid").read_text()
            os.kill(int(holder), signal.SIGKILL)

    command = worker(FAKE_PAUSE="0.01")
    told = f"import os, sys; open({str(new_run / 'pid')!r}, 'w').write(str(os.getpid())); "
    told += f"os.execv({sys.executable!r}, {list(command.arguments)!r} + sys.argv[1:])"
    shell = type(command)((sys.executable, "-c", told), command.environment)
    with pytest.raises(TrainingError, match="killed by signal 9; resume"):
        train(new_run, on_event=kill, command=shell)
    train(new_run, command=worker())
    assert content(new_run) == uninterrupted


def test_an_open_run_is_whole(new_run):
    assert open_run(new_run).recipe.training.steps == 60
