"""Compresses with the `dtc` that PYTHONPATH leads to; `compare_versions.py` starts one a version.

Reads cases as JSON lines from standard input, runs the command line of each in this process, so that imports are not
in its time, and answers with one JSON line a case. Nothing but the command line is used: it is what two versions share.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from typing import Any

from dtc.cli import main


def compress(words: list[str]) -> dict[str, Any]:
    """Return what one command line printed: its JSON, or its error; seconds on the clock and of the processor."""
    sys.argv = ["dtc", *words]
    printed, complaint = io.StringIO(), io.StringIO()
    status: object = 0
    start, busy = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaint):
        try:
            main()
        except SystemExit as stop:
            status = stop.code
    taken = {"seconds": time.perf_counter() - start, "processor": time.process_time() - busy}
    if status:
        return taken | {"error": complaint.getvalue().strip() or f"exit status {status}"}
    return taken | distances(json.loads(printed.getvalue()))


def distances(result: dict[str, Any]) -> dict[str, float]:
    """Return the largest relative L2 of the written file's outputs: from the distorted dense model, and the original.

    A version prints the checks themselves (`faithful`, `outcome`) or a report (`check`).
    """
    if "check" in result:
        return {"rounding": result["check"]["rounding"] or 0.0, "distance": _worst(result["check"]["outputs"])}
    return {
        "rounding": _worst(result["faithful"]["differences"]),
        "distance": _worst(result["outcome"]["differences"]),
    }


def _worst(outputs: list[dict[str, Any]]) -> float:
    return max((each["relative_l2"] or 0.0 for each in outputs), default=0.0)


if __name__ == "__main__":
    answers = sys.stdout
    for line in sys.stdin:
        answers.write(json.dumps(compress(json.loads(line))) + "\n")
        answers.flush()
