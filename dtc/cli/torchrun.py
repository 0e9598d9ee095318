"""torchrun starts a program once for each process that it wants; dtc starts its processes itself.

So one copy carries the command out, with as many processes as torchrun wanted, and the others end at once.
"""

from __future__ import annotations

import os
from typing import Any

from dtc.errors import UsageError


def is_spare_copy() -> bool:
    """True in a copy of this program that leaves the work to the first one."""
    return _wanted() > 1 and int(os.environ["RANK"]) > 0


def told_by_torchrun() -> dict[str, Any]:
    """Return the context settings of the command line: what `--processes` is where it is not given.

    Raises:
        UsageError: It started copies on other machines, too.
    """
    count = _wanted()
    if count < 2:
        return {}
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    if here < count:
        raise UsageError(f"torchrun: {here} of {count} processes are on this machine; dtc trains on one: --nnodes 1")
    processes = {"processes": count}
    return {"default_map": {"compress": processes, "models": {"train": processes}, "search": processes}}


def _wanted() -> int:
    """Return how many processes torchrun wanted; 1 without it: other programs set a part of its variables, too."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1
