"""The journal of a search on disk: a line for each evaluation, so that a search that was killed loses one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtc.errors import UsageError
from dtc.locking import try_lock

FILE = "journal.jsonl"


class EvaluationJournal:
    """What evaluations have found, by their keys; what is added is on the disk when `add` returns.

    Args:
        folder: Of the search.

    Raises:
        UsageError: Another process works in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / FILE).open("a+b")
        if not try_lock(self._file):
            raise UsageError(f"{folder}: another search works in this folder; wait for it, or choose another --folder")
        self._found: dict[str, Any] = {}
        self._file.seek(0)
        kept = 0
        for line in self._file:
            # A line that was cut off when the process was killed is the last one, and goes.
            try:
                facts = json.loads(line)
                self._found[facts["key"]] = facts["found"]
            except (ValueError, KeyError, TypeError):
                break
            kept += len(line)
        self._file.truncate(kept)

    def __enter__(self) -> EvaluationJournal:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, and with it let others have the folder."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._found)

    def find(self, key: str) -> Any | None:
        """Return what an evaluation has found; None if it was not made."""
        return self._found.get(key)

    def add(self, key: str, found: Mapping[str, Any]) -> None:
        """Keep what an evaluation has found."""
        self._found[key] = found
        self._file.write(json.dumps({"key": key, "found": found}).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
