"""Time of coding a 1500x6000 matrix, and load time and memory of a decoded 8192x8192 model.

Run: `python tests/benchmarks/binary.py`. Best of some runs; each load is in a process of its own.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime

from dtc.forms import BinaryCode
from dtc.graph import find_sites, save_model
from dtc.passes.lower import Compressed, find_target, lower
from dtc.passes.solvers.binary_codes import Rows, alternating, greedy, refined

SIDE = 8192

LOAD = """
import resource, sys, time
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before, start = peak(), time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], options)
print(time.perf_counter() - start, (peak() - before) * 1024)
"""


def plain_alternating(matrix: np.ndarray, bits: int, rounds: int = 2) -> np.ndarray:
    """The algorithm row by row, as one writes it down: `lstsq`, and `searchsorted` among the midpoints."""
    table = ((np.arange(1 << bits)[:, None] >> np.arange(bits)) & 1) * 2.0 - 1.0
    dense = np.empty_like(matrix)
    for at, row in enumerate(matrix):
        residual, signs = row.astype(np.float64), []
        for _ in range(bits):
            signs.append(np.where(residual >= 0, 1.0, -1.0))
            residual = residual - np.abs(residual).mean() * signs[-1]
        planes = np.stack(signs, axis=1)
        for _ in range(rounds):
            alphas = np.linalg.lstsq(planes, row, rcond=None)[0]
            levels = table @ np.sort(np.abs(alphas))[::-1]
            order = np.argsort(levels)
            middle = (levels[order][1:] + levels[order][:-1]) / 2
            planes = table[order[np.searchsorted(middle, row, side="right")]]
        dense[at] = planes @ np.linalg.lstsq(planes, row, rcond=None)[0]
    return dense


def best(run: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of some runs, in seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def write_model(path: Path, mode: str, bits: int) -> None:
    """Write one MatMul of random codes."""
    rng = np.random.default_rng(0)
    sizes = ir.Shape([1, SIDE])
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=sizes)
    tensor = ir.tensor(np.zeros((SIDE, SIDE), np.float32), name="W")
    weight = ir.Value(name="W", const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape([SIDE, SIDE]))
    node = ir.node("MatMul", [x, weight], name="product")
    output = node.outputs[0]
    output.name, output.type, output.shape = "y", x.type, sizes
    graph = ir.Graph([x], [output], nodes=[node], initializers=[weight], opset_imports={"": 13}, name="g")
    model = ir.Model(graph, ir_version=10)
    codes = rng.integers(0, 256, (bits, SIDE, SIDE // 8), dtype=np.uint8)
    form = BinaryCode(codes, rng.random((bits, SIDE, 1)).astype(np.float16), SIDE)
    lower(model, [Compressed(find_sites(model)[0], (form,))], find_target(mode))
    save_model(model, path)


def report(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


def main() -> None:
    """Print both tables."""
    report(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    rows = Rows(np.random.default_rng(0).standard_normal((1500, 6000)).astype(np.float32))
    for bits in (1, 2, 3, 4):
        times = [best(lambda solve=solve: solve(rows, bits)) for solve in (greedy, refined, alternating)]  # noqa: B023
        plain = best(lambda: plain_alternating(rows.values, bits), 1)  # noqa: B023
        ours = ", ".join(f"{n} {t:.2f} s" for n, t in zip(("greedy", "refined", "alternating"), times, strict=True))
        report(f"1500x6000, {bits} bits: {ours}; alternating row by row in NumPy {plain:.2f} s")
    dense = 4 * SIDE * SIDE
    for mode in ("standard", "compute"):
        for bits in (1, 2, 4):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                write_model(path, mode, bits)
                found = [
                    subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=True)
                    for _ in range(3)
                ]
                seconds, peak = min(tuple(map(float, run.stdout.split())) for run in found)
                size = path.stat().st_size
            report(
                f"{SIDE}x{SIDE}, {bits} bits, {mode}, ONNX Runtime {onnxruntime.__version__}: "
                f"file {size / 1e6:.1f} MB, load {seconds:.2f} s, peak {peak / 1e6:.0f} MB ({peak / dense:.1f} x dense)"
            )


if __name__ == "__main__":
    main()
