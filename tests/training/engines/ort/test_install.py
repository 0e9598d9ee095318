"""Where the private copy lies and how a failing pip is reported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from needed import lacking

from dtc.errors import EngineError
from dtc.training.engines.ort import install as engine


def test_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DTC_CACHE", str(tmp_path))
    assert engine.cache_folder() == tmp_path
    assert engine.installed() is None


def test_a_python_without_wheels_is_named(monkeypatch):
    monkeypatch.setattr(engine.sys, "version_info", (3, 13, 0))
    assert "3.13" in (engine.unavailable() or "")


def test_offline_says_how_to_install_from_a_file(monkeypatch, tmp_path):
    if reason := engine.unavailable():
        lacking(reason)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EngineError, match="PIP_FIND_LINKS"):
        engine.install(tmp_path)
    assert list(tmp_path.iterdir()) == []


# Stands in for pip: writes a package like the engine's, slowly, so that two installs overlap.
SLOW_PIP = """
import base64, hashlib, pathlib, sys, time
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1])
capi = target / "onnxruntime" / "capi"
capi.mkdir(parents=True)
(target / "half").write_text("half")
pathlib.Path(sys.argv[0]).with_name(f"started-{target.parent.parent.name}").touch()
time.sleep(1.0)
(capi / "_pybind_state.py").write_text("whole")
digest = base64.urlsafe_b64encode(hashlib.sha256(b"whole").digest()).rstrip(b"=").decode()
(target / "engine-1.dist-info").mkdir()
record = f"onnxruntime/capi/_pybind_state.py,sha256={digest},5" + chr(10) + "engine-1.dist-info/RECORD,,"
(target / "engine-1.dist-info" / "RECORD").write_text(record)
(target / "half").unlink()
"""


def start_install(folder: Path) -> subprocess.Popen[bytes]:
    """Install into `folder/cache` in a process whose `python -m pip` is the stand-in."""
    (folder / "pip.py").write_text(SLOW_PIP)
    code = (
        "import sys, pathlib\n"
        "from dtc.training.engines.ort.install import install\n"
        "print(install(pathlib.Path(sys.argv[1])))"
    )
    paths = os.pathsep.join([str(folder), *(path for path in sys.path if path), str(Path.cwd())])
    command = [sys.executable, "-c", code, str(folder / "cache")]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, cwd=folder)


def wait_for_pips(folder: Path, count: int) -> None:
    for _ in range(3000):
        if len(list(folder.glob("started-*"))) >= count:
            return
        time.sleep(0.01)
    pytest.fail("pip was not started")


def test_two_installs_at_once_leave_one_whole_copy(tmp_path):
    both = [start_install(tmp_path) for _ in range(2)]
    wait_for_pips(tmp_path, 2)
    said = [process.communicate()[0].decode().strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] == str(engine.installed(tmp_path / "cache"))
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [Path(said[0]).name]
    assert not (Path(said[0]) / "half").exists()


def test_a_killed_install_is_none_and_the_next_one_works(tmp_path):
    process = start_install(tmp_path)
    wait_for_pips(tmp_path, 1)
    process.kill()
    process.communicate()
    assert engine.installed(tmp_path / "cache") is None
    after = start_install(tmp_path)
    after.communicate()
    assert after.returncode == 0
    folder = engine.installed(tmp_path / "cache")
    assert folder is not None
    assert (folder / "onnxruntime" / "capi" / "_pybind_state.py").read_text() == "whole"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_a_damaged_copy_is_removed_and_installed_again(tmp_path):
    start_install(tmp_path).communicate()
    folder = engine.installed(tmp_path / "cache")
    assert folder is not None
    assert engine.remove_damaged(tmp_path / "cache") is None
    (folder / "onnxruntime" / "capi" / "_pybind_state.py").write_text("wh0le")
    assert "_pybind_state.py) and has been removed" in str(engine.remove_damaged(tmp_path / "cache"))
    assert engine.installed(tmp_path / "cache") is None
    start_install(tmp_path).communicate()
    assert engine.installed(tmp_path / "cache") == folder


def test_a_wheel_of_another_hash_is_not_installed(monkeypatch, tmp_path):
    if reason := engine.unavailable():
        lacking(reason)
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    name = f"onnxruntime_training_cpu-{engine.VERSION}"
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / f"{name}-{tag}-none-any.whl", "w") as wheel:
        wheel.writestr("onnxruntime/capi/_pybind_state.py", "evil")
        wheel.writestr(f"{name}.dist-info/METADATA", f"Name: onnxruntime-training-cpu\nVersion: {engine.VERSION}\n")
        wheel.writestr(f"{name}.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    with pytest.raises(EngineError, match="could not be installed"):
        engine.install(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
