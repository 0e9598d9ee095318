"""The file of a run directory that holds the initial levels of quantized activations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dtc.errors import TrainingError
from dtc.passes.prepare.quantize_activations import Activation, Quantization
from dtc.passes.solvers.activation_levels import Levels

FILE = "activations.json"


def write_quantizations(folder: Path, quantizations: Sequence[Quantization]) -> None:
    """Write the levels of quantized activations to `activations.json` in a run directory; no file if there are none."""
    if quantizations:
        text = json.dumps([asdict(each) for each in quantizations], indent=2)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read_quantizations(folder: Path) -> list[Quantization]:
    """Return the levels that `write_quantizations` wrote to a run directory; empty without a file.

    Raises:
        TrainingError: The file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        return [
            Quantization(
                Activation(**facts["activation"] | {"readers": tuple(facts["activation"]["readers"])}),
                Levels(**facts["levels"]),
            )
            for facts in json.loads(path.read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: damaged ({error})") from error
