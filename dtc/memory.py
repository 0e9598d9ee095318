"""The memory that this process may still take: what the machine has free, and what its control groups leave of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_UNKNOWN = 1 << 62
"""Bytes where the system does not say."""

_ROOT = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Return the bytes that can be taken without swapping and without being killed for it."""
    return min(_of_machine(), *_of_groups())


def _of_machine() -> int:
    """Return what the kernel holds to be available (`MemAvailable`), or else what there is of memory in all."""
    try:
        return _field(Path("/proc/meminfo"), "MemAvailable:") * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        if sys.platform == "win32":
            return _UNKNOWN
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _of_groups() -> list[int]:
    """Return what each control group of this process leaves of its limit; one that is not known leaves all."""
    return [left for folder, limit, used in _groups() if (left := _left(folder, limit, used)) is not None] or [_UNKNOWN]


def _groups() -> Iterator[tuple[Path, str, str]]:
    """Yield the groups of this process, inner before outer, with the files of their limit and of what they hold."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        # "0::/user.slice/x" of version 2; "4:memory:/docker/x" of version 1, other controllers left out.
        number, controllers, place = (line.split(":", 2) + ["", ""])[:3]
        if number == "0" and not controllers:
            root, limit, used = _ROOT, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            root, limit, used = _ROOT / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        inner = root / place.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(root):
                yield folder, limit, used


def _left(folder: Path, limit: str, used: str) -> int | None:
    """Return the limit of a group less what it holds; pages of files count for nothing, as they can be given back."""
    try:
        allowed = (folder / limit).read_text(encoding="ascii").strip()
        if allowed == "max":
            return None
        held = int((folder / used).read_text(encoding="ascii"))
        files = sum(_field(folder / "memory.stat", name) for name in ("inactive_file", "active_file"))
        return max(0, int(allowed) - max(0, held - files))
    except (OSError, KeyError, ValueError):
        return None


def _field(path: Path, name: str) -> int:
    """Return the number behind a name in a file of lines; KeyError if there is no such line."""
    for line in path.read_text(encoding="ascii").splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1])
    raise KeyError(name)
