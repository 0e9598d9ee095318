"""Whether torch.compile makes the steps of recurrent cells faster: `python tests/benchmarks/training_compiled.py`.

GRU as ONNX has it by default (the reset gate before the product) and LSTM with peepholes are no layers of torch, so the
engine `torch` takes them step by step. Here a training step of such a node, forward and backward, is timed with the
steps of the cell as they are and compiled; they take turns, on one thread. Beside it stands how long compiling took. It
needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from dtc.models.net import Net
from dtc.training.engines.torch.calls import Moment
from dtc.training.engines.torch.operators import recurrent
from dtc.training.engines.torch.program import Program

CELLS = {"GRU": recurrent._GruCell, "LSTM": recurrent._LstmCell}


def node(kind: str, hidden: int) -> ir.Model:
    """A recurrent node over x `[T, N, hidden]` that no layer of torch computes."""
    net, gates = Net(kind, 0), {"GRU": 3, "LSTM": 4}[kind]
    x = net.input("x", ir.DataType.FLOAT, ["T", "N", hidden])
    weights = [net.uniform(name, (1, gates * hidden, hidden), 0.1) for name in "WR"]
    rest = [net.uniform("B", (1, 2 * gates * hidden), 0.1)]
    if kind == "LSTM":
        rest += [None, None, None, net.uniform("P", (1, 3 * hidden), 0.1)]
    return net.model({"y": (net.op(kind, "node", [x, *weights, *rest], hidden_size=hidden), ["T", 1, "N", hidden])})


def training_step(model: ir.Model, x: Tensor) -> Callable[[], object]:
    """Return what runs the node forward and backward."""
    leaves = {
        value: torch.from_numpy(np.array(value.const_value.numpy())).requires_grad_()
        for value in model.graph.initializers.values()
        if value.const_value is not None
    }
    program, known = Program(model, list(leaves)), {model.graph.inputs[0]: x, **leaves}
    wanted = list(model.graph.outputs)

    def step() -> object:
        (y,) = program.run(known, wanted, Moment(training=True))
        return torch.autograd.grad(y.square().sum(), list(leaves.values()))

    return step


def main() -> None:
    """Print one line a node."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, action="append", help="repeatable (default: 64, 256)")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, {chosen.steps} steps of {chosen.batch} samples, one thread")
    for kind in CELLS:
        for hidden in chosen.hidden or (64, 256):
            x = torch.randn(chosen.steps, chosen.batch, hidden)
            print(f"{kind}, hidden {hidden}: {compared(kind, hidden, x, chosen.rounds)}", flush=True)


def compared(kind: str, hidden: int, x: Tensor, rounds: int) -> str:
    """Return in words the median time of a training step with either, and that of compiling."""
    cell, step = CELLS[kind], training_step(node(kind, hidden), x)
    ways = {"as it is": cell.step, "compiled": torch.compile(cell.step, dynamic=False)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    began = spent = time.perf_counter()
    for number in range(rounds + 1):
        for name, function in ways.items():
            with mock.patch.object(cell, "step", function):
                step()
                start = time.perf_counter()
                step()
                taken[name].append(time.perf_counter() - start)
        spent = spent if number else time.perf_counter()
    plain, compiled = (1e3 * float(np.median(times[1:])) for times in taken.values())
    return (
        f"{plain:.1f} ms as it is, {compiled:.1f} ms compiled ({plain / compiled:.2f} times as fast), "
        f"{spent - began:.0f} s to compile"
    )


if __name__ == "__main__":
    main()
