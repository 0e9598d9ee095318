"""Folders of arrays and facts that appear whole or not at all, with checksums that reveal damage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from dtc.data.npy import read_npz
from dtc.errors import DataError, TrainingError
from dtc.forms import AnyArray

_ARRAYS, _FACTS = "arrays.npz", "facts.json"


@dataclass(frozen=True)
class Snapshot:
    """The content of a snapshot folder, in memory; loading changes no file.

    Attributes:
        arrays: By name, of any dtype and shape.
        facts: What JSON can hold.
        complaints: What is wrong with newer snapshots, which were passed over.
    """

    arrays: Mapping[str, AnyArray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """False where there was no snapshot."""
        return bool(self.facts)

    def below(self, prefix: str) -> dict[str, AnyArray]:
        """Return the arrays `<prefix>/<name>`, by name."""
        start = f"{prefix}/"
        return {name.removeprefix(start): array for name, array in self.arrays.items() if name.startswith(start)}

    def save(self, folder: Path) -> None:
        """Write arrays and facts to `folder`, in place of what may be there.

        Raises:
            TrainingError: The folder cannot be written.
        """
        unfinished = folder.with_name(f".{folder.name}.unfinished")
        try:
            # 1. All is written to a folder beside the place, whose name no reader looks for.
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            # The names of parameters are data, not file names: the members are numbered.
            with (unfinished / _ARRAYS).open("wb") as file:
                numbered: dict[str, Any] = {f"{number}": array for number, array in enumerate(self.arrays.values())}
                np.savez(file, **numbered)
                os.fsync(file.fileno())
            # 2. The facts after the arrays, because the facts hold the hash of the arrays; the hash of the facts stands
            #    beside them in the same file. So damage of either file is found.
            body = {"names": list(self.arrays), "arrays": _sha256(unfinished / _ARRAYS), "facts": dict(self.facts)}
            with (unfinished / _FACTS).open("w", encoding="utf-8") as text:
                json.dump({"body": body, "sha256": _digest(body)}, text)
                text.flush()
                os.fsync(text.fileno())
            # 3. One rename makes the snapshot. An older one of that name is of the same step, tried before; should the
            #    process die between the two lines, `newest` finds the snapshot before it.
            if folder.exists():
                shutil.rmtree(folder)
            unfinished.rename(folder)
        except OSError as error:
            reason = f"cannot be written ({error.strerror}); free some space and resume"
            raise TrainingError(f"{folder}: {reason}") from error

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the snapshot that `save` wrote to `folder`.

        Raises:
            TrainingError: A file is missing, or has changed since.
        """
        try:
            whole = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            body = whole["body"]
            # `body` holds the hash of the arrays, so one comparison each covers all: facts, names, arrays.
            if whole["sha256"] != _digest(body) or body["arrays"] != _sha256(folder / _ARRAYS):
                raise TrainingError(f"{folder}: damaged (its checksum is wrong)")
            # `read_npz` refuses an archive that holds no array, and a snapshot may hold none.
            numbered = read_npz(folder / _ARRAYS) if body["names"] else {}
            return cls({name: numbered[f"{n}"] for n, name in enumerate(body["names"])}, body["facts"])
        except (OSError, ValueError, KeyError, TypeError, DataError) as error:
            raise TrainingError(f"{folder}: damaged ({error})") from error

    @classmethod
    def newest(cls, folder: Path) -> Self:
        """Return the newest whole snapshot among the folders of `folder`; an empty one where there is none."""
        complaints: list[str] = []
        # From the newest backwards to the first that is whole. Damage is told, not raised: the run goes on from an
        # older one.
        for candidate in reversed(finished(folder)):
            try:
                found = cls.load(candidate)
            except TrainingError as error:
                complaints.append(str(error))
            else:
                return cls(found.arrays, found.facts, tuple(complaints))
        return cls(complaints=tuple(complaints))


def load_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of a snapshot without its arrays.

    Raises:
        TrainingError: The file of facts is missing or damaged.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))["body"]["facts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder}: damaged ({error})") from error
    return facts


def finished(folder: Path) -> list[Path]:
    """Return the snapshots in a folder, oldest first, without half-written ones."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir()) if folder.is_dir() else []


def drop_unfinished(folder: Path) -> None:
    """Remove the unfinished folders that an interrupted `save` left behind."""
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
