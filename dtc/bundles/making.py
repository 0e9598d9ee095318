"""Making a bundle: a model, what it is run with, test vectors, and the description of all that."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from dtc.bundles.description import files_of, named, tensor, versions
from dtc.bundles.document import DESCRIPTION, BundleDescription
from dtc.bundles.publishing import published
from dtc.bundles.readme import write_licence, write_readme
from dtc.bundles.vectors import Runner, Vectors, draw_vectors
from dtc.checking.elsewhere import TOLERANCE
from dtc.custom_ops import custom_ops
from dtc.deploy.ops import DOMAIN
from dtc.deploy.target import MODEL, VECTORS, DeployTarget, Draft, deploy_targets, find_deploy_target
from dtc.errors import DataError, ModelError, UsageError
from dtc.graph import all_nodes, load_model, save_model
from dtc.passes.prepare.fix_inputs import fix_inputs, fold_sizes
from dtc.passes.prepare.fix_shapes import fix_shapes
from dtc.session import runner, session, signature

COARSE = 3e-2
"""Tolerance where kernels use tables of 8 bits (near 7e-3 in a product), and the vectors are of exact functions; and
where ONNX Runtime rounds what is multiplied with integers, as it does by itself."""

EXACT = {"session.qdq_matmulnbits_accuracy_level": "1"}
"""Settings of a session that computes a product with a DequantizeLinear as it is written."""


@dataclass(frozen=True)
class DeployOptions:
    """How a bundle is made.

    Attributes:
        force: Whether a bundle at its place may be replaced.
        fixed: Values of inputs, by name, which are folded into the model.
        reference: The model that the deployed one was made of, to tell how far its outputs are; None for nothing.
        processor: What it is for; None for this machine's, where the target has a choice.
        library: The native library to put into it; None for what is at hand.
        custom_ops: Libraries of custom operators that the model needs to run, which go into it.
        ort: Whether it shall hold the model in ONNX Runtime's own format too.
        one_size: Whether it takes inputs of one size alone, what sizes decide being folded into the model.
        shapes: Of inputs, by name: those of the test vectors, and of the one size.
    """

    force: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    reference: Path | None = None
    processor: str | None = None
    library: Path | None = None
    custom_ops: Sequence[Path] = ()
    ort: bool = False
    one_size: bool = False
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)


def deploy(
    path: str | Path, target: str, output: str | Path, options: DeployOptions | None = None
) -> BundleDescription:
    """Make of a model a folder that runs on a target, and return its description, which the folder holds too.

    The model in it is run on the test vectors before the folder appears at its place, whole or not at all.

    Raises:
        UsageError: There is no such target or processor, the folder may not be replaced, or the target takes no
            libraries of custom operators, or no model in ONNX Runtime's own format.
        ModelError: The model cannot be loaded or run, or the target cannot take it.
        DataError: No inputs were found that it accepts, one that shall be fixed is none, or one has no such shape.
        LibraryError: The native library for a processor cannot be had.
    """
    path, options = Path(path), options or DeployOptions()
    chosen = find_deploy_target(target)
    processor = _processor(chosen, options.processor)
    _expect_custom_ops_taken(chosen, options)
    _expect_ort_taken(chosen, options)
    with custom_ops(options.custom_ops), published(Path(output), force=options.force) as folder:
        model, run = load_model(path), _run(path)
        one_size = chosen.one_size or options.one_size
        vectors = _vectors(path, model, run, options, one_size=one_size)
        facts: dict[str, Any] = {"target": chosen.name, "processor": processor, "pinned": dict(chosen.pinned)}
        facts |= {"source": named(path), "versions": versions()} | _distance(options.reference, run, vectors)
        # The model becomes what the target takes, and its vectors those of the inputs that are left.
        notes = fix_inputs(model, {name: vectors.inputs[0][name] for name in options.fixed})
        if one_size:
            fix_shapes(model, vectors.inputs[0], vectors.outputs[0])
        if options.one_size:
            notes += fold_sizes(model)
        with _refused_by(chosen, path):
            notes += chosen.prepare(model)
        facts["fixed"] = {name: vectors.inputs[0][name].tolist() for name in options.fixed}
        shutil.copytree(chosen.files, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        save_model(model, folder / MODEL)
        draft = Draft(folder, model, processor, options.library, options.custom_ops, options.ort)
        with _refused_by(chosen, path):
            notes += chosen.complete(draft)
        facts |= {"notes": tuple(notes), "figures": draft.figures} | _proven(
            folder, path, model, vectors.without(options.fixed)
        )
        write_readme(folder, facts)
        write_licence(folder)
        description = BundleDescription(**facts, schema="dtc-bundle/1", files=files_of(folder))
        (folder / DESCRIPTION).write_text(description.to_json(indent=2) + "\n", encoding="utf-8")
    return description


def _processor(target: DeployTarget, told: str | None) -> str:
    """Return what a bundle is for: what the user says, or the first of those that the target knows."""
    if told is not None and told not in target.processors:
        known = ", ".join(target.processors) or "one bundle for all"
        raise UsageError(f"--processor {told}: target {target.name!r} has {known}")
    return told or next(iter(target.processors), "")


def _expect_custom_ops_taken(target: DeployTarget, options: DeployOptions) -> None:
    """Refuse libraries that would not go along.

    Raises:
        UsageError: The target takes none, or two are called the same.
    """
    if options.custom_ops and not target.custom_ops:
        able = ", ".join(name for name, each in sorted(deploy_targets().items()) if each.custom_ops)
        raise UsageError(f"--custom-ops: a bundle of target {target.name!r} loads no library; those of {able} do")
    names = [path.name for path in options.custom_ops]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--custom-ops: two libraries are called {name!r}, and go into one folder; rename one")


def _expect_ort_taken(target: DeployTarget, options: DeployOptions) -> None:
    """Refuse ONNX Runtime's own format where something else runs the bundle.

    Raises:
        UsageError: The target has no use for it.
    """
    if options.ort and not target.ort:
        able = ", ".join(name for name, each in sorted(deploy_targets().items()) if each.ort)
        raise UsageError(f"--ort: a bundle of target {target.name!r} takes no model.ort; those of {able} do")


def _run(path: Path) -> Runner:
    """Return what runs a model as another runtime would: on the functions that it carries."""
    return runner(session(path, settings=EXACT, native=False))


def _vectors(path: Path, model: ir.Model, run: Runner, options: DeployOptions, *, one_size: bool) -> Vectors:
    outputs = signature(session(path, native=False))[1]
    try:
        return draw_vectors(model, outputs, run, options.fixed, options.shapes, one_size=one_size)
    except (DataError, ModelError) as error:
        raise type(error)(f"{path}: {error}") from error


@contextmanager
def _refused_by(target: DeployTarget, path: Path) -> Iterator[None]:
    """Say which target does not take which model."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: target {target.name!r}: {error}") from error


