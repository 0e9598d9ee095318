"""Compresses with the `dtc` that PYTHONPATH leads to; `compare_versions.py` starts one a version.

Reads cases as JSON lines from standard input, runs the command line of each in this process, so that imports are not
in its time, and answers with one JSON line a case. Nothing but the command line is used: it is what two versions share.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from typing import Any

from dtc.cli import main

ROUNDING = re.compile(r"written file against the distorted dense model.*: at most (\S+) relative L2")


def compress(words: list[str]) -> dict[str, Any]:
    """Return what one command line took and said: seconds on the clock and of the processor, and an error.

    `rounding` is the largest relative L2 of the written file's outputs from the distorted dense model's.
    """
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
    found = ROUNDING.search(printed.getvalue())
    return taken | ({"rounding": float(found.group(1))} if found else {})


if __name__ == "__main__":
    answers = sys.stdout
    for line in sys.stdin:
        answers.write(json.dumps(compress(json.loads(line))) + "\n")
        answers.flush()
