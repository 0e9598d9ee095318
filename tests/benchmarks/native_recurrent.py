"""Latency of LSTM and GRU on native operators: `python tests/benchmarks/native_recurrent.py`.

Both weights of a node have the same form; of low rank, W is a MatMul in front. The dense node, ONNX Runtime's dynamic
8-bit LSTM and the operators take turns in one process. Medians in milliseconds, and how many times faster than the
dense node.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from low_rank_recurrent import medians, recurrent_model
from onnxruntime.quantization import quantize_dynamic

from dtc.deploy.ops.library import register
from dtc.forms import Form, LowRank
from dtc.graph import Site, find_sites
from dtc.passes.lower import Compressed, find_target, lower
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.method import Skip, Weights, make_method

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "1 bit": ("binary", {"bits": 1}),
    "2 bits": ("binary", {"bits": 2}),
    "3 bits": ("binary", {"bits": 3}),
    "80 %": ("prune", {"sparsity": 0.8}),
    "90 %": ("prune", {"sparsity": 0.9}),
    "95 %": ("prune", {"sparsity": 0.95}),
    "98 %": ("prune", {"sparsity": 0.98}),
    "256 x 4": ("codebook", {"codewords": 256, "block": 4}),
    "256 x 8": ("codebook", {"codewords": 256, "block": 8}),
}
RANKS = (96, 200)

_COMPUTE = find_target("compute")
EAGER = replace(_COMPUTE, costs=_COMPUTE.costs.model_copy(update={"worth": 1e-9}))
"""A target on which every form is computed on as it is."""


def forms_of(site: Site, name: str) -> tuple[Form, ...]:
    """Return a form of the site's weight; factors are random."""
    if name.startswith("rank"):
        rng, rank = np.random.default_rng(1), int(name.split()[1])
        left = rng.standard_normal((site.view.rows, rank)) / np.sqrt(rank)
        right = rng.standard_normal((rank, site.view.cols)) / np.sqrt(site.view.cols)
        return (LowRank(left.astype(np.float32), right.astype(np.float32)),)
    method, options = METHODS[name]
    outcome = make_method(method, options).distort([Weights(site.name, site.matrices(), "n")])
    forms = outcome[site.name]
    assert not isinstance(forms, Skip)
    return forms


def lowered(op_type: str, hidden: int, name: str, level: int) -> bytes:
    """Return a model of one node whose weights have the form of that name."""
    model = recurrent_model(op_type, hidden)
    lower(model, [Compressed(site, forms_of(site, name)) for site in find_sites(model)], EAGER)
    set_accuracy_level(model, level)
    return ir.to_proto(model).SerializeToString()


def in_8_bits(op_type: str, hidden: int) -> bytes:
    """Return the node as ONNX Runtime's dynamic quantization has it."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        dense, small = Path(folder, "dense.onnx"), Path(folder, "small.onnx")
        dense.write_bytes(ir.to_proto(recurrent_model(op_type, hidden)).SerializeToString())
        quantize_dynamic(dense, small, op_types_to_quantize=["LSTM"], per_channel=True)
        return small.read_bytes()


def session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """Return a session on the CPU, with the native library."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not register(options):
        sys.exit("the native library is not built")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Print one line a form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--op", default="LSTM", choices=["LSTM", "GRU"])
    for name, value in (("hidden", 650), ("steps", 35), ("batch", 1), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    models = {"dense": ir.to_proto(recurrent_model(given.op, given.hidden)).SerializeToString()}
    if given.op == "LSTM":
        models["8 bits, ONNX Runtime"] = in_8_bits(given.op, given.hidden)
    for name in [*METHODS, *(f"rank {rank}" for rank in RANKS)]:
        for level in (0, 1, 4) if "bit" in name else (1,):
            label = f"{name}, accuracy {level}" if "bit" in name else name
            models[label] = lowered(given.op, given.hidden, name, level)
    sessions = [session(model, given.threads) for model in models.values()]
    x = np.random.default_rng(2).standard_normal((given.steps, given.batch, given.hidden)).astype(np.float32)
    taken = medians(sessions, x, given.seconds, given.threads)
    print(f"{given.op} {given.hidden}, {given.steps} steps, batch {given.batch}, {given.threads} threads")
    for (label, model), one in zip(models.items(), taken, strict=True):
        print(f"{label:22} {len(model) / 1e6:7.2f} MB {one:8.2f} ms {taken[0] / one:6.2f}x")


if __name__ == "__main__":
    main()
