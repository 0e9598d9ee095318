"""Bundles for any runtime: the file alone, in standard operators, checked in those runtimes that are installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from dtc.checking.differences import Comparison
from dtc.checking.elsewhere import as_wanted
from dtc.checking.runtime import RefusedError, Runtime, runtimes
from dtc.deploy.programs import MissingError, ProgramError, ProgramReport
from dtc.deploy.standard import put_functions_in_place
from dtc.deploy.target import MODEL, VECTORS, BundleRun, DeployTarget, Place
from dtc.errors import ModelError, UsageError
from dtc.graph import all_nodes, load_model
from dtc.graph.signature import input_specs

SLOW = "reference"
"""The evaluator of the package onnx, written to be read."""

_STANDARD = ("", "ai.onnx", "ai.onnx.ml")


class PortableTarget(DeployTarget):
    """A file of standard operators, without functions of dtc."""

    name = "portable"
    title = "any runtime that reads ONNX, such as OpenVINO and tract: the file alone, in standard operators"

    def prepare(self, model: ir.Model) -> list[str]:
        """Put the nodes of each function in the place of what calls it, and list the operators.

        Raises:
            ModelError: One is none of the ONNX standard.
        """
        notes = put_functions_in_place(model)
        InlinePass()(model)
        for node in all_nodes(model):
            if node.domain not in _STANDARD:
                raise ModelError(
                    f"node {node.name or node.outputs[0].name!r} ({node.domain}.{node.op_type}): is no operator of the "
                    "ONNX standard, which is all that other runtimes know; export the model without it, or take target "
                    "'onnxruntime'"
                )
        names = {f"{node.domain}.{node.op_type}".lstrip(".") for node in all_nodes(model)}
        notes.append(f"Its operators are {', '.join(sorted(names))}.")
        if "If" in names:
            mend = "--one-size takes away those that sizes decide, --input those that an input does"
            notes.append(f"OpenVINO and tract take no If; {mend}.")
        return notes

    def runs(self, processor: str) -> Sequence[BundleRun]:
        """Return the runtimes that `dtc check --runtime` knows, but for the slow one that is on no device."""
        known = sorted(runtimes().items())
        return [BundleRun(name, partial(_started, each), timed=False) for name, each in known if name != SLOW]


def _started(runtime: Runtime, place: Place) -> Callable[[], ProgramReport]:
    try:
        runtime.require()
    except UsageError as error:
        raise MissingError(f"{runtime.name} is missing: pip install {runtime.package}") from error
    return partial(_run, runtime, place.folder)


def _run(runtime: Runtime, folder: Path) -> ProgramReport:
    model = load_model(folder / MODEL)
    inputs = [spec.name for spec in input_specs(model)]
    outputs = [str(value.name) for value in model.graph.outputs]
    feeds, expected = _vectors(folder, "input", inputs), _vectors(folder, "output", outputs)
    try:
        found = runtime.run(folder / MODEL, feeds, outputs)
    except RefusedError as error:
        raise ProgramError(str(error)) from error
    comparison = Comparison()
    for wanted, given in zip(expected, found.outputs, strict=True):
        comparison.update(wanted, {name: as_wanted(given[name], value) for name, value in wanted.items()})
    if comparison.problems:
        raise ProgramError("; ".join(comparison.problems))
    far = max((each.relative_l2 for each in comparison.differences()), default=np.nan)
    return ProgramReport(runtime=f"{runtime.name} {found.version}".strip(), relative_l2=far)


def _vectors(folder: Path, kind: str, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the arrays of all test vectors by the names of inputs or outputs."""
    files = folder / VECTORS
    cases = len(list(files.glob("*.output.0.npy")))
    return [
        {name: np.load(files / f"{case}.{kind}.{index}.npy") for index, name in enumerate(names)}
        for case in range(cases)
    ]
