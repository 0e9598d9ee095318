"""A node that is wrong in any way is refused by a status that says what is wrong: nothing crashes.

The models run in processes of their own: what would kill one is a failed test here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hostile_cases import hostile_cases
from native_cases import Case, without_function

from dtc.deploy.ops.library import library_path

CASES = hostile_cases()

WORKER = """
import json, pathlib, sys
import numpy as np, onnxruntime as ort
folder, first, last, library = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 4
options.register_custom_ops_library(library)
quiet = ort.RunOptions()
quiet.log_severity_level = 4
for number in range(int(first), int(last)):
    print(number, end=" ", flush=True)
    stage = "session"
    try:
        session = ort.InferenceSession(f"{folder}/{number}.onnx", options, providers=["CPUExecutionProvider"])
        stage = "run"
        feeds = dict(np.load(f"{folder}/{number}.npz", allow_pickle=True))
        shapes = [list(array.shape) for array in session.run(None, feeds, quiet)]
        print(json.dumps(["accepted", str(shapes)]), flush=True)
    except Exception as error:
        print(json.dumps([stage, str(error)]), flush=True)
"""


def outcomes(cases: list[Case], folder: Path, *, held: bool) -> list[tuple[str, str]]:
    """Return, of each case, where it ended and what was said; a process that dies is started again behind the case."""
    library = library_path()
    assert library is not None, "the native library of the operators is not built"
    for number, case in enumerate(cases):
        ir.save(without_function(case, constant=None if held else []), folder / f"{number}.onnx")
        np.savez(folder / f"{number}.npz", **(case.given if held else case.feeds))
    found: list[tuple[str, str]] = []
    while len(found) < len(cases):
        done = subprocess.run(
            [sys.executable, "-c", WORKER, folder, str(len(found)), str(len(cases)), library],
            env=os.environ | {"MALLOC_PERTURB_": "165"},  # what is read behind its end is not zero by chance
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            number, _, rest = line.partition(" ")
            assert int(number) == len(found)
            stage, message = json.loads(rest) if rest else ("crashed", _cause(done.returncode))
            found.append((stage, message))
        assert done.stdout, done.stderr
    return found


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


@pytest.mark.parametrize("held", [True, False], ids=["initializers", "inputs"])
def test_what_is_wrong_is_said(tmp_path: Path, held: bool):
    found = outcomes([case for case, _ in CASES], tmp_path, held=held)
    problems = []
    for (case, wrong), (stage, message) in zip(CASES, found, strict=True):
        # Where an input has one type alone, ONNX Runtime itself says what is wrong, before there is a kernel.
        refused = f"of operator ({case.operator}) in node (node) is invalid"
        if wrong.changes_type and stage == "session" and "Type Error: Type 'tensor(" in message and refused in message:
            continue
        # An attribute that is missing or no integer is found without the arrays; a wrong integer only with them.
        unreadable = not callable(wrong.value) and not isinstance(wrong.value, int)
        expected = "session" if unreadable or (held and wrong.what not in case.given) else "run"
        if stage != expected or f"dtc.{case.operator}: " not in message or wrong.says not in message:
            problems.append(f"{case.operator}, {wrong}: {stage}, {message}")
    assert not problems, "\n".join(problems)
