"""The private copy of onnxruntime-training: its folder and its installation."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dtc.errors import EngineError
from dtc.scratch import scratch_folder

VERSION = "1.19.2"
REQUIREMENT = f"onnxruntime-training-cpu=={VERSION}"
WHEELS = (
    "9b3cde497eb76af75ecae2eb2a4e3a8b2477da0b833315a3d5e2c63f0dc8d5d6",  # cp311, Linux x86-64
    "4c8d4806c5070dc6c175e1a968e45d948588edbfe590b5ef9d42d3511d80e220",  # cp312, Linux x86-64
    "ca021bfb7d087ec2f9b689825d4c24cd75082c0c8eb61c7fb5b178ed1977cbdc",  # cp311, macOS
    "29ce7b60bd9d20efc054cf6cf02608360e074ad437945985050d667874903840",  # cp312, macOS
    "e84887e098f4dff9a39926f8fe9d44bd59d0804c77b08a072d686264fea10889",  # cp311, Windows x86-64
    "b13775b3e4820f47ef24ee36b5b820cb04890a59c07d884eed0f3e4008d5c66f",  # cp312, Windows x86-64
)
"""SHA-256 of the wheels of this version: pip takes no other, whichever index it asks."""
_NEWEST_PYTHON = (3, 12)
_ELSE = "install PyTorch, for the engine torch: pip install 'dtc[torch]'"


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
        return f"onnxruntime-training {VERSION} exists for Python up to 3.12, this is {found}"
    if sys.platform == "linux" and platform.machine() not in ("x86_64", "AMD64"):
        return f"onnxruntime-training {VERSION} does not exist for Linux on {platform.machine()}"
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
        raise EngineError(f"{reason}; {_ELSE}")
    folder = _folder(cache)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder.parent) as scratch:
            staged = scratch / folder.name
            _pip_install(staged)
            if damaged := next(_damaged_files(staged), None):
                raise EngineError(f"{REQUIREMENT} was not installed whole ({damaged}); is the disk full? Try again")
            _publish(staged, folder)
    except OSError as error:
        raise EngineError(f"{folder}: cannot be written ({error.strerror}); set DTC_CACHE to another folder") from error
    return folder


def remove_damaged(cache: Path | None = None) -> str | None:
    """Hold every file of the private copy to its recorded hash, and remove the copy where one differs.

    Returns what was wrong, in one line; None where the copy is whole, or there is none.
    """
    folder = installed(cache)
    damaged = None if folder is None else next(_damaged_files(folder), None)
    if folder is None or damaged is None:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return f"the copy of onnxruntime-training in {folder} was damaged ({damaged}) and has been removed"


def _damaged_files(folder: Path) -> Iterator[str]:
    """Yield the files of an installation that are not what its RECORD says; RECORD itself where there is none."""
    record = next(folder.glob("*.dist-info/RECORD"), None)
    if record is None:
        yield "RECORD is missing"
        return
    with record.open(encoding="utf-8", newline="") as lines:
        for name, digest, _ in csv.reader(lines):
            if digest and ".." not in Path(name).parts and _sha256(folder / name) != digest:
                yield name


def _sha256(path: Path) -> str:
    """Return the hash of a file as RECORD writes it: `sha256=` and URL-safe base64 without padding."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return ""
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _folder(cache: Path | None) -> Path:
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    return (cache or cache_folder()) / f"onnxruntime-training-{VERSION}-{python}"


def _pip_install(target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    # Without dependencies: NumPy and protobuf are those of dtc's own environment, which comes behind this folder on the
    # path.
    pinned = target.with_name("requirements.txt")
    pinned.write_text(" ".join([REQUIREMENT, *(f"--hash=sha256:{wheel}" for wheel in WHEELS)]), encoding="utf-8")
    command += ["--no-deps", "--only-binary", ":all:", "--target", str(target)]
    command += ["--require-hashes", "--requirement", str(pinned)]
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
