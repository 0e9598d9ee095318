"""Resident memory of a session whose product has a large compressed weight, natively: above one with a tiny weight.

Run `python tests/benchmarks/native_memory.py`. Each session is a process of its own. What it takes above a session of
the same graph with a weight of one block is divided by the bytes of the compressed weight: 1.0 is the weight, once.
`load` is the peak until the session is made, `run` what is resident after a few runs. Weights lie in the model's file,
or in a file beside it (`external`), which ONNX Runtime maps.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime

from dtc.checking.measurements import machine
from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.library import library_path

Array = npt.NDArray[np.generic]

_PROCESS = """
import json, sys
import numpy, onnxruntime
def resident(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
options.register_custom_ops_library(sys.argv[2])
before = resident("VmRSS")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
load = resident("VmHWM") - before
x = numpy.ones((1, session.get_inputs()[0].shape[1]), numpy.float32)
for _ in range(3):
    session.run(None, {"x": x})
print(json.dumps({"load": load, "run": resident("VmRSS") - before}))
"""


def binary(bits: int) -> Callable[[int, int], tuple[str, dict[str, Array], dict[str, int]]]:
    """Sign planes with a float16 coefficient a row and plane."""

    def arrays(rows: int, cols: int) -> tuple[str, dict[str, Array], dict[str, int]]:
        codes = np.random.default_rng(0).integers(0, 256, (bits, rows * cols // 8), dtype=np.uint8)
        alphas = np.ones((bits, 1, rows), np.float16)
        return (
            "BinaryMatMul",
            {"codes": codes, "alphas": alphas},
            {
                "bits": bits,
                "in_features": cols,
                "group_size": cols,
                "accuracy_level": 1,
            },
        )

    return arrays


def sparse(kept: float) -> Callable[[int, int], tuple[str, dict[str, Array], dict[str, int]]]:
    """Compressed sparse rows of floats."""

    def arrays(rows: int, cols: int) -> tuple[str, dict[str, Array], dict[str, int]]:
        each = max(1, round(kept * cols))
        rng = np.random.default_rng(0)
        columns = np.sort(rng.permuted(np.tile(np.arange(cols, dtype=np.uint16), (64, 1)), axis=1)[:, :each], axis=1)
        return (
            "SparseMatMul",
            {
                "values": np.ones(rows * each, np.float32),
                "columns": np.tile(columns, (-(-rows // 64), 1))[:rows].reshape(-1),
                "row_pointers": np.arange(0, rows * each + 1, each, dtype=np.uint32),
            },
            {"cols": cols},
        )

    return arrays


def bitmap(kept: float) -> Callable[[int, int], tuple[str, dict[str, Array], dict[str, int]]]:
    """A bit for each place, and floats."""

    def arrays(rows: int, cols: int) -> tuple[str, dict[str, Array], dict[str, int]]:
        bits = np.packbits(np.random.default_rng(0).random((rows, cols), dtype=np.float32) < kept, axis=1)
        count = int(np.bitwise_count(bits).sum())
        return "BitmapMatMul", {"values": np.ones(count, np.float32), "bitmap": bits}, {"cols": cols}

    return arrays


def codebook(rows: int, cols: int) -> tuple[str, dict[str, Array], dict[str, int]]:
    """Indices of 4 bits, a codeword a weight."""
    indices = np.random.default_rng(0).integers(0, 256, (rows, cols // 2), dtype=np.uint8)
    words = np.linspace(-1, 1, 16, dtype=np.float32).reshape(16, 1)
    return "CodebookMatMul", {"indices": indices, "codewords": words}, {"bits": 4, "columns": cols}


FORMS = {
    "binary, 1 bit": binary(1),
    "binary, 2 bits": binary(2),
    "sparse rows, 90 %": sparse(0.1),
    "bitmap, 70 %": bitmap(0.3),
    "codebook, 4 bits": codebook,
}


def write(path: Path, op_type: str, arrays: dict[str, Array], attributes: dict[str, int], *, external: bool) -> int:
    """Write a model of that node alone; return the bytes of its arrays."""
    cols = next(value for name, value in attributes.items() if name in ("in_features", "cols", "columns"))
    x = ir.val("x", ir.DataType.FLOAT, [1, cols])
    weights = [ir.val(name, const_value=ir.tensor(array, name=name)) for name, array in arrays.items()]
    node = ir.node(op_type, [x, *weights], attributes, domain=DOMAIN, name="product")
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, None])
    graph = ir.Graph([x], [y], nodes=[node], initializers=weights, opset_imports={"": 17, DOMAIN: 1}, name="benchmark")
    ir.save(ir.Model(graph, ir_version=10), path, external_data="weights.data" if external else None)
    return sum(array.nbytes for array in arrays.values())


def measured(path: Path) -> dict[str, int]:
    """Load and run a model in a process of its own."""
    command = [sys.executable, "-c", _PROCESS, str(path), str(library_path())]
    # Memory that is given back is given back to the system, so that what is resident is what is held.
    given = os.environ | {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=given)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Print a line a form, size and place of the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["8192x8192", "11008x4096"], help="rows x columns")
    sizes = [tuple(map(int, size.split("x"))) for size in parser.parse_args().sizes]
    print(f"{machine()}, Python {sys.version.split()[0]}, ONNX Runtime {onnxruntime.__version__}, 2 threads")
    print(f"{'weight':32} {'MB':>6}   in the file: load, run   external: load, run   (times the weight)")
    for rows, cols in sizes:
        for name, make in FORMS.items():
            ratios = []
            for external in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "model.onnx"
                    small = write(path, *make(64, 64), external=False)
                    empty = measured(path)
                    nbytes = write(path, *make(rows, cols), external=external)
                    full = measured(path)
                ratios += [(full[key] - empty[key]) / (nbytes - small) for key in ("load", "run")]
            print(f"{f'{name}, {rows}x{cols}':32} {nbytes / 1e6:6.1f}   " + "   ".join(f"{r:5.2f}" for r in ratios))


if __name__ == "__main__":
    main()
