"""Programs in C of real models in several forms: flash, RAM, products of a run, error, instructions on a Cortex-M4.

    python tests/benchmarks/programs_in_c.py [--model mnist-8] [--form binary]

Needs the folder of DTC_DATA, gcc and make; instructions are counted where arm-none-eabi-gcc and qemu-system-arm are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from deployed_forms import FORMS

from dtc.bundles import BundleDescription, DeployOptions, check_bundle, deploy
from dtc.bundles.document import CheckedBundle
from dtc.checking.measurements import machine
from dtc.errors import DtcError
from dtc.job import Job
from dtc.pipeline import compress
from dtc.recipe import Recipe, Rule
from dtc.scratch import scratch_folder

MODELS: Mapping[str, Mapping[str, Any]] = {
    "onnx/mnist-8": {},
    "onnx/resnet20_cifar10_derived": {},
    "trained/mobilenetv2_cifar10": {},
    "onnx/ptb_rnnlm_lstm100_derived": {},
    "onnx/silero_vad_v5": {"sr": np.array(16000)},
    "onnx/dtln_model_1": {},
    "onnx/gtcrn_simple": {},
}


@click.command()
@click.option("--model", "models", multiple=True, default=tuple(MODELS), show_default=True, help="by path (repeatable)")
@click.option("--form", "forms", multiple=True, default=tuple(FORMS), show_default=True, help="a method (repeatable)")
def main(models: tuple[str, ...], forms: tuple[str, ...]) -> None:
    """Print a row for each model and form, the original's first."""
    print("| model | form | weights, bytes | other constants | arena | products | rel. L2 | instructions, Cortex-M4 |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for name in models:
        path = Path(os.environ["DTC_DATA"]) / f"{name}.onnx"
        for form in ("original", *forms):
            with scratch_folder() as folder:
                try:
                    print(_row(name, form, path, folder), flush=True)
                except DtcError as error:
                    print(f"| {name} | {form} | {error} | | | | | |", flush=True)
    print(f"\n{machine()}")


def _row(name: str, form: str, path: Path, folder: Path) -> str:
    fixed = MODELS.get(name, {})
    if form != "original":
        recipe = Recipe(rules=(Rule(method=form, options=dict(FORMS[form])),))
        path = compress(path, recipe, Job(folder / f"{form}.onnx", seconds=0, fixed=fixed)).output
    told = deploy(path, "c", folder / "bundle", DeployOptions(fixed=fixed))
    return f"| {name} | {form} | {_figures(told)} | {_found(check_bundle(folder / 'bundle', seconds=0).bundle)} |"


def _figures(told: BundleDescription) -> str:
    return " | ".join(f"{count:,}" for count in told.figures.values())


def _found(bundle: CheckedBundle) -> str:
    """Return the largest error of all ways, and what the emulated Cortex-M4 counted."""
    found = {run.name: run.found for run in bundle.runs if run.found is not None}
    worst = max((each.relative_l2 for each in found.values()), default=np.nan)
    counted = re.search(r"(\d+) instructions", found["Cortex-M4"].runtime) if "Cortex-M4" in found else None
    return f"{worst:.1e} | {'not run' if counted is None else f'{int(counted[1]):,}'}"


if __name__ == "__main__":
    main()
