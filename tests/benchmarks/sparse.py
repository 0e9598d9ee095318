"""Pruning next to plain NumPy and SciPy, and loading of decoded models: `python tests/benchmarks/sparse.py`.

Times are the best of several; memory is the peak of a process of its own, less what it had before loading.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
import scipy
import scipy.sparse

from dtc.forms.sparse import Sparse
from dtc.graph import find_sites
from dtc.passes.lower import Compressed, find_target, lower
from dtc.passes.method import Weights, make_method

Array = npt.NDArray[np.float32]

_LOAD = """
import json, sys, time
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
options.log_severity_level = 3
lines = lambda: open("/proc/self/status").read().splitlines()  # getrusage would tell the parent's peak as well
peak = lambda: next(int(line.split()[1]) for line in lines() if line.startswith("VmHWM")) / 1024
before, start = peak(), time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
load, loaded = time.perf_counter() - start, peak()
x = numpy.random.default_rng(0).standard_normal((1, session.get_inputs()[0].shape[1]), dtype=numpy.float32)
times = []
for _ in range(7):
    start = time.perf_counter()
    session.run(None, {"x": x})
    times.append(time.perf_counter() - start)
print(json.dumps({"load": load, "peak": loaded - before, "run": min(times)}))
"""


def best(function: Callable[[], object], times: int = 5) -> float:
    """Return the shortest time of some calls, in seconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def time_methods(rows: int, cols: int) -> None:
    """Print the times of pruning one matrix."""
    matrix = np.random.default_rng(0).standard_normal((rows, cols)).astype(np.float32)
    weights = Weights("w", matrix[None], "node")

    def by_argsort() -> object:
        order = np.argsort(np.abs(matrix), axis=None, kind="stable")
        pruned = matrix.copy()
        pruned.reshape(-1)[order[: round(0.9 * matrix.size)]] = 0
        return scipy.sparse.csr_array(pruned)

    _say(f"a matrix {rows}x{cols}, to its form and back to dense weights:")
    _say(f"  {'np.argsort, scipy.sparse.csr_array, toarray':45} {best(lambda: by_argsort().toarray(), 2):7.3f} s")
    options: list[dict[str, object]] = [
        {"sparsity": 0.9},
        {"sparsity": 0.98},
        {"sparsity": 0.9, "scope": "global"},
        {"pattern": "2:4"},
        {"sparsity": 0.5, "structure": "row"},
        {"sparsity": 0.5, "structure": "column"},
    ]
    for given in options:
        method = make_method("prune", given)
        form = method.distort([weights])["w"][0]
        took = best(lambda method=method: method.distort([weights])["w"][0].dense())
        _say(f"  prune {given!s:39} {took:7.3f} s   {form.detail}, {matrix.nbytes / form.nbytes:.1f}x")


def model_of(matrix: Array) -> ir.Model:
    """Return a model of one Gemm with the weight `[out, in]`."""
    rows, cols = matrix.shape
    x = ir.val("x", ir.DataType.FLOAT, [1, cols])
    weight = ir.val("w", const_value=ir.tensor(matrix, name="w"))
    node = ir.node("Gemm", [x, weight], {"transB": 1}, name="product")
    y = node.outputs[0]
    y.name, y.shape, y.type = "y", ir.Shape([1, rows]), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], [y], nodes=[node], initializers=[weight], opset_imports={"": 17}, name="benchmark")
    return ir.Model(graph, ir_version=10)


def time_loading(size: int, sparsity: float) -> None:
    """Print load time, peak memory and run time of one square weight, dense and lowered."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((size, size), dtype=np.float32)
    matrix[rng.random((size, size), dtype=np.float32) < sparsity] = 0
    form = Sparse.of(matrix)
    _say(f"a weight {size}x{size}, {form.detail}: {matrix.nbytes / 1e6:.0f} MB, stored {form.nbytes / 1e6:.0f} MB")
    modes: list[str | None] = [None, "standard", "compute"]
    with tempfile.TemporaryDirectory() as folder:
        for mode in modes:
            model = model_of(matrix)
            if mode is not None:
                lower(model, [Compressed(find_sites(model)[0], (form,))], find_target(mode))
            path = Path(folder) / "model.onnx"
            ir.save(model, path)
            del model
            runs = [_load(path) for _ in range(3)]
            facts = {key: min(run[key] for run in runs) for key in runs[0]}
            _say(
                f"  {mode or 'dense':9} file {path.stat().st_size / 1e6:6.1f} MB, load {facts['load']:6.2f} s, "
                f"peak {facts['peak']:6.0f} MB, run {1e3 * facts['run']:6.1f} ms"
            )


def _load(path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", _LOAD, str(path)], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=8192, help="side of the weight that is loaded (default: 8192)")
    size = parser.parse_args().size
    _say(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, ONNX Runtime {onnxruntime.__version__}, 2 threads"
    )
    time_methods(1500, 6000)
    for sparsity in (0.9, 0.97):
        time_loading(size, sparsity)


if __name__ == "__main__":
    main()