def _distance(reference: Path | None, run: Runner, vectors: Vectors) -> dict[str, Any]:
    """Return how far the deployed model is from the one that it was made of.

    Raises:
        ModelError: That one has other inputs or outputs.
    """
    if reference is None:
        return {}
    try:
        original = vectors.of(_run(reference))
        return {"reference": named(reference), "from_reference": original.errors(run)}
    except (DataError, ModelError, KeyError) as error:
        raise ModelError(f"--reference {reference}: does not compare with the model: {error}") from error


def _proven(folder: Path, path: Path, model: ir.Model, vectors: Vectors) -> dict[str, Any]:
    """Run the model of a bundle on its vectors, write these, and return what the description tells of both.

    Raises:
        ModelError: The model computes something else than the one that it was made of.
    """
    running = session(folder / MODEL, settings=EXACT, called=str(path), native=False)
    inputs, outputs = signature(running)
    tolerance = COARSE if _is_coarse(model) else TOLERANCE
    errors = vectors.errors(runner(running))
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= TOLERANCE:
        raise ModelError(f"{path}: output {worst!r} of the bundle's model is {errors[worst]:.3g} off: a mistake of dtc")
    vectors.write(folder / VECTORS, [spec.name for spec in inputs], [spec.name for spec in outputs], tolerance)
    return {
        "inputs": tuple(map(tensor, inputs)),
        "outputs": tuple(map(tensor, outputs)),
        "tolerance": tolerance,
        "cases": len(vectors.inputs),
        "error": errors,
    }


def _is_coarse(model: ir.Model) -> bool:
    """True if an operator asks the native kernels for tables of 8 bits, or ONNX Runtime rounds by itself."""
    own = (node for node in all_nodes(model) if node.domain == DOMAIN)
    return any(node.attributes.get_int("accuracy_level", 0) == 4 for node in own) or _has_coded_products(model)


def _has_coded_products(model: ir.Model) -> bool:
    """True if a product is with integers that a DequantizeLinear decodes."""
    products = (node for node in all_nodes(model) if node.op_type in ("MatMul", "Gemm") and node.domain == "")
    decoders = (value.producer() for node in products for value in node.inputs if value is not None)
    return any(decoder is not None and decoder.op_type == "DequantizeLinear" for decoder in decoders)
