"""The private copy of onnxruntime-training: its folder and its installation."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from dtc.errors import EngineError

VERSION = "1.19.2"
REQUIREMENT = f"onnxruntime-training-cpu=={VERSION}"
_NEWEST_PYTHON = (3, 12)


def cache_folder() -> Path:
    """Return the folder that dtc keeps downloads in: DTC_CACHE, else the user's cache directory."""
    if chosen := os.environ.get("DTC_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "dtc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtc"


def unavailable() -> str | None:
    """Return in one line why the engine cannot run on this machine; None if it can."""
    if sys.version_info[:2] > _NEWEST_PYTHON:
        found = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return f"onnxruntime-training {VERSION} exists for Python up to 3.12, this is {found}; use Python 3.11 or 3.12"
    if sys.platform == "linux" and platform.machine() not in ("x86_64", "AMD64"):
        return f"onnxruntime-training {VERSION} does not exist for Linux on {platform.machine()}; retrain on x86-64"
    return None


def installed(cache: Path | None = None) -> Path | None:
    """Return the folder to put first on `sys.path`, or None if the engine is not installed."""
    folder = _folder(cache)
    return folder if (folder / "onnxruntime" / "capi" / "_pybind_state.py").is_file() else None


def install(cache: Path | None = None) -> Path:
    """Install the engine unless it is there, and return the folder to put first on `sys.path`.

    pip writes beside the final folder, which then appears by one rename: a process that is killed, or a second
    one at the same time, leaves a whole installation or none.

    Raises:
        EngineError: There is no engine for this machine, pip is missing, or pip failed (no network, no space).
    """
    if found := installed(cache):
        return found
    if reason := unavailable():
        raise EngineError(reason)
    folder = _folder(cache)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            staged = Path(scratch) / folder.name
            _pip_install(staged)
            _publish(staged, folder)
    except OSError as error:
        raise EngineError(f"{folder}: cannot be written ({error.strerror}); set DTC_CACHE to another folder") from error
    return folder


def _folder(cache: Path | None) -> Path:
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    return (cache or cache_folder()) / f"onnxruntime-training-{VERSION}-{python}"


def _pip_install(target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    # Without dependencies: NumPy and protobuf are those of dtc's own environment, which comes behind this folder on the
    # path.
    command += ["--no-deps", "--only-binary", ":all:", "--target", str(target), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    # pip's last line is often advice; the line with the error, or that pip itself is missing, says more.
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    reason = next((line for line in lines if "ERROR" in line or "No module" in line), lines[-1] if lines else "")
    raise EngineError(
        f"{REQUIREMENT} could not be installed ({reason.strip()[:160]}); without a network, put its wheel file into a "
        "folder and set PIP_NO_INDEX=1 PIP_FIND_LINKS=<that folder>"
    )


def _publish(staged: Path, folder: Path) -> None:
    try:
        staged.rename(folder)
    except OSError:
        if not (folder / "onnxruntime").is_dir():  # otherwise another process was first: its copy is as good
            raise
