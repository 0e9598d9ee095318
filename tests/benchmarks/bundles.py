"""Bundles of real models in several forms, beside the originals': sizes, load, latency, memory; a table of Markdown.

    python tests/benchmarks/bundles.py TARGET... [--seconds 2]

Needs the folder of DTC_DATA, and for a target the programs that `dtc deploy --check` names. Modules of target `wasm`
are measured beside the original in ONNX Runtime Web.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from deployed_forms import FORMS

from dtc.bundles import BundleCheck, DeployOptions, check_bundle, deploy
from dtc.bundles.document import CheckedBundle
from dtc.checking.measurements import machine
from dtc.deploy.target import find_deploy_target
from dtc.formatting import size
from dtc.job import Job
from dtc.pipeline import compress
from dtc.recipe import Recipe, Rule
from dtc.scratch import scratch_folder

MODELS: Mapping[str, Mapping[str, Any]] = {
    "ptb_rnnlm_lstm100_derived": {},
    "silero_vad_v5": {"sr": np.array(16000)},
    "resnet20_cifar10_derived": {},
}


AGAINST: Mapping[str, str] = {"wasm": "web"}
"""The target of the original's bundle, where it is another one."""


@click.command()
@click.argument("targets", nargs=-1, required=True)
@click.option("--seconds", type=float, default=2.0, show_default=True, help="for the latency of each way")
@click.option("--model", "models", multiple=True, default=tuple(MODELS), show_default=True, help="by name (repeatable)")
@click.option("--form", "forms", multiple=True, default=tuple(FORMS), show_default=True, help="a method (repeatable)")
def main(targets: tuple[str, ...], seconds: float, models: tuple[str, ...], forms: tuple[str, ...]) -> None:
    """Print a row for each target, model, form and way to run it."""
    print("| target | model | form | shipped, bytes | gzip | ran in | load | latency | against the original | memory |")
    print("| --- | --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |", flush=True)
    for target, name in product(targets, models):
        with scratch_folder() as folder:
            path = Path(os.environ["DTC_DATA"]) / "onnx" / f"{name}.onnx"
            options = DeployOptions(fixed=MODELS[name])
            deploy(path, AGAINST.get(target, target), folder / "original", options)
            for index, form in enumerate(forms):
                deploy(_compressed(path, form, target, folder), target, folder / form, options)
                found = check_bundle(folder / form, beside=folder / "original", seconds=seconds)
                for row in _rows(name, form, found, first=index == 0):
                    print(row, flush=True)
    print(f"\n{machine()}")


def _compressed(path: Path, form: str, target: str, folder: Path) -> Path:
    lower = find_deploy_target(target).lowering
    recipe = Recipe(rules=(Rule(method=form, options=dict(FORMS[form])),), lower=lower)
    return compress(path, recipe, Job(folder / f"{form}.onnx", seconds=0, fixed=MODELS[path.stem])).output


def _rows(name: str, form: str, found: BundleCheck, *, first: bool) -> Iterator[str]:
    assert found.beside is not None
    before = {run.name: run.found for run in found.beside.runs}
    for label, bundle in (("original", found.beside), (form, found.bundle))[0 if first else 1 :]:
        for run in bundle.runs:
            if run.found is None:
                yield f"| {bundle.target} | {name} | {label} | | | {run.name} | {run.outcome}: {run.reason} | | | |"
                continue
            other = before.get(run.name)
            faster = (
                f"{other.latency / run.found.latency:.2f}x"
                if bundle is not found.beside and other and other.latency and run.found.latency
                else ""
            )
            yield _row(name, label, bundle, run.name, run.found, faster)


def _row(name: str, label: str, bundle: CheckedBundle, way: str, told: Any, faster: str) -> str:
    load = "" if told.load is None else f"{1e3 * told.load:.0f} ms"
    latency = "" if told.latency is None else f"{1e3 * told.latency:.3g} ms"
    memory = "" if told.memory is None else size(told.memory)
    sizes = [f"{bundle.model_bytes:,}", f"{bundle.model_gzip:,}"]
    cells = [bundle.target, name, label, *sizes, way, load, latency, faster, memory]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
