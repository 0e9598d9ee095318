"""Bundles of real models in several forms, beside the originals': sizes, load, latency, memory, for `docs/bundles.md`.

    python tests/benchmarks/bundles.py TARGET... [--rounds 5] [--results docs/results/bundles/measured.json]
    python docs/generate

A bundle and the one beside it take turns, one short run each, and the median of the rounds counts, so that what else
the machine does meets both. Needs the folder of DTC_DATA, and for a target the programs that `dtc deploy --check`
names. Modules of target `wasm` are measured beside the original in ONNX Runtime Web.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
from deployed_forms import FORMS

from dtc.bundles import DeployOptions, check_bundle, deploy
from dtc.bundles.document import BundleCheck, BundleDescription
from dtc.bundles.measured import MeasuredBundle, read_measured
from dtc.deploy.target import find_deploy_target
from dtc.errors import DtcError
from dtc.job import Job
from dtc.pipeline import compress
from dtc.recipe import Recipe, Rule
from dtc.scratch import scratch_folder

MODELS: Mapping[str, Mapping[str, Any]] = {
    "onnx/ptb_rnnlm_lstm100_derived": {},
    "onnx/silero_vad_v5": {"sr": np.array(16000)},
    "onnx/dtln_model_1": {},
    "onnx/gtcrn_simple": {},
    "onnx/mnist-8": {},
    "onnx/resnet20_cifar10_derived": {},
    "trained/mobilenetv2_cifar10": {},
}
"""Paths below DTC_DATA, and inputs that are fixed."""

ONE_SIZE = ("portable",)
"""Targets whose bundles take inputs of one size, as OpenVINO and tract do not take branches that sizes decide."""

AGAINST: Mapping[str, str] = {"wasm": "web"}
"""The target of the original's bundle, where it is another one."""

Measure: TypeAlias = Callable[..., BundleCheck]
"""check_bundle, for so many seconds and rounds."""

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "bundles" / "measured.json"


@click.command()
@click.argument("targets", nargs=-1, required=True)
@click.option("--seconds", type=float, default=0.3, show_default=True, help="for the latency of each way in a round")
@click.option("--rounds", type=int, default=5, show_default=True, help="turns of a bundle and the one beside it")
@click.option("--model", "models", multiple=True, default=tuple(MODELS), show_default=True, help="by path (repeatable)")
@click.option("--form", "forms", multiple=True, default=tuple(FORMS), show_default=True, help="a method (repeatable)")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="file that takes what is found")
def main(
    targets: tuple[str, ...],
    seconds: float,
    rounds: int,
    models: tuple[str, ...],
    forms: tuple[str, ...],
    results: Path,
) -> None:
    """Measure a bundle for each target, model and form, and put what is found into the file of results."""
    results.parent.mkdir(parents=True, exist_ok=True)
    measure = partial(check_bundle, seconds=seconds, rounds=rounds)
    for name in models:
        with scratch_folder() as folder:
            for target in targets:
                for found in _measured(target, name, ["original", *forms], folder, measure):
                    updated = read_measured(results).updated([found])
                    results.write_text(updated.to_json(indent=1) + "\n", encoding="utf-8")
                    print(_told(found), flush=True)


def _measured(target: str, name: str, forms: list[str], folder: Path, check: Measure) -> Iterator[MeasuredBundle]:
    path = Path(os.environ["DTC_DATA"]) / f"{name}.onnx"
    bundles, fetched = folder / target, folder / "fetched"
    bundles.mkdir()
    fetched.mkdir(exist_ok=True)
    beside = bundles / "original"
    if target in AGAINST:
        beside = bundles / "beside"
        with suppress(DtcError):  # told of the bundle of that target
            _deploy(path, AGAINST[target], name, beside)
    for form in forms:
        facts = {"target": target, "model": path.stem, "form": form}
        try:
            small = path if form == "original" else _compressed(path, name, form, target, folder)
            described = _deploy(small, target, name, bundles / form)
        except DtcError as error:
            yield MeasuredBundle.model_validate(facts | {"refused": str(error).replace(f"{folder}/", "")})
            continue
        other = beside if beside.exists() and beside != bundles / form else None
        checked = check(bundles / form, beside=other, fetched=fetched)
        timed = () if checked.beside is None else checked.beside.runs
        facts |= {"figures": described.figures, "versions": described.versions}
        facts["beside"] = {run.name: run.found.latency for run in timed if run.found and run.found.latency}
        facts["beside_loads"] = {run.name: run.found.load for run in timed if run.found and run.found.load}
        facts["found"] = checked.bundle.model_copy(update={"folder": form})
        yield MeasuredBundle.model_validate(facts)


def _compressed(path: Path, name: str, form: str, target: str, folder: Path) -> Path:
    """Return the file of a model in a form, which targets of the same lowering have in common."""
    lower = find_deploy_target(target).lowering
    written = folder / f"{form}.{lower}.onnx"
    if not written.exists():
        recipe = Recipe(rules=(Rule(method=form, options=dict(FORMS[form])),), lower=lower)
        compress(path, recipe, Job(written, seconds=0, fixed=MODELS.get(name, {})))
    return written


def _deploy(path: Path, target: str, name: str, folder: Path) -> BundleDescription:
    return deploy(path, target, folder, DeployOptions(fixed=MODELS.get(name, {}), one_size=target in ONE_SIZE))


def _told(found: MeasuredBundle) -> str:
    words = [found.target, found.model, found.form]
    if found.found is None:
        return f"{' '.join(words)}: refused: {found.refused}"
    words.append(f"{found.found.model_bytes:,} bytes")
    for run in found.found.runs:
        words.append(f"{run.name}: {run.outcome} {run.reason}")
        if run.found is not None:
            words.append(f"{run.found.relative_l2:.1e}, load {run.found.load}, latency {run.found.latency}")
            words.append(f"beside {found.beside_loads.get(run.name)}, {found.beside.get(run.name)}")
    return " ".join(words)


if __name__ == "__main__":
    main()
