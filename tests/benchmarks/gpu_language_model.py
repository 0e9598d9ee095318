"""DeepTwist on the medium language model of the Penn Treebank, on a GPU, in less than ten minutes.

`python tests/benchmarks/gpu_language_model.py --results FILE` prints step times beside hand-written PyTorch, then
retrains `trained/ptb_medium.onnx` of the data folder (DTC_DATA) with `dtc compress`: its LSTM weights by svd of rank 96
for 8 epochs, and with what time is left in 1 bit for 4. For each it prints the time of a step, the share of the
training time that the distortions took, and the test perplexity of the original, of its compression without retraining,
and of the retrained file. What there is is written after each part, so that a machine that is taken away leaves it.

`--tiny --device cpu` tries it in a minute or two: a small model, a few steps, a little text.
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
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CARRY = ("--carry", "hn=h0", "--carry", "cn=c0")
TEXT = ("--data", "dtc.models.datasets:ptb", "--eval-data", "dtc.models.datasets:ptb_valid", "--batch-size", "20")


@dataclass(frozen=True)
class Part:
    """One retraining: the method, how long, and at which rates: those of trials by hand."""

    name: str
    method: tuple[str, ...]
    training: tuple[str, ...]
    seconds: float
    """Less time than that left: it is not begun."""


PARTS = (
    Part("svd of rank 96", ("svd", "--rank", "96"),
         ("--epochs", "8", "--distort-every", "100", "--lr", "2.6", "--lr-after", "3", "--lr-factor", "0.606"), 0),
    Part("1 bit", ("binary", "--bits", "1"),
         ("--epochs", "4", "--distort-every", "1000", "--lr", "1.5", "--lr-after", "2", "--lr-factor", "0.588"), 200),
)  # fmt: skip
TINY = ("--steps", "6", "--distort-every", "3", "--lr", "1")
LITTLE = """from itertools import islice
from dtc.models.datasets import ptb


def text(batch_size=20):
    return islice(ptb(batch_size=batch_size), 6)
"""


def dtc(*arguments: str) -> dict[str, Any]:
    """Run the product's command and return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "dtc", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"dtc {' '.join(arguments)}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def retrained(part: Part, model: Path, folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Compress the model with and without retraining; return times, share of the distortions, and the metric."""
    include = () if chosen.tiny else ("--include", "lstm*")
    method = ("--method", *part.method, *include, "--seconds", "0", "--force", "--allow-growth")
    once, output = folder / "once.onnx", folder / f"{part.name}.onnx"
    dtc("compress", str(model), "-o", str(once), *method)
    training, text = part.training, TEXT
    if chosen.tiny:
        (folder / "little.py").write_text(LITTLE)
        training, text = TINY, ("--data", f"{folder / 'little.py'}:text", "--eval-data", f"{folder / 'little.py'}:text")
    started = time.monotonic()
    report = dtc(
        "compress", str(model), "-o", str(output), *method, "--retrain", "--engine", "torch", "--device", chosen.device,
        "--precision", chosen.precision, "--optimizer", "sgd", "--clip-norm", str(5 / 35), "--schedule", "decay",
        *training, *text, *CARRY,
        "--run", str(output.with_suffix(".run")), "--checkpoint-every", "2000",
    )  # fmt: skip
    facts = json.loads((output.with_suffix(".run") / "result.json").read_text())
    seconds = facts["seconds"]
    return {
        "part": part.name,
        "seconds": time.monotonic() - started,
        "steps": facts["step"],
        "ms a step": 1e3 * seconds["step"] / facts["step"],
        "share of distortions": seconds["distortion"] / sum(seconds.values()),
        "ratio of the file": report["ratios"]["file"],
        "validation": facts["best"]["score"],
        "test": {} if chosen.tiny else tested(model, {"one-shot": once, "retrained": output}),
    }


def tested(model: Path, files: dict[str, Path]) -> dict[str, float]:
    """Return the perplexity on the test text, of the original model first."""
    found = {}
    for name, file in files.items():
        told = ("--data", "dtc.models.datasets:ptb_test", *CARRY, "--seconds", "0")
        metric = dtc("check", str(model), str(file), *told)["metric"]
        found |= {"original": metric["before"], name: metric["after"]}
    return found


def steps(device: str, bursts: int) -> list[str]:
    """Return what `training_step.py` prints for the medium model."""
    command = [sys.executable, str(HERE / "training_step.py"), "--device", device, "--model", "ptb-medium"]
    done = subprocess.run([*command, "--bursts", str(bursts)], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr[-500:]).splitlines()


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry the parts out one after the other, as far as the time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--minutes", type=float, default=9.5, help="no part is begun that would not end in time")
    parser.add_argument("--results", type=Path, default=Path("gpu-language-model.json"))
    parser.add_argument("--tiny", action="store_true", help="a small model and a few steps, to see that it works")
    chosen = parser.parse_args(arguments)
    began, data = time.monotonic(), Path(os.environ["DTC_DATA"])
    model = data / ("onnx/ptb_rnnlm_lstm100_derived.onnx" if chosen.tiny else "trained/ptb_medium.onnx")
    told: dict[str, Any] = {"device": _device(chosen.device), "precision": chosen.precision, "model": model.name}
    told |= {name: version(name) for name in ("dtc", "torch", "onnxruntime")} | {"python": platform.python_version()}
    told |= {"step": [] if chosen.tiny else steps(chosen.device, 8), "parts": []}
    print("\n".join(told["step"]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            left = 60 * chosen.minutes - (time.monotonic() - began)
            if left < part.seconds and not chosen.tiny:
                print(f"{part.name}: {left:.0f} s are left, it is not begun")
                continue
            told["parts"].append(retrained(part, model, Path(folder), chosen))
            print(json.dumps(told["parts"][-1]), flush=True)
            chosen.results.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _device(name: str) -> str:
    if not name.startswith("cuda"):
        return f"{name}, {platform.processor() or platform.machine()}"
    import torch

    return str(torch.cuda.get_device_name(name))


if __name__ == "__main__":
    main()
