"""Runs the model of this bundle in ONNX Runtime, without dtc, on its test vectors: python run.py [SECONDS].

It prints, as JSON, the distance of the outputs from those expected (relative L2), the seconds of load and of a run for
which SECONDS are given, and the bytes that the model took. Exit status 1: an output is too far off.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

BUNDLE = Path(__file__).resolve().parents[1]


def load(bundle: Path = BUNDLE) -> Any:
    """Return a session of the bundle's model, on one thread, with the libraries of operators that the bundle has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    listed = bundle / "lib" / "libraries.txt"
    for name in listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []:
        options.register_custom_ops_library(str(bundle / "lib" / name))
    model = next(path for path in (bundle / "model.ort", bundle / "model.onnx") if path.is_file())
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def cases(session: Any, bundle: Path = BUNDLE) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Yield the inputs of each test vector by name, and its outputs in order."""
    inputs = [each.name for each in session.get_inputs()]
    number = 0
    while (bundle / "vectors" / f"{number}.output.0.npy").is_file():
        given = [np.load(bundle / "vectors" / f"{number}.input.{i}.npy") for i in range(len(inputs))]
        wanted = [np.load(bundle / "vectors" / f"{number}.output.{i}.npy") for i in range(len(session.get_outputs()))]
        yield dict(zip(inputs, given, strict=True)), wanted
        number += 1


def distance(session: Any) -> float:
    """Return the largest relative L2 of an output, over all test vectors; NaN where one cannot be compared."""
    signal, noise = np.zeros(len(session.get_outputs())), np.zeros(len(session.get_outputs()))
    for inputs, expected in cases(session):
        for index, (found, wanted) in enumerate(zip(session.run(None, inputs), expected, strict=True)):
            if found.shape != wanted.shape:
                return float("nan")
            finite = np.isfinite(wanted)
            wanted = wanted[finite].astype(np.float64)
            signal[index] += np.square(wanted).sum()
            noise[index] += np.square(found[finite].astype(np.float64) - wanted).sum()
    far = [np.sqrt(n / s) if s else np.nan if n else 0.0 for n, s in zip(noise, signal, strict=True)]
    return float(np.max(far))  # NaN if any is


def latency(session: Any, seconds: float) -> float:
    """Return the median of the seconds of a run on the first test vector."""
    inputs, _ = next(cases(session))
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, inputs)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def resident(field: str) -> int | None:
    """Return a field of the process's status in bytes; None outside of Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(field))


def main() -> int:
    """Load, compare, measure, and print what was found."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0
    idle = resident("VmRSS")
    start = time.perf_counter()
    session = load()
    loaded = time.perf_counter() - start
    far = distance(session)
    peak = resident("VmHWM")
    found = {
        "runtime": f"ONNX Runtime {onnxruntime.__version__}, Python {sys.version.split()[0]}",
        "relative_l2": far if np.isfinite(far) else None,
        "load": loaded,
        "latency": latency(session, seconds) if seconds else None,
        "memory": None if idle is None or peak is None else max(0, peak - idle),
    }
    print(json.dumps(found))
    return 0 if far <= float((BUNDLE / "vectors" / "tolerance.txt").read_text()) else 1


if __name__ == "__main__":
    sys.exit(main())
