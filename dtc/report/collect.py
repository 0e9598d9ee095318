"""The report of a compression, put together from what it did and what its check found."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from dtc.check import CheckReport
from dtc.forms import Array, Form
from dtc.graph import Site as GraphSite
from dtc.graph import all_graphs, load_model
from dtc.measure import machine
from dtc.passes.plan import Distorted, Plan
from dtc.recipe import Recipe
from dtc.report import document as doc
from dtc.report.curve import describe_training, read_events
from dtc.report.weights import describe_weights
from dtc.summary import SiteRow, Summary
from dtc.training.engine_kind import engine_title
from dtc.training.launch import Result
from dtc.training.run import Run, fingerprint


def make_report(
    original: Path,
    output: Path,
    recipe: Recipe,
    plan: Plan,
    distorted: Distorted,
    summary: Summary,
    faithful: CheckReport,
    outcome: CheckReport,
    training: Result | None = None,
    *,
    quantizers: int = 0,
) -> doc.Report:
    """Return the report of a finished compression.

    `plan` is of the original model, its weights untouched; they are read site by site, and nothing of them is kept.
    `quantizers` are those of activations in the written file.
    """
    model = describe_model(original)
    return doc.Report(
        created=_now(),
        versions=_versions(recipe),
        model=model,
        output=describe_model(output),
        recipe=recipe.model_dump(mode="json", exclude_defaults=True) | {"format": recipe.format},
        ratios=doc.Ratios(sites=summary.sites_ratio, file=summary.file_ratio, bits_per_weight=summary.bits_per_weight),
        check=_check(faithful, outcome, quantizers),
        sites=tuple(_sites(recipe, plan, distorted, summary)),
        training=None if training is None else _training(training, recipe),
    )


def report_unfinished(run: Run) -> doc.Report:
    """Return the report of a run as far as it has come: recipe and training curve, no sites yet.

    Raises:
        TrainingError: The events of the run are missing or damaged.
    """
    return doc.Report(
        created=_now(),
        versions=_versions(run.recipe),
        model=describe_model(run.model_path),
        output=None,
        recipe=run.recipe.model_dump(mode="json", exclude_defaults=True) | {"format": run.recipe.format},
        ratios=None,
        check=None,
        sites=(),
        training=describe_training(read_events(run.metrics), engine=engine_title(run.recipe), seconds={}),
    )


def describe_model(path: Path) -> doc.Model:
    """Return the files of a model, with their hashes.

    Raises:
        ModelError: As `load_model`.
    """
    tensors = (value.const_value for graph in all_graphs(load_model(path)) for value in graph.initializers.values())
    external = sorted({str(tensor.location) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)})
    paths = [path, *(path.parent / name for name in external)]
    return doc.Model(
        files=tuple(
            doc.File(name=each.relative_to(path.parent).as_posix(), bytes=each.stat().st_size, sha256=fingerprint(each))
            for each in paths
        )
    )


def _sites(recipe: Recipe, plan: Plan, distorted: Distorted, summary: Summary) -> list[doc.Site]:
    methods = {
        site.name: rule.method for rule, (_, sites) in zip(recipe.rules, plan.chosen, strict=True) for site in sites
    }
    file_bytes = summary.file_bytes[0]
    return [
        _site(
            site,
            row,
            methods.get(site.name) if row.form else None,
            file_bytes,
            _weights(site, distorted.dense, distorted.forms),
        )
        for site, row in zip(plan.sites, summary.sites, strict=True)
    ]


def _site(site: GraphSite, row: SiteRow, method: str | None, file_bytes: int, weights: doc.Weights | None) -> doc.Site:
    return doc.Site(
        name=row.name,
        role=row.role,
        shape=row.shape,
        method=method,
        form=row.form,
        detail=row.detail,
        bytes=(row.dense_bytes, row.stored_bytes),
        ratio=row.dense_bytes / max(row.stored_bytes, 1),
        bits_per_weight=8 * row.stored_bytes / max(site.size, 1),
        share_of_file=row.dense_bytes / max(file_bytes, 1),
        error=row.error,
        reason=row.reason,
        lowered=row.lowered,
        weights=weights,
    )


def _weights(site: GraphSite, dense: Mapping[str, Array], forms: Mapping[str, tuple[Form, ...]]) -> doc.Weights | None:
    if site.name not in forms:
        return None
    before = site.array()
    return describe_weights(before, dense[site.name], site.matrices(before), forms[site.name])


def _training(result: Result, recipe: Recipe) -> doc.Training:
    events = read_events(result.run / "metrics.jsonl")
    return describe_training(events, engine=engine_title(recipe), seconds=result.seconds)


def _check(faithful: CheckReport, outcome: CheckReport, quantizers: int) -> doc.Check:
    before, after, metric = outcome.reference, outcome.candidate, outcome.metric
    return doc.Check(
        inputs=outcome.inputs,
        metric=None
        if metric is None
        else doc.Metric(
            name=metric.name,
            higher_is_better=metric.higher_is_better,
            labelled=metric.labelled,
            before=metric.before,
            after=metric.after,
        ),
        latency=(doc.Latency(**asdict(before.latency)), doc.Latency(**asdict(after.latency)))
        if before.latency and after.latency
        else None,
        memory=(doc.Memory(**asdict(before.memory)), doc.Memory(**asdict(after.memory)))
        if before.memory and after.memory
        else None,
        outputs=tuple(doc.Output(**asdict(each)) for each in outcome.differences),
        rounding=max((each.relative_l2 for each in faithful.differences), default=None),
        kernels=outcome.kernels,
        quantizers=quantizers,
        failures=(*faithful.failures, *outcome.failures),
    )


def _versions(recipe: Recipe) -> dict[str, str]:
    found = {"dtc": _own_version(), "python": platform.python_version()}
    # Asked of the modules: a distribution may go by another name (onnxruntime-gpu, for one).
    found |= {module.__name__: module.__version__ for module in (onnx, ir, onnxruntime, np)}
    return found | ({"engine": engine_title(recipe)} if recipe.training else {}) | {"machine": machine()}


def _own_version() -> str:
    try:
        return version("dtc")
    except PackageNotFoundError:
        return "not installed"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
