"""Runs scripts of cases one after the other in the process of an engine, which is loaded once for all of them.

Reads a line for each, a JSON list of the script and its arguments, and answers with a line, what the script printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import warnings

from dtc.late_imports import LateImports


def main() -> None:
    LateImports().install()
    # Answers go to a copy of the standard output: what libraries print is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        script, *sys.argv[1:] = json.loads(line)
        sys.argv[0], said = script, io.StringIO()
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            runpy.run_path(script, run_name="__main__")
        answers.write(said.getvalue() + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
