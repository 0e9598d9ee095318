"""Language models with compressed weights on the native kernels, against float32 and dynamically quantized weights.

Run: `python tests/benchmarks/native_language_model.py [--model medium] [--batch 1] [--threads 1] [--seconds 2]` (each
may be given more than once). Models: `medium` and `large`, the PTB language models of Zaremba et al. (two layers of 650
and of 1,500 units, embedding and softmax layer over 10,000 words), with their initial weights: speed does not depend on
the numbers. 35 steps. All candidates of a case take turns in one process; printed are the median in milliseconds, and
how many times faster that is than float32 and than int8. A single layer is measured by `native_recurrent.py`.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from native_matmul import processor
from onnxruntime.quantization import QuantType, quantize_dynamic

from dtc.graph import save_model
from dtc.models.reference import build
from dtc.passes.lower import lower
from dtc.passes.lower.accuracy import set_accuracy_level
from dtc.passes.method import DistortionStep
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise, strip_training
from dtc.recipe import Rule
from dtc.session import session

STEPS = 35
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
    lower(model, plan.compressed(distorted.forms), "compute")
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


def measure(name: str, batch: int, threads: int, paths: dict[str, Path], seconds: float) -> None:
    """Measure and print one case."""
    running = {
        form: session(path, threads=threads, settings={"session.force_spinning_stop": "1"})
        for form, path in paths.items()
    }
    feeds = inputs_of(running["float32"], batch)
    taken: dict[str, list[float]] = {form: [] for form in paths}
    for each in running.values():
        each.run(None, feeds)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds * len(paths) or min(map(len, taken.values())) < 5:
        for form, each in running.items():
            start = time.perf_counter()
            each.run(None, feeds)
            taken[form].append(time.perf_counter() - start)
    found = {form: float(np.median(times)) for form, times in taken.items()}
    print(f"\n{name}, batch {batch}, {threads} thread{'s' * (threads > 1)}: ms, x float32, x int8; MB of file")
    for form, took in found.items():
        ratios = [found[base] / took for base in ("float32", "dynamic int8")]
        size = paths[form].stat().st_size / 1e6
        print(f"  {form:24} {took * 1e3:9.2f} {ratios[0]:6.2f} {ratios[1]:6.2f} {size:8.2f}", flush=True)


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--threads", action="append", type=int)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each candidate of a case")
    told = parser.parse_args()
    print(f"{processor()}; ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}")
    for name in told.model or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            paths = write(name, Path(folder))
            for batch in told.batch or (1, 20):
                for threads in told.threads or (1, 2):
                    measure(name, batch, threads, paths, told.seconds)


if __name__ == "__main__":
    main()
