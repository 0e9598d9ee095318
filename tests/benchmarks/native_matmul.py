"""Products with compressed weights on the native kernels, next to everything that ONNX Runtime has for the same weight.

Run: `python tests/benchmarks/native_matmul.py [--shape 650x2600] [--batch 1] [--threads 1] [--seconds 1]` (each may be
given more than once; without, all shapes, batches 1, 8, 20 and 64, 1 and 2 threads). All candidates of a case take
turns in one process, and so does a plain read of memory, which is the roofline (`turns` says how they are timed). The
weights are cold: a model holds several copies of the product, each with numbers of its own (ONNX Runtime gives equal
weights one packed buffer, which then stays in a cache), and between two runs of it all others run and the plain read
goes over `cold_bytes()` of memory. Printed is a table in Markdown: the time of one product, in brackets how many times
faster it is than dense float32 and than dynamic int8.
"""

from __future__ import annotations

import argparse
import mmap
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
from turns import take_turns

from dtc.deploy.ops.library import library_path, register

SHAPES = ((650, 2600), (1500, 6000), (4096, 4096), (4096, 11008))
BATCHES = (1, 8, 20, 64)
MODEL_BYTES = 128 << 20
"""Of all weights of a model: reading them takes long enough to be timed."""
MOST_COPIES = 400
BASES = ("dense float32", "dynamic int8")
"""What ratios are to."""
PLAIN = "plain read"

Array = npt.NDArray[Any]
Weight = Callable[[np.random.Generator, int, int], "Product"]


@dataclass(frozen=True)
class Product:
    """A node that multiplies: operator, domain, arrays beside x, attributes."""

    op_type: str
    domain: str
    arrays: dict[str, Array]
    attributes: dict[str, int]

    @property
    def nbytes(self) -> int:
        """Bytes of the weight."""
        return sum(array.nbytes for array in self.arrays.values())


def dense(rng: np.random.Generator, k: int, n: int) -> Product:
    """ONNX's own product of floats."""
    return Product("MatMul", "", {"w": rng.standard_normal((k, n), dtype=np.float32)}, {})


