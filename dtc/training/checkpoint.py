"""Folders of arrays and facts that appear whole or not at all, and know when they are damaged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dtc.data.npy import read_npz
from dtc.errors import DataError, TrainingError

Arrays = Mapping[str, npt.NDArray[np.generic]]

_ARRAYS, _FACTS = "arrays.npz", "facts.json"


@dataclass(frozen=True)
class Snapshot:
    """What a folder holds."""

    arrays: dict[str, npt.NDArray[np.generic]]
    facts: dict[str, Any]


def save_snapshot(folder: Path, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Write arrays and facts to `folder`, in place of what may be there.

    Raises:
        TrainingError: It cannot be written.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        # The names of parameters are data, not file names: the members are numbered.
        with (unfinished / _ARRAYS).open("wb") as file:
            numbered: dict[str, Any] = {f"{number}": array for number, array in enumerate(arrays.values())}
            np.savez(file, **numbered)
            os.fsync(file.fileno())
        body = {"names": list(arrays), "arrays": _sha256(unfinished / _ARRAYS), "facts": dict(facts)}
        with (unfinished / _FACTS).open("w", encoding="utf-8") as text:
            json.dump({"body": body, "sha256": _digest(body)}, text)
            text.flush()
            os.fsync(text.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written ({error.strerror}); free some space and resume") from error


def load_snapshot(folder: Path) -> Snapshot:
    """Read what `save_snapshot` wrote.

    Raises:
        TrainingError: Something is missing or has changed since.
    """
    try:
        whole = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        body = whole["body"]
        if whole["sha256"] != _digest(body) or body["arrays"] != _sha256(folder / _ARRAYS):
            raise TrainingError(f"{folder}: damaged (its checksum is wrong)")
        numbered = read_npz(folder / _ARRAYS) if body["names"] else {}
        return Snapshot({name: numbered[f"{n}"] for n, name in enumerate(body["names"])}, body["facts"])
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        raise TrainingError(f"{folder}: damaged ({error})") from error


def newest_snapshot(folder: Path) -> tuple[Snapshot | None, list[str]]:
    """Return the newest whole snapshot among the folders of `folder`, and what is wrong with newer ones."""
    complaints: list[str] = []
    for candidate in sorted(finished(folder), reverse=True):
        try:
            return load_snapshot(candidate), complaints
        except TrainingError as error:
            complaints.append(str(error))
    return None, complaints


def finished(folder: Path) -> list[Path]:
    """Return the snapshots in a folder, oldest first, without half-written ones."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir()) if folder.is_dir() else []


def drop_unfinished(folder: Path) -> None:
    """Remove what an interrupted `save_snapshot` left behind."""
    for path in folder.glob(".*.unfinished"):
        shutil.rmtree(path, ignore_errors=True)


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
