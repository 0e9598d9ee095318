"""Latency of an LSTM or GRU node against its low-rank Scan: `python tests/benchmarks/low_rank_recurrent.py`.

Both weights of the node are lowered, from random factors. Node and Scans take turns in one process; medians in
milliseconds, and in brackets how many times faster than the node a Scan is.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
from turns import take_turns

from dtc.forms import LowRank
from dtc.graph import find_sites
from dtc.passes.lower import Compressed, find_target, lower

Array = npt.NDArray[np.float32]


def recurrent_model(op_type: str, hidden: int) -> ir.Model:
    """Return a model of one node with `hidden` inputs."""
    rng = np.random.default_rng(0)
    gates = 4 if op_type == "LSTM" else 3
    shapes = {"W": (1, gates * hidden, hidden), "R": (1, gates * hidden, hidden), "B": (1, 2 * gates * hidden)}
    x = ir.val("x", ir.DataType.FLOAT, ["T", "N", hidden])
    weights = []
    for name, shape in shapes.items():
        array = (rng.standard_normal(shape) / np.sqrt(hidden)).astype(np.float32)
        weights.append(ir.val(name, const_value=ir.tensor(array, name=name)))
    node = ir.node(op_type, [x, *weights], {"hidden_size": hidden}, num_outputs=2, name="recurrent")
    for value, name, shape in zip(node.outputs, ("y", "y_h"), (["T", 1, "N", hidden], [1, "N", hidden]), strict=True):
        value.name, value.shape, value.type = name, ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=weights, opset_imports={"": 17}, name="benchmark")
    return ir.Model(graph, ir_version=10)


def low_rank_model(op_type: str, hidden: int, rank: int) -> ir.Model:
    """Return the same model with both weights lowered to random factors."""
    rng = np.random.default_rng(1)
    model = recurrent_model(op_type, hidden)
    items = []
    for site in find_sites(model):
        left = rng.standard_normal((site.view.rows, rank)) / np.sqrt(rank)
        right = rng.standard_normal((rank, hidden)) / np.sqrt(hidden)
        items.append(Compressed(site, (LowRank(left.astype(np.float32), right.astype(np.float32)),)))
    lower(model, items, find_target("scan"))
    return model


def session(model: ir.Model, threads: int) -> onnxruntime.InferenceSession:
    """Return a session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    data = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def medians(sessions: list[onnxruntime.InferenceSession], x: Array, seconds: float, threads: int) -> list[float]:
    """Return the latency of each in milliseconds; they take turns for so many seconds in all."""
    runs = {str(index): partial(one.run, None, {"x": x}) for index, one in enumerate(sessions)}
    found = take_turns(runs, seconds=seconds / len(runs), threads=threads)
    return [1e3 * found.median(name) for name in runs]


def main() -> None:
    """Print one line a configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", nargs="+", default=["LSTM", "GRU"])
    for name, values in (
        ("sizes", [512, 650, 1024]),
        ("ranks", [64, 96, 128]),
        ("steps", [16, 35]),
        ("batches", [1, 20]),
        ("threads", [1, 2]),
    ):
        parser.add_argument(f"--{name}", nargs="+", type=int, default=values)
    parser.add_argument("--seconds", type=float, default=1.0, help="a configuration")
    chosen = parser.parse_args()
    write = sys.stdout.write
    write(
        f"{_cpu()}; onnxruntime {onnxruntime.__version__}, numpy {np.__version__}, Python {platform.python_version()}\n"
    )
    write(
        "op    threads     H   T   N   node ms  " + "  ".join(f"r={rank:<4} ms (x)  " for rank in chosen.ranks) + "\n"
    )
    for op_type, threads, hidden in itertools.product(chosen.ops, chosen.threads, chosen.sizes):
        models = [recurrent_model(op_type, hidden), *(low_rank_model(op_type, hidden, rank) for rank in chosen.ranks)]
        sessions = [session(model, threads) for model in models]
        for steps, batch in itertools.product(chosen.steps, chosen.batches):
            x = np.random.default_rng(2).standard_normal((steps, batch, hidden)).astype(np.float32)
            node, *scans = medians(sessions, x, chosen.seconds, threads)
            columns = "  ".join(f"{scan:8.2f} ({node / scan:4.1f}x)" for scan in scans)
            write(f"{op_type:5} {threads:7} {hidden:5} {steps:3} {batch:3} {node:9.2f}  {columns}\n")
            sys.stdout.flush()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({len(names)} processors)" if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
