"""Codebooks: time of the methods beside scikit-learn's, and what a decoded model costs to load.

    python tests/benchmarks/codebook.py

Prints the best of a few runs, everything measured in this run and on this machine.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import sklearn
from sklearn.cluster import KMeans

from dtc.forms import Codebook, Codewords
from dtc.graph import find_sites, save_model
from dtc.passes.lower import Compressed, find_target, lower
from dtc.passes.method import Weights, make_method
from dtc.passes.solvers.clustering import Points, assign, cluster, seed_codewords

SIDE = 8192


def best(work: Callable[[], object], runs: int = 2) -> tuple[float, object]:
    """Return the least time of a few runs, and what the last one gave."""
    least, result = np.inf, None
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        least = min(least, time.perf_counter() - start)
    return least, result


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def methods() -> None:
    """Time clustering against scikit-learn from the same start, then the methods as a whole."""
    matrix = (np.random.default_rng(0).normal(size=(1500, 6000)) * 0.05).astype(np.float32)
    for count, block in ((256, 8), (16, 1)):
        points = Points(matrix.reshape(-1, block))
        start = seed_codewords(points.take(np.arange(65536)), count, np.random.default_rng(0))
        seconds, words = best(lambda: cluster(points, count, np.random.default_rng(0)))  # noqa: B023
        warm, warm_words = best(lambda: cluster(points, count, np.random.default_rng(0), start))  # noqa: B023
        assert isinstance(words, np.ndarray)
        assert isinstance(warm_words, np.ndarray)
        theirs = KMeans(count, init=start, n_init=1, max_iter=100)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sk_seconds, _ = best(lambda: theirs.fit(points.blocks), 1)  # noqa: B023
        say(f"1500x6000, {count} codewords of {block}; objective as a part of scikit-learn's:")
        say(f"  ours, own start   {seconds:6.2f} s, of theirs {assign(points, words)[1] / theirs.inertia_:.4f}")
        say(f"  from their start  {warm:6.2f} s, of theirs {assign(points, warm_words)[1] / theirs.inertia_:.4f}")
        say(f"  scikit-learn      {sk_seconds:6.2f} s, {theirs.n_iter_} iterations")
    weights = Weights("w", matrix[None], "n")
    for name, options in (("codebook", {}), ("codebook", {"codewords": 16, "block": 1}), ("bins", {"bins": 16})):
        method = make_method(name, options)
        seconds, _ = best(lambda: method.distort([weights]))  # noqa: B023
        say(f"method {name} {options}: {seconds:.2f} s")


def write_models(folder: Path) -> None:
    """Write a dense 8192 x 8192 layer and coded ones, as Gemm and as MatMul."""
    rng = np.random.default_rng(0)
    kinds = {"4-bit": (16, 1), "6-bit": (64, 1), "8-bit": (256, 1), "256x8": (256, 8)}
    for op in ("Gemm", "MatMul"):
        save_model(layer(op, rng.normal(size=(SIDE, SIDE)).astype(np.float32)), folder / f"{op} dense.onnx")
        for kind, (count, block) in kinds.items():
            words = Codewords.encode(rng.normal(size=(count, block)).astype(np.float32), 32)
            form = Codebook(rng.integers(0, count, (SIDE, SIDE // block)).astype(np.uint16), words, SIDE)
            for mode in ("standard", "compute"):
                model = layer(op, np.zeros((SIDE, SIDE), np.float32))
                lower(model, [Compressed(find_sites(model)[0], (form,))], find_target(mode))
                save_model(model, folder / f"{op} {kind} {mode}.onnx")


def layer(op: str, array: np.ndarray) -> ir.Model:
    """Return a model of one reader of a weight."""
    kind = ir.TensorType(ir.DataType.FLOAT)
    x = ir.Value(name="x", shape=ir.Shape(["n", SIDE]), type=kind)
    weight = ir.Value(name="w", const_value=ir.tensor(array, name="w"), shape=ir.Shape(array.shape), type=kind)
    node = ir.node(op, [x, weight], {"transB": 1} if op == "Gemm" else {}, name="reader")
    node.outputs[0].name, node.outputs[0].type = "y", kind
    node.outputs[0].shape = ir.Shape(["n", SIDE])
    graph = ir.Graph([x], list(node.outputs), nodes=[node], initializers=[weight], opset_imports={"": 17}, name="layer")
    return ir.Model(graph, ir_version=10)


def load(path: str) -> None:
    """Load a model in this process; print the seconds and the peak of its memory above what Python had."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    before = peak_kib()
    start = time.perf_counter()
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    seconds = time.perf_counter() - start
    say(f"{seconds:.2f} {(peak_kib() - before) / 1024:.0f}")


def peak_kib() -> int:
    """Return the peak of this process's resident memory; `getrusage` would count its parent's, from before exec."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def loading() -> None:
    """Load each model in a process of its own."""
    dense = SIDE * SIDE * 4 / 2**20
    say(f"{SIDE}x{SIDE} in ONNX Runtime {onnxruntime.__version__}, two threads; dense weight {dense:.0f} MiB:")
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        for path in sorted(Path(folder).glob("*.onnx")):
            runs = [subprocess.check_output([sys.executable, __file__, str(path)], text=True).split() for _ in range(2)]
            seconds, peak = (min(float(run[i]) for run in runs) for i in range(2))
            size = path.stat().st_size / 2**20
            say(f"  {path.stem:24} file {size:6.1f} MiB, load {seconds:5.2f} s, peak {peak / dense:.1f}x dense")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        load(sys.argv[1])
    else:
        say(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
            f"sklearn {sklearn.__version__}")  # fmt: skip
        methods()
        loading()
