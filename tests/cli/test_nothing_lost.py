"""What the command line refuses, and leaves as it was: strangers' files, starts that fail, ends that come early."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dtc import models
from dtc.errors import EngineError
from dtc.formatting import printable
from dtc.graph import only_writer, save_model

Dtc = Callable[..., tuple[int, str, str]]

SVD = ("--method", "svd", "--rank", "6", "--seconds", "0")

BATCHES = """
from pathlib import Path
Path({ran!r}).touch()
def batches(split="train"):
    import numpy as np
    yield {{"image": np.zeros((4, 1, 8, 8), np.float32)}}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-mlp", hidden=16), path)
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A stranger's recipe, whose data is code."""
    path = tmp_path / "theirs" / "recipe.yaml"
    path.parent.mkdir()
    (path.parent / "mine.py").write_text(BATCHES.format(ran=str(path.with_name("ran"))))
    path.write_text("rules:\n- method: svd\n  options: {rank: 6}\ndata: {train: 'mine.py:batches'}\n")
    return path


def test_the_code_of_a_recipe_file_runs_when_it_is_allowed(dtc: Dtc, model: Path, recipe: Path) -> None:
    ran = recipe.with_name("ran")
    status, _, err = dtc("compress", model, "--recipe", recipe, "--seconds", "0")
    assert status == 2
    assert f"{recipe}: names the Python function" in err
    assert "--allow-code" in err
    assert not ran.exists()
    status, _, err = dtc("compress", model, "--recipe", recipe, "--seconds", "0", "--allow-code")
    assert status == 0, err
    assert ran.exists()


def test_data_on_the_command_line_is_the_users_own_word(dtc: Dtc, model: Path, recipe: Path) -> None:
    mine = f"{recipe.with_name('mine.py')}:batches"
    status, _, err = dtc("compress", model, "--recipe", recipe, "--seconds", "0", "--data", mine)
    assert status == 0, err


def test_the_code_of_a_run_directory_runs_when_it_is_allowed(dtc: Dtc, model: Path, recipe: Path) -> None:
    run, output = recipe.with_name("run"), recipe.with_name("out.onnx")
    mine = f"{recipe.with_name('mine.py')}:batches"
    assert dtc("compress", model, *SVD, "--data", mine, "--run", run, "-o", output)[0] == 0
    output.unlink()
    status, _, err = dtc("compress", "--resume", run)
    assert status == 2
    assert "--allow-code" in err
    assert dtc("compress", "--resume", run, "--allow-code")[0] == 0
    assert output.is_file()