def n_bits(bits: int, rng: np.random.Generator, k: int, n: int) -> Product:
    """ONNX Runtime's blockwise quantized product, activations of 8 bits."""
    blocks = -(-k // 32)
    codes = rng.integers(0, 256, (n, blocks, 32 * bits // 8), dtype=np.uint8)
    scales = rng.random(n * blocks, dtype=np.float32)
    attributes = {"K": k, "N": n, "bits": bits, "block_size": 32, "accuracy_level": 4}
    return Product("MatMulNBits", "com.microsoft", {"w": codes, "scales": scales}, attributes)


def dynamic_int8(rng: np.random.Generator, k: int, n: int) -> Product:
    """ONNX Runtime's dynamically quantized product."""
    weight = rng.integers(-127, 128, (k, n)).astype(np.int8)
    arrays = {"w": weight, "scale": rng.random(n, dtype=np.float32), "zero": np.zeros(n, np.int8)}
    return Product("DynamicQuantizeMatMul", "com.microsoft", arrays, {})


def binary(bits: int, level: int, rng: np.random.Generator, k: int, n: int) -> Product:
    """Binary codes, one coefficient a row and plane."""
    width = -(-k // 8)
    codes = rng.integers(0, 256, (bits, n * width), dtype=np.uint8)
    alphas = rng.random((bits, 1, n)).astype(np.float16)
    attributes = {"bits": bits, "in_features": k, "group_size": 8 * width, "accuracy_level": level}
    return Product("BinaryMatMul", "dtc", {"codes": codes, "alphas": alphas}, attributes)


def sparse(density: float, rng: np.random.Generator, k: int, n: int) -> Product:
    """Compressed rows of the given share of non-zeros, anywhere."""
    kept = rng.random((n, k), dtype=np.float32) < density
    columns = np.nonzero(kept)[1].astype(np.uint8 if k <= 256 else np.uint16)
    pointers = np.concatenate([[0], kept.sum(axis=1).cumsum()]).astype(np.uint32)
    arrays = {"values": rng.standard_normal(len(columns), dtype=np.float32), "columns": columns, "pointers": pointers}
    return Product("SparseMatMul", "dtc", arrays, {"cols": k})


def codebook(bits: int, block: int, level: int, rng: np.random.Generator, k: int, n: int) -> Product:
    """Codewords of `block` numbers."""
    blocks = -(-k // block)
    indices = rng.integers(0, 256, (n, -(-blocks * bits // 8)), dtype=np.uint8)
    codewords = rng.standard_normal((1 << bits, block)).astype(np.float32)
    attributes = {"bits": bits, "columns": k, "accuracy_level": level}
    return Product("CodebookMatMul", "dtc", {"indices": indices, "codewords": codewords}, attributes)


CANDIDATES: dict[str, Weight] = {
    "dense float32": dense,
    "MatMulNBits 4": partial(n_bits, 4),
    "MatMulNBits 2": partial(n_bits, 2),
    "MatMulNBits 8": partial(n_bits, 8),
    "dynamic int8": dynamic_int8,
    **{f"binary {bits}, tables of 8": partial(binary, bits, 4) for bits in (1, 2, 3, 4)},
    **{f"binary {bits}, tables of 16": partial(binary, bits, 1) for bits in (1, 2, 3)},
    **{f"binary {bits}, exact": partial(binary, bits, 0) for bits in (1, 2)},
    **{f"sparse {1 - density:.0%}": partial(sparse, density) for density in (0.2, 0.1, 0.05, 0.02)},
    **{
        f"codebook {1 << bits} x {block}, {arithmetic}": partial(codebook, bits, block, level)
        for level, arithmetic in ((4, "8 bits"), (1, "16 bits"), (0, "exact"))
        for bits, block in ((4, 1), (8, 4), (8, 8))
    },
}


def copy_of(name: str, array: Array, copy: int) -> Array:
    """Return the same array for copy 0, and the same numbers at other places for others; what points stays."""
    return array if name in ("columns", "pointers") else np.roll(array.reshape(-1), copy).reshape(array.shape)


def model_of(weight: Weight, k: int, n: int, batch: int) -> tuple[bytes, int]:
    """Return a model of products with weights that differ, and their number."""
    rng = np.random.default_rng(0)
    first = weight(rng, k, n)
    copies = min(MOST_COPIES, -(-MODEL_BYTES // first.nbytes))
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([batch, k]))
    nodes, outputs, initializers = [], [], []
    for copy in range(copies):
        values = [
            ir.Value(name=f"{name}.{copy}", const_value=ir.tensor(copy_of(name, array, copy), name=f"{name}.{copy}"))
            for name, array in first.arrays.items()
        ]
        for value in values:
            assert value.const_value is not None
            value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(value.const_value.shape)
        node = ir.node(first.op_type, [x, *values], first.attributes, domain=first.domain, name=f"node.{copy}")
        output = node.outputs[0]
        output.name, output.type, output.shape = f"y.{copy}", x.type, ir.Shape([batch, n])
        nodes.append(node)
        outputs.append(output)
        initializers += values
    imports = {"": 17, "dtc": 1, "com.microsoft": 1}
    graph = ir.Graph([x], outputs, nodes=nodes, initializers=initializers, opset_imports=imports, name="cold")
    return ir.to_proto(ir.Model(graph, ir_version=8)).SerializeToString(), copies


def runner(weight: Weight, k: int, n: int, batch: int, threads: int) -> tuple[Callable[[], object], int]:
    """Return what runs a candidate's model once, and how many products that is."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    register(options)
    model, copies = model_of(weight, k, n, batch)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((batch, k), dtype=np.float32)
    return (lambda: session.run(["y.0"], {"x": x})), copies


def cold_bytes() -> int:
    """Return how much has to be read before a weight counts as cold: 512 MB, or four times the last cache."""
    sizes = [path.read_text() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max(512 << 20, *(4 * 1024 * int(size.strip().removesuffix("K")) for size in sizes))


def plain_read(threads: int) -> tuple[Callable[[], object], int]:
    """Return what reads `cold_bytes()` of memory and does next to nothing with it, and how many bytes that is.

    It lies in pages as small as those of weights: NumPy asks for huge ones, from which a third more is read.
    """
    memory = np.frombuffer(mmap.mmap(-1, cold_bytes()), np.int64)
    memory.fill(1)
    parts = np.array_split(memory, threads)
    if threads == 1:
        return parts[0].max, cold_bytes()
    pool = ThreadPoolExecutor(threads)
    return (lambda: list(pool.map(np.max, parts))), cold_bytes()


@dataclass(frozen=True)
class Case:
    """A product of so many rows with a weight [k, n]."""

    k: int
    n: int
    batch: int
    threads: int

    def __str__(self) -> str:
        told = f"{self.k}x{self.n}, batch {self.batch}"
        return told if self.threads == 1 else f"{told}, {self.threads} threads"


@dataclass(frozen=True)
class Column:
    """What was measured of a case: how many bytes a second are read plainly, and the cells of the candidates."""

    read: float
    cells: dict[str, str]


def measure(case: Case, names: list[str], seconds: float) -> Column:
    """Measure one case: microseconds, and how many times faster than each of `BASES` that is."""
    made = {name: runner(CANDIDATES[name], case.k, case.n, case.batch, case.threads) for name in names}
    counts = {PLAIN: 1, **{name: copies for name, (_, copies) in made.items()}}
    plain, size = plain_read(case.threads)
    runs = {PLAIN: plain, **{name: run for name, (run, _) in made.items()}}
    found = take_turns(runs, seconds=seconds, threads=case.threads)
    cells = {}
    for name in names:
        took = found.median(name) / counts[name]
        ratios = [found.ratio(base, name) * counts[name] / counts[base] for base in BASES]
        cells[name] = f"{took * 1e6:,.0f} ({', '.join(f'{ratio:.1f}' for ratio in ratios)})"
    return Column(size / found.median(PLAIN) / 1e9, cells)


def processor() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", action="append", help="KxN")
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--threads", action="append", type=int)
    parser.add_argument(
        "--only", action="append", help="candidates that begin with this, beside those that ratios are to"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="for each candidate of a case")
    told = parser.parse_args()
    if library_path() is None:
        sys.exit("there is no native library to measure: build it (README)")
    only = (*BASES, *(told.only or [""]))
    names = [name for name in CANDIDATES if name.startswith(only)]
    shapes = [tuple(map(int, shape.split("x"))) for shape in told.shape] if told.shape else SHAPES
    print(f"{processor()}; ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}", flush=True)
    cases = [
        Case(k, n, batch, threads)
        for k, n in shapes
        for batch in told.batch or BATCHES
        for threads in told.threads or (1, 2)
    ]
    columns = [measure(case, names, told.seconds) for case in cases]
    print(f"\nus (times faster than {', '.join(BASES)})\n")
    print(f"| | {' | '.join(map(str, cases))} |")
    print(f"| --- |{' ---: |' * len(cases)}")
    print(f"| {PLAIN}, GB/s | {' | '.join(f'{column.read:.1f}' for column in columns)} |")
    for name in names:
        print(f"| {name} | {' | '.join(column.cells[name] for column in columns)} |")


if __name__ == "__main__":
    main()
