"""CPU time of the matrix products of a training step, by each engine: `python tests/benchmarks/training_products.py`.

The products are those of `ptb-medium` (35 steps of 20 words, two LSTM layers of 650, 10,000 words), as the engine `ort`
runs them; one thread, medians. They tell how much of an engine's time its library of matrix products takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from dtc.training.command import python_command
from dtc.training.engine_kind import ranked_engines

PRODUCTS = {
    "h R'": (20, 650, 2600, 0, 1),
    "dG R": (20, 2600, 650, 0, 0),
    "dG' H": (2600, 700, 650, 1, 0),
    "x W'": (700, 650, 2600, 0, 1),
    "logits": (700, 650, 10_000, 0, 0),
    "dlogits V'": (700, 10_000, 650, 0, 1),
    "h' dlogits": (650, 700, 10_000, 1, 0),
}
"""Rows, inner size, columns; whether the left and the right matrix are transposed."""


def clock(run: Callable[[], object], flops: float) -> float:
    """Return the median CPU seconds of a run, of some 1.5e10 operations in all."""
    run()
    taken = []
    for _ in range(max(5, int(1.5e10 / flops))):
        start = time.process_time_ns()
        run()
        taken.append(time.process_time_ns() - start)
    return float(np.median(taken)) / 1e9


def by_ort(a: np.ndarray, b: np.ndarray, left: int, right: int) -> Callable[[], object]:
    """Return a run of a Gemm by the training build of ONNX Runtime."""
    from dtc.training.engines.ort.runtime import open_session

    values = [ir.val(name, dtype=ir.DataType.FLOAT, shape=list(x.shape)) for name, x in (("a", a), ("b", b))]
    node = ir.node("Gemm", values, {"transA": left, "transB": right})
    node.outputs[0].name, node.outputs[0].dtype = "y", ir.DataType.FLOAT
    graph = ir.Graph(values, node.outputs, nodes=[node], name="product", opset_imports={"": 17})
    session = open_session(ir.Model(graph, ir_version=8), 1)
    return lambda: session.run(None, {"a": a, "b": b})


def by_torch(a: np.ndarray, b: np.ndarray, left: int, right: int) -> Callable[[], object]:
    """Return a run of a product by PyTorch."""
    import torch

    torch.set_num_threads(1)
    first, second = torch.from_numpy(a), torch.from_numpy(b)
    return lambda: (first.t() if left else first) @ (second.t() if right else second)


def side(engine: str) -> None:
    """Print the CPU seconds of each product as JSON."""
    rng, found = np.random.default_rng(0), {}
    for name, (m, k, n, left, right) in PRODUCTS.items():
        a = rng.normal(size=(k, m) if left else (m, k)).astype(np.float32)
        b = rng.normal(size=(n, k) if right else (k, n)).astype(np.float32)
        found[name] = clock((by_ort if engine == "ort" else by_torch)(a, b, left, right), 2.0 * m * k * n)
    print(json.dumps(found))


def main() -> None:
    """Print a line a product."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    if (told := parser.parse_args().side) is not None:
        side(told)
        return
    found = {}
    for kind in ranked_engines():
        if kind.unavailable() is None:
            command = python_command(Path(__file__).stem, first_on_path=[*kind.install(), Path(__file__).parent])
            done = [*command.arguments, "--side", kind.name]
            found[kind.name] = json.loads(subprocess.check_output(done, env=dict(command.environment), text=True))
    for name, (m, k, n, *_) in PRODUCTS.items():
        told = [f"{engine} {1e3 * times[name]:.2f} ms ({2e-9 * m * k * n / times[name]:.0f} GFLOP/s)"
                for engine, times in found.items()]  # fmt: skip
        print(f"{name} [{m}, {k}] x [{k}, {n}]: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