def test_a_run_directory_writes_beside_itself_alone(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "runs" / "run", tmp_path / "elsewhere.onnx"
    run.parent.mkdir()
    assert dtc("compress", model, *SVD, "--run", run, "-o", tmp_path / "runs" / "out.onnx")[0] == 0
    facts = json.loads((run / "job.json").read_text())
    (run / "job.json").write_text(json.dumps(facts | {"output": "../../elsewhere.onnx"}))
    elsewhere.write_bytes(b"precious")
    status, _, err = dtc("compress", "--resume", run, "--force")
    assert status == 2
    assert f"outside of the folder that the run lies in; if that is meant, say it again: -o {elsewhere}" in err
    assert elsewhere.read_bytes() == b"precious"
    assert dtc("compress", "--resume", run, "--force", "-o", elsewhere)[0] == 0
    assert elsewhere.read_bytes() != b"precious"


def test_weights_of_the_input_are_no_output(dtc: Dtc, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtc.graph.save.EXTERNAL_DATA_ABOVE", 0)
    save_model(models.build("digits-mlp", hidden=16), model, force=True)
    (data,) = model.parent.glob("*.data")
    before = data.read_bytes()
    status, _, err = dtc("compress", model, *SVD, "-o", data, "--force")
    assert status == 2
    assert "holds weights of the model itself" in err
    assert data.read_bytes() == before


def test_an_output_that_another_process_writes_is_left_to_it(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    with only_writer(tmp_path / "out.onnx"):
        status, _, err = dtc("compress", model, *SVD, "-o", tmp_path / "out.onnx", "--force")
    assert status == 2
    assert "another process is writing it" in err
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("option", ["--save-recipe"])
def test_other_files_that_are_written_are_regular_too(dtc: Dtc, model: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "folder").mkdir()
    status, _, err = dtc("compress", model, *SVD, option, tmp_path / "folder", "--force")
    assert status == 2
    assert "folder: is no regular file" in err


def test_a_failed_install_leaves_no_run(dtc: Dtc, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline() -> None:
        raise EngineError("no network")

    monkeypatch.setattr("dtc.training.engines.ort.install.install", offline)
    np.savez(tmp_path / "d.npz", image=np.zeros((64, 1, 8, 8), np.float32))
    before = sorted(tmp_path.iterdir())
    retrain = ("--retrain", "--engine", "ort", "--data", tmp_path / "d.npz", "--steps", "2")
    for _ in range(2):
        status, _, err = dtc("compress", model, *SVD, *retrain)
        assert (status, err) == (2, "dtc: error: no network\n")
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("python -m dtc inspect {model} >/dev/full", 2, "dtc: error: standard output"),
        ("python -m dtc inspect nothing.onnx 2>/dev/full", 2, ""),
        ("mkdir gone; cd gone; rmdir ../gone; python -m dtc compress ../m.onnx -m svd", 2, "the working directory is"),
    ],
)
def test_where_nothing_can_be_said_the_status_tells(
    model: Path, tmp_path: Path, command: str, status: int, said: str
) -> None:
    words = command.format(model=model).replace("python", sys.executable)
    ended = subprocess.run(["/bin/sh", "-c", words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == status
    assert said in ended.stderr
    assert ended.stderr.count("\n") == bool(said)


def test_a_report_that_cannot_be_written_leaves_nothing(
    dtc: Dtc, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = tmp_path / "run"
    assert dtc("compress", model, *SVD, "--run", run)[0] == 0
    before = sorted(run.iterdir())
    monkeypatch.setattr("dtc.report.files.Path.replace", full)
    status, _, err = dtc("report", run)
    assert status == 2
    assert "No space left on device" in err
    assert sorted(run.iterdir()) == before


@pytest.mark.parametrize("option", ["--report", "--dump"])
def test_a_folder_below_a_file_is_refused_before_the_work(dtc: Dtc, model: Path, tmp_path: Path, option: str) -> None:
    output = tmp_path / "out.onnx"
    status, _, err = dtc("compress", model, *SVD, "-o", output, option, model / "below")
    assert (status, output.exists()) == (2, False)
    assert f"{model}: is no folder; name one for the" in err


def test_names_that_are_no_markup_are_shown_as_they_are(dtc: Dtc, model: Path, tmp_path: Path) -> None:
    for name in ("[red]a[/b].onnx", "a#b?c%20.onnx", "\x1b[31m.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        status, out, err = dtc("compress", model, *SVD, "-o", tmp_path / name)
        assert (status, err) == (0, "")
        assert (tmp_path / name).is_file()
        assert out.rstrip().endswith(printable(f"written: {tmp_path / name}"))
    assert dtc("inspect", tmp_path / "[red]a[/b].onnx")[0] == 0
    unnameable = tmp_path / "\udcff.onnx"
    told = [dtc("compress", model, *SVD, "-o", unnameable), dtc("inspect", model.rename(unnameable))]
    assert [(status, "\\udcff.onnx: its name is not UTF-8" in err) for status, _, err in told] == [(2, True)] * 2


def test_names_that_a_terminal_obeys_are_escaped(dtc: Dtc, tmp_path: Path) -> None:
    model = models.build("digits-mlp", hidden=16)
    for number, node in enumerate(model.graph):
        node.name = f"\x1b[31m\x9b2J\u202e{number}"
    site = next(iter(model.graph.initializers.values()))
    model.graph.initializers.pop(site.name)
    site.name = "fc\x1b]0;title\x07"
    model.graph.initializers.add(site)
    path = tmp_path / "m.onnx"
    save_model(model, path)
    for command in (("inspect", path), ("inspect", path, "--json"), ("compress", path, *SVD, "--force", "--json")):
        status, out, err = dtc(*command)
        assert (status, err) == (0, "")
        assert [line for line in out.split("\n") if not line.isprintable()] == []
    status, _, err = dtc("compress", path, *SVD, "--include", "\x1b[2J")
    assert status == 2
    assert err.rstrip("\n").isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_that_ask_to_end_leave_nothing(model: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / "out"
    place.mkdir()
    # It sleeps between the dense model and the lowered one, when there is something to clean up.
    # Where the tests run without a terminal SIGHUP may be ignored, and who ignores it is not ended by it.
    code = f"import signal; signal.signal(signal.{name}, signal.SIG_DFL); import time"
    code += "; from dtc.passes.lower import accuracy; accuracy.set_accuracy_level = lambda *_: time.sleep(60)"
    code += "; import dtc.cli"
    command = [sys.executable, "-c", f"{code}; dtc.cli.main()", "compress", model, *SVD, "-o", place / "o.onnx"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(place)}) as process:
        for _ in range(3000):
            if list(place.glob(".dtc-*/files/distorted/o.onnx")):
                break
            time.sleep(0.02)
        process.send_signal(getattr(signal, name))
        said = process.communicate()[1]
    assert process.returncode == 128 + getattr(signal, name), said
    assert b"Traceback" not in said
    assert list(place.iterdir()) == []


def test_no_telemetry_is_kept(model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-m", "dtc", "compress", model, "-m", "svd", "--rank", "6", "--seconds", "0.1"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert list(home.iterdir()) == []
