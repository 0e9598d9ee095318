"""Products of compressed weights in WebAssembly against a dense one of 128-bit instructions; a table of Markdown.

    python tests/benchmarks/products_in_wasm.py [--size 1024] [--seconds 1]

Each row is a bundle of target `wasm` with one product of a vector, the same weight again and again, measured in turns
with the bundle of the dense weight. Needs emscripten and Node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.bundles import deploy
from dtc.checking.measurements import machine
from dtc.deploy.programs import ProgramReport, require_program, run_reporting
from dtc.graph import save_model
from dtc.scratch import scratch_folder

RNG = np.random.default_rng(0)
RANK = 96
ROUNDS = 9

Factors: TypeAlias = list[npt.NDArray[np.float32]]


def _normal(rows: int, cols: int) -> npt.NDArray[Any]:
    return RNG.standard_normal((rows, cols))


def _signs(size: int, bits: int) -> Factors:
    """Sums of `bits` planes of signs with a coefficient a column, which is a row of what is stored."""
    planes = (np.sign(_normal(size, size)) * 0.5**plane for plane in range(bits))
    return [(sum(planes) * RNG.uniform(0.5, 1, size)).astype(np.float32)]


def _sparse(size: int) -> Factors:
    return [(_normal(size, size) * (RNG.random((size, size)) < 0.1)).astype(np.float32)]


def _codebook(size: int) -> Factors:
    return [RNG.choice(RNG.standard_normal(16), (size, size)).astype(np.float32)]


WEIGHTS: Mapping[str, Callable[[int], Factors]] = {
    "1 bit": lambda size: _signs(size, 1),
    "2 bits": lambda size: _signs(size, 2),
    "3 bits": lambda size: _signs(size, 3),
    "90 % sparse": _sparse,
    f"rank {RANK}": lambda size: [_normal(size, RANK).astype(np.float32), _normal(RANK, size).astype(np.float32)],
    "16 values": _codebook,
}


@click.command()
@click.option("--size", type=int, default=1024, show_default=True, help="rows and columns")
@click.option("--seconds", type=float, default=1.0, show_default=True, help="for the latency of each")
@click.option("--weight", "names", multiple=True, default=tuple(WEIGHTS), show_default=True, help="(repeatable)")
def main(size: int, seconds: float, names: tuple[str, ...]) -> None:
    """Print a row for each kind of weight."""
    print("| weight | module, bytes | dense | this | ratio | rel. L2 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    with scratch_folder() as folder:
        _bundle([_normal(size, size).astype(np.float32)], folder, "dense")
        for name in names:
            _bundle(WEIGHTS[name](size), folder, name)
            before, after = _in_turns([folder / "dense", folder / name], seconds)
            nbytes = (folder / name / "model.wasm").stat().st_size
            told = f"{1e6 * before[0]:.1f} us | {1e6 * after[0]:.1f} us | {before[0] / after[0]:.2f}x"
            print(f"| {name} | {nbytes:,} | {told} | {after[1].relative_l2:.1e} |", flush=True)
    print(f"\n{size} x {size}, {after[1].runtime}, {machine()}")


def _in_turns(bundles: Sequence[Path], seconds: float) -> list[tuple[float, ProgramReport]]:
    """Run bundles in Node in turns; return the least latency of each, and what it found."""
    node = require_program(["node"], "apt install nodejs")
    found = [[run_reporting([node, "run.mjs", f"{seconds:g}"], each) for each in bundles] for _ in range(ROUNDS)]
    return [(min(each.latency or np.inf for each in reports), reports[0]) for reports in zip(*found, strict=True)]


def _bundle(factors: Factors, folder: Path, name: str) -> None:
    """Deploy a model that multiplies a vector by one factor after the other."""
    x = ir.Value(name="x", shape=ir.Shape([1, len(factors[0])]), type=ir.TensorType(ir.DataType.FLOAT))
    weights = [ir.Value(name=f"w{index}", const_value=ir.tensor(each)) for index, each in enumerate(factors)]
    nodes, value = [], x
    for weight in weights:
        assert weight.const_value is not None
        weight.shape, weight.dtype = ir.Shape(weight.const_value.shape), weight.const_value.dtype
        nodes.append(ir.node("MatMul", [value, weight]))
        value = nodes[-1].outputs[0]
    value.name, value.shape, value.type = "y", ir.Shape([1, factors[-1].shape[1]]), x.type
    graph = ir.Graph([x], [value], nodes=nodes, initializers=weights, opset_imports={"": 17}, name="product")
    save_model(ir.Model(graph, ir_version=8), folder / f"{name}.onnx")
    deploy(folder / f"{name}.onnx", "wasm", folder / name)


if __name__ == "__main__":
    main()
