"""Kills at random moments over an older output: `python tests/fuzz/kills.py [COUNT [FOLDER]]`.

Each run compresses a model onto an older output, in turn with external data and without, and is killed after a random
time by SIGKILL, SIGTERM or SIGHUP. Afterwards the output has to be the older one or the new one, whole; after the next
run, which is left alone, nothing else may lie in the folder.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from dtc.graph import load_model, model_files

SIDE = 384
_RUN = """
import sys
import dtc.graph.save
from dtc.cli import main
dtc.graph.save.EXTERNAL_DATA_ABOVE = int(sys.argv.pop(1))
print("ready", flush=True)
main()
"""


def try_kills(count: int, folder: Path, seed: int = 0) -> list[str]:
    """Return what was torn, lost or left by `count` kills in `folder`."""
    dice, found, taken = random.Random(seed), [], 1.0
    model, output = folder / "m.onnx", folder / "out.onnx"
    _write_model(model)
    for number in range(count):
        limit = 0 if number % 2 == 0 else 10**9
        begin = time.perf_counter()
        _end(_started(model, output, limit, "prune --sparsity 0.9"), None, None)
        taken = max(time.perf_counter() - begin, 0.1)
        found += _strangers(folder, model, output, f"kill {number}: after a whole run")
        names = [name for name in ("SIGKILL", "SIGKILL", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        name = dice.choice(names)
        process = _started(model, output, limit, "prune --sparsity 0.5")
        _end(process, dice.uniform(0, taken), getattr(signal, name))
        try:
            _run_output(output)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            found.append(f"kill {number}, {name}: the output does not load: {error}")
        if name != "SIGKILL":
            found += _strangers(folder, model, output, f"kill {number}, {name}")
    _end(_started(model, output, 10**9, "prune --sparsity 0.9"), None, None)
    return found + _strangers(folder, model, output, "in the end")


def _write_model(path: Path) -> None:
    import onnx
    from onnx import numpy_helper, parser

    text = f"m (float[1, {SIDE}] x) => (float[1, {SIDE}] y) {{ a = MatMul(x, V)  b = Relu(a)  y = MatMul(b, W) }}"
    model = parser.parse_model('<ir_version: 8, opset_import: ["": 17]>\n' + text)
    for name in ("V", "W"):
        array = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, path)


def _started(model: Path, output: Path, limit: int, method: str) -> subprocess.Popen[bytes]:
    command = ["compress", str(model), "-m", *method.split(), "--seconds", "0", "-o", str(output), "--force"]
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(limit), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"DTC_VERIFY_STAGES": ""},
    )
    assert process.stdout is not None
    process.stdout.readline()  # it has begun
    return process


def _end(process: subprocess.Popen[bytes], seconds: float | None, number: signal.Signals | None) -> None:
    with process:
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            assert number is not None
            process.send_signal(number)
            process.communicate()


def _run_output(output: Path) -> None:
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.ones((1, SIDE), np.float32)})


def _strangers(folder: Path, model: Path, output: Path, when: str) -> list[str]:
    """Return what lies in the folder and is neither the model nor the whole output."""
    known = {model, *model_files(output, load_model(output))}
    return [f"{when}: left {file.name}" for file in sorted(folder.iterdir()) if file not in known]


def main(count: int = 50, folder: str | None = None) -> int:
    """Print what was found; the exit status is 1 if anything was."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        found = try_kills(count, Path(place))
    for each in found:
        print(each)
    print(f"{count} kills, {len(found)} torn, lost or left")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*(int(word) if word.isdigit() else word for word in sys.argv[1:3])))  # type: ignore[arg-type]
