"""DeepTwist on the medium language model of the Penn Treebank, on a GPU, in less than ten minutes.

`python tests/benchmarks/gpu_language_model.py --results FILE` prints step times beside hand-written PyTorch, then
retrains `trained/ptb_medium.onnx` of the data folder (DTC_DATA) with `dtc compress`: its LSTM weights by svd of rank 96
for 8 epochs, and with what time is left in 1 bit for 4. For each it prints the time of a step, the share of the
training time that the distortions took, and the test perplexity of the original, of its compression without
retraining, and of the retrained file. Tests are made on the CPU while the next part trains. What there is is written
after each part, so that a machine that is taken away leaves it.

`--tiny --device cpu` goes the same way in a minute or two: a small model, a few steps, a little text.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CARRY = ("--carry", "hn=h0", "--carry", "cn=c0")


@dataclass(frozen=True)
class Part:
    """One retraining: the method, how long, and at which rates: those of trials by hand."""

    name: str
    method: tuple[str, ...]
    training: tuple[str, ...]
    seconds: float
    """Less time than that left: it is not begun."""

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Return where the model lies, compressed without and with retraining."""
        return folder / f"{self.name}, one-shot.onnx", folder / f"{self.name}.onnx"


@dataclass(frozen=True)
class Scale:
    """What is trained on what: the model in the folder of data, the function of each text, the parts."""

    model: str
    texts: tuple[str, str, str]
    """To train on, to evaluate on, to test on."""
    parts: tuple[Part, ...]
    timed: tuple[str, ...]
    """Arguments of `training_step.py`."""


FULL = Scale(
    "trained/ptb_medium.onnx",
    ("dtc.models.datasets:ptb", "dtc.models.datasets:ptb_valid", "dtc.models.datasets:ptb_test"),
    (
        Part("svd of rank 96", ("svd", "--rank", "96", "--include", "lstm*"),
             ("--epochs", "8", "--distort-every", "100", "--evaluate-every", "2600",
              "--lr", "2.6", "--lr-after", "3", "--lr-factor", "0.606"), 0),
        Part("1 bit", ("binary", "--bits", "1", "--include", "lstm*"),
             ("--epochs", "4", "--distort-every", "1000", "--evaluate-every", "2000",
              "--lr", "1.5", "--lr-after", "2", "--lr-factor", "0.588"), 200),
    ),
    ("--model", "ptb-medium", "--bursts", "8"),
)  # fmt: skip
LITTLE = """from itertools import islice
from dtc.models.datasets import ptb


def text(batch_size=20):
    return islice(ptb(batch_size=batch_size), 6)
"""


def tiny(folder: Path) -> Scale:
    """Return what takes little time, its text in the folder."""
    (folder / "little.py").write_text(LITTLE)
    few = ("--steps", "6", "--distort-every", "3", "--lr", "1")
    parts = (
        Part("svd of rank 8", ("svd", "--rank", "8"), few, 0),
        Part("1 bit", ("binary", "--bits", "1"), few, 0),
    )
    text = f"{folder / 'little.py'}:text"
    return Scale("onnx/ptb_rnnlm_lstm100_derived.onnx", (text,) * 3, parts, ("--model", "lenet-5", "--bursts", "1"))


def dtc(*arguments: str) -> dict[str, Any]:
    """Run the product's command and return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "dtc", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"dtc {' '.join(arguments)}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def retrained(part: Part, scale: Scale, model: Path, folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Compress the model with and without retraining; return times, share of the distortions, and the metric."""
    method = ("--method", *part.method, "--seconds", "0", "--force", "--allow-growth")
    once, output = part.files(folder)
    dtc("compress", str(model), "-o", str(once), *method)
    train, evaluate, _ = scale.texts
    started = time.monotonic()
    report = dtc(
        "compress", str(model), "-o", str(output), *method, "--retrain", "--engine", "torch", "--device", chosen.device,
        "--precision", chosen.precision, "--optimizer", "sgd", "--clip-norm", str(5 / 35), "--schedule", "decay",
        *part.training, "--data", train, "--eval-data", evaluate, "--batch-size", "20", *CARRY,
        "--run", str(output.with_suffix(".run")), "--checkpoint-every", "2000",
    )  # fmt: skip
    facts = json.loads((output.with_suffix(".run") / "result.json").read_text())
    seconds = facts["seconds"]
    return {
        "part": part.name,
        "engine": report["training"]["engine"],
        "seconds": time.monotonic() - started,
        "steps": facts["step"],
        "ms a step": 1e3 * seconds["step"] / facts["step"],
        "distortions": facts["distortions"],
        "share of distortions": seconds["distortion"] / sum(seconds.values()),
        "seconds by kind": seconds,
        "ratio of the file": report["ratios"]["file"],
        "validation": facts["best"]["score"],
    }


def tested(model: Path, text: str, files: Sequence[Path]) -> dict[str, float]:
    """Return the perplexity on the text for tests: of the model, and of its compression without and with retraining."""
    found: dict[str, float] = {}
    names = ("original", "one-shot", "retrained")
    for (before, first), (after, second) in pairwise(zip(names, (model, *files), strict=True)):
        metric = dtc("check", str(first), str(second), "--data", text, *CARRY, "--seconds", "0")["metric"]
        found |= {before: metric["before"], after: metric["after"]}
    return found


def steps(device: str, told: Sequence[str]) -> list[str]:
    """Return what `training_step.py` prints."""
    command = [sys.executable, str(HERE / "training_step.py"), "--device", device, *told]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [*done.stdout.splitlines(), *([] if done.returncode == 0 else [done.stderr[-500:]])]


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry the parts out one after the other, as far as the time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--minutes", type=float, default=9.5, help="no part is begun that would not end in time")
    parser.add_argument("--results", type=Path, default=Path("gpu-language-model.json"))
    parser.add_argument("--tiny", action="store_true", help="a small model and a few steps, to see that it works")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        scale = tiny(folder) if chosen.tiny else FULL
        model = Path(os.environ["DTC_DATA"]) / scale.model
        told: dict[str, Any] = {"device": _device(chosen.device), "precision": chosen.precision, "model": model.name}
        told |= {name: _version(name) for name in ("dtc", "torch", "onnxruntime")}
        told |= {"python": platform.python_version(), "step": steps(chosen.device, scale.timed), "parts": []}
        print("\n".join(told["step"]), flush=True)
        _keep(told, chosen.results)
        with ThreadPoolExecutor(1) as beside:
            tests = []
            for part in scale.parts:
                left = 60 * chosen.minutes - (time.monotonic() - began)
                if left < part.seconds:
                    print(f"{part.name}: {left:.0f} s are left, it is not begun")
                    continue
                told["parts"].append(retrained(part, scale, model, folder, chosen))
                print(json.dumps(told["parts"][-1]), flush=True)
                _keep(told, chosen.results)
                tests.append(beside.submit(tested, model, scale.texts[2], part.files(folder)))
            for facts, test in zip(told["parts"], tests, strict=True):
                facts["test"] = test.result()
                print(f"{facts['part']}, test: {json.dumps(facts['test'])}", flush=True)
                _keep(told, chosen.results)


def _keep(told: dict[str, Any], results: Path) -> None:
    results.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"  # run from its sources


def _device(name: str) -> str:
    if not name.startswith("cuda"):
        return f"{name}, {platform.processor() or platform.machine()}"
    import torch

    return str(torch.cuda.get_device_name(name))


if __name__ == "__main__":
    main()
