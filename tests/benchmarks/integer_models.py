"""8-bit integer models of dtc and of ONNX Runtime's static quantization: bytes, latency, accuracy, as Markdown.

    python tests/benchmarks/integer_models.py [MODEL...]

Without models: ResNet-20 and MobileNetV2 of `$DTC_DATA`. All three files of a model take turns in one process, on one
thread; both calibrate on the same 256 images of CIFAR-10's training set, and accuracy is that on its test images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import click
import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import dtc
from dtc.checking.measurements import MEASURED_SESSION, machine, measure_latency
from dtc.graph import load_model
from dtc.graph.signature import input_specs
from dtc.models.datasets import cifar10_plain, cifar10_test, data_file
from dtc.recipe import Data
from dtc.session import runner, session

MODELS = ("onnx/resnet20_cifar10_derived.onnx", "trained/mobilenetv2_cifar10.onnx")
IMAGES = 256
BATCHES = (1, 20)
SECONDS = 4.0


class _Images(CalibrationDataReader):
    """The images that levels are calibrated on, 32 at a time."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self._parts = iter([{name: images[start : start + 32]} for start in range(0, len(images), 32)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch."""
        return next(self._parts, None)


def by_onnxruntime(model: Path, folder: Path, name: str, images: np.ndarray) -> Path:
    """Return a file quantized as ONNX Runtime's documentation says: constants folded first, a scale a channel."""
    folded, output = folder / "folded.onnx", folder / "onnxruntime.onnx"
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(folded, output, _Images(name, images), quant_format=QuantFormat.QDQ, per_channel=True, **kinds)
    return output


def by_dtc(model: Path, folder: Path, name: str, images: np.ndarray, labels: np.ndarray, **options: bool) -> Path:
    """Return a file of the method int8."""
    np.savez(folder / "images.npz", **{name: images, "labels": labels})
    rule = dtc.Rule(method="int8", options=options)
    data = Data(train=str(folder / "images.npz"), held_out=0.1)
    output = folder / f"dtc{len(options)}.onnx"
    dtc.compress(model, dtc.Recipe(rules=(rule,), data=data), dtc.Job(output, seconds=0.0))
    return output


def accuracy(path: Path, name: str, most: int) -> float:
    """Return the share of the first test images that a file has right."""
    run, right, seen = session(path, threads=1), 0, 0
    for batch in islice(cifar10_test(batch_size=200), -(-most // 200)):
        logits = run.run(None, {name: batch["x"]})[0]
        right, seen = right + int((logits.argmax(1) == batch["labels"]).sum()), seen + len(logits)
    return right / seen


def rows(model: Path, folder: Path, test: int) -> Iterator[str]:
    """Yield the rows of a model."""
    batch = next(iter(cifar10_plain(batch_size=IMAGES)))
    name = input_specs(load_model(model))[0].name
    files = {
        "float32": model,
        "ONNX Runtime, static": by_onnxruntime(model, folder, name, batch["x"]),
        "dtc int8": by_dtc(model, folder, name, batch["x"], batch["labels"]),
        "dtc int8, --no-reduce-range": by_dtc(model, folder, name, batch["x"], batch["labels"], reduce_range=False),
    }
    ratios = [_ratios(list(files.values()), {name: batch["x"][:count]}) for count in BATCHES]
    for index, (called, path) in enumerate(files.items()):
        times = " | ".join(f"{each[index]:.2f}" for each in ratios)
        right = 100 * accuracy(path, name, test)
        yield f"| {model.stem} | {called} | {path.stat().st_size:,} | {times} | {right:.2f} |"


def _ratios(paths: Sequence[Path], feed: dict[str, np.ndarray]) -> list[float]:
    runs = [partial(runner(session(path, threads=1, settings=MEASURED_SESSION)), feed) for path in paths]
    taken = [each.median for each in measure_latency(runs, seconds=SECONDS)]
    return [each / taken[0] for each in taken]


@click.command()
@click.option("--test", type=click.IntRange(200), default=10_000, help="images to judge on")
@click.argument("models", nargs=-1, type=click.Path(path_type=Path, exists=True))
def main(models: tuple[Path, ...], test: int) -> None:
    """Print the table."""
    print(f"{machine()}, ONNX Runtime {ort.__version__}, one thread\n")
    print("| model | | bytes | " + " | ".join(f"latency, batch {each}" for each in BATCHES) + " | accuracy, % |")
    print("| --- | --- | ---: |" + " ---: |" * (len(BATCHES) + 1))
    for model in models or [data_file(name) for name in MODELS]:
        with tempfile.TemporaryDirectory() as folder:
            for row in rows(model, Path(folder), test):
                print(row, flush=True)


if __name__ == "__main__":
    main()
