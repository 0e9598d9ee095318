"""Language models with compressed weights on the native kernels, against float32 and dynamically quantized weights.

Run: `python tests/benchmarks/native_language_model.py [--model medium] [--batch 1] [--threads 1] [--seconds 2]` (each
may be given more than once). Models: `medium` and `large`, the PTB language models of Zaremba et al. (two layers of 650
and of 1,500 units, embedding and softmax layer over 10,000 words), with their initial weights: speed does not depend on
the numbers. 35 steps. All candidates of a case take turns in one process, timed as `turns` says; printed is a table in
Markdown: milliseconds, and how many times faster that is than float32 and than int8. A single layer is measured by
`native_recurrent.py`.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from native_matmul import processor
from onnxruntime.quantization import QuantType, quantize_dynamic
from turns import Times, take_turns

from dtc.graph import save_model
from dtc.models.reference import build
from dtc.passes.lower import find_target, lower
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.method import DistortionStep
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise, strip_training
from dtc.recipe import Rule
from dtc.session import session

STEPS = 35
BASES = ("float32", "dynamic int8")
"""What ratios are to."""
MODELS = ("medium", "large")
FORMS: dict[str, tuple[str, dict[str, Any], int]] = {
    "binary 2, tables of 8": ("binary", {"bits": 2}, 4),
    "binary 2, tables of 16": ("binary", {"bits": 2}, 1),
    "binary 1, tables of 8": ("binary", {"bits": 1}, 4),
    "sparse 90%": ("prune", {"sparsity": 0.9}, 1),
    "rank 96": ("svd", {"rank": 96}, 1),
}
"""What each candidate is: a method, its options, and the arithmetic of binary codes."""


def original(name: str) -> ir.Model:
    """Return the float model."""
    model = build(f"ptb-{name}")
    normalise(model)
    strip_training(model)
    return model


def compressed(name: str, form: str) -> ir.Model:
    """Return the model with every site in the form."""
    method, options, level = FORMS[form]
    model = original(name)
    plan = make_plan(model, [Rule(method=method, options=options)])
    distorted = plan.distort(at=DistortionStep(steps=1))
    lower(model, plan.compressed(distorted.forms), find_target("compute"))
    set_accuracy_level(model, level)
    return model


def write(name: str, folder: Path) -> dict[str, Path]:
    """Write every candidate's file."""
    paths = {"float32": folder / "float32.onnx", "dynamic int8": folder / "int8.onnx"}
    save_model(original(name), paths["float32"])
    kinds = ["LSTM", "MatMul", "Gemm"]
    quantize_dynamic(paths["float32"], paths["dynamic int8"], op_types_to_quantize=kinds, weight_type=QuantType.QInt8)
    for form in FORMS:
        paths[form] = folder / f"{form.replace(' ', '-')}.onnx"
        save_model(compressed(name, form), paths[form])
    return paths


def inputs_of(running: onnxruntime.InferenceSession, batch: int) -> dict[str, Any]:
    """Return inputs of `STEPS` steps."""
    rng, feeds, sizes = np.random.default_rng(0), {}, {"T": STEPS, "N": batch}
    for given in running.get_inputs():
        shape = [sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in given.shape]
        numbers = rng.integers(0, 1000, shape) if "int" in given.type else rng.standard_normal(shape) * 0.1
        feeds[given.name] = numbers.astype(np.int64 if "int64" in given.type else np.float32)
    return feeds


def measure(batch: int, threads: int, paths: dict[str, Path], seconds: float) -> Times:
    """Measure one case."""
    running = {
        form: session(path, threads=threads, settings={"session.force_spinning_stop": "1"})
        for form, path in paths.items()
    }
    feeds = inputs_of(running["float32"], batch)
    runs = {form: partial(each.run, None, feeds) for form, each in running.items()}
    return take_turns(runs, seconds=seconds, threads=threads)


def table(name: str, cases: Sequence[tuple[int, int]], seconds: float) -> None:
    """Print the table of a model, with a column for each batch and number of threads."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write(name, Path(folder))
        found = [measure(batch, threads, paths, seconds) for batch, threads in cases]
        print(f"\n{name}: ms (times faster than {', '.join(BASES)})\n")
        titles = [f"batch {batch}" + (f", {threads} threads" if threads > 1 else "") for batch, threads in cases]
        print(f"| | file | {' | '.join(titles)} |\n| --- | ---: |{' ---: |' * len(cases)}")
        for form, path in paths.items():
            cells = []
            for times in found:
                ratios = ", ".join(f"{times.ratio(base, form):.2f}" for base in BASES)
                cells.append(f"{times.median(form) * 1e3:.1f} ({ratios})")
            print(f"| {form} | {path.stat().st_size / 1e6:.2f} MB | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--threads", action="append", type=int)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each candidate of a case")
    told = parser.parse_args()
    print(f"{processor()}; ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}")
    cases = [(batch, threads) for batch in told.batch or (1, 20) for threads in told.threads or (1, 2)]
    for name in told.model or MODELS:
        table(name, cases, told.seconds)


if __name__ == "__main__":
    main()
