"""Running a trial by what every user has: training a model, compressing one, checking it on test data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtc.data import open_source
from dtc.evaluate import evaluate
from dtc.graph import load_model
from dtc.job import Job
from dtc.metrics import make_metric
from dtc.models.reproduce.papers.experiment import Course, Iteration, PaperTrial, Record
from dtc.models.train import resume_training, train_reference
from dtc.pipeline import compress, resume
from dtc.report import Report
from dtc.report.curve import read_events
from dtc.report.provenance import provenance
from dtc.session import runner, session, signature
from dtc.training.events import Evaluated, Iterated
from dtc.training.run import METRICS


def run_trial(trial: PaperTrial, folder: Path) -> Record:
    """Carry out a trial in `folder`, or the rest of one that was interrupted; return what it did to the test metric.

    What is done is kept: `NAME.json` is the record, `NAME.onnx` the model, `NAME.dtc-run` the training.
    """
    if (known := finished(trial, folder)) is not None:
        return known
    begin, output = trial.begin(folder), folder / f"{trial.name}.onnx"
    run = output.with_suffix(".dtc-run") if trial.recipe.training else None
    facts = _carried_out(trial, begin, output, run)
    record = Record(
        trial=trial.name,
        facts=trial.facts,
        metric=trial.metric,
        before=_measured(trial, begin, folder),
        after=_measured(trial, output, folder),
        bytes=(begin.stat().st_size, output.stat().st_size),
        **({} if run is None else _course(run)),
        **provenance(trial.recipe),
        **facts,
    )
    _kept(trial, folder).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    return record


def _measured(trial: PaperTrial, model: Path, folder: Path) -> float:
    """Return the metric of a model on a trial's test samples, measured once for all trials of a folder."""
    told = "\0".join([trial.test, trial.metric, hashlib.sha256(model.read_bytes()).hexdigest()])
    kept = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.measured"
    if not kept.exists():
        running = session(model)
        batches = open_source(trial.test, batch_size=200, split="evaluate").batches(epoch=0, seed=0, shuffle=False)
        metric, inputs = make_metric(trial.metric), signature(running)[0]
        found = evaluate(runner(running), batches, trial.recipe.objective, metric, inputs=inputs)
        kept.write_text(repr(found), encoding="utf-8")
    return float(kept.read_text(encoding="utf-8"))


def finished(trial: PaperTrial, folder: Path) -> Record | None:
    """Return the record of a trial that was carried out in `folder`; None where it was not."""
    kept = _kept(trial, folder)
    return Record.model_validate_json(kept.read_text(encoding="utf-8")) if kept.exists() else None


def ended_early(trial: PaperTrial, folder: Path) -> Course | None:
    """Return the evaluations of a training that was begun in `folder` and not carried to its test, if there are any."""
    run = (folder / trial.name).with_suffix(".dtc-run")
    if finished(trial, folder) is not None or not (run / METRICS).exists():
        return None
    course = Course(trial=trial.name, facts=trial.facts, **_course(run))
    return course if course.curve else None


def _kept(trial: PaperTrial, folder: Path) -> Path:
    return folder / f"{trial.name}.json"


def _carried_out(trial: PaperTrial, begin: Path, output: Path, run: Path | None) -> dict[str, Any]:
    """Write the result of a trial, and return the facts of the record that only this knows."""
    if trial.change is not None:
        trial.change(begin, output)
        return {}
    return _compress(trial, begin, output, run) if trial.recipe.rules else _train(trial, begin, output)


def _train(trial: PaperTrial, begin: Path, output: Path) -> dict[str, Any]:
    run = output.with_suffix(".dtc-run")
    if run.exists():
        found = resume_training(run, output, force=True, allow_code=True)
    else:
        found = train_reference(load_model(begin), trial.recipe, output, run, force=True)
    return {"seconds": found.training.seconds}


def _compress(trial: PaperTrial, begin: Path, output: Path, run: Path | None) -> dict[str, Any]:
    if run is not None and run.exists():
        report = resume(run, allow_code=True, output=output, force=True).report
    else:
        job = Job(output, force=True, seconds=0.0, allow_growth=True)
        report = compress(begin, trial.recipe, job, run=run).report
    return _facts(report, trial.drawn)


def _facts(report: Report, drawn: Sequence[str]) -> dict[str, Any]:
    """Return what a record tells of the compressed sites, each weighted by its dense bytes."""
    sites = [site for site in report.sites if site.form is not None]
    dense = sum(site.nbytes for site in sites)
    errors = [site.error for site in sites if site.error is not None]
    zeros = [site.weights.zeros[1] * site.nbytes for site in sites if site.weights is not None]
    return {
        # By the ratio, in which what several sites share is counted once.
        "site_bytes": (dense, 0 if report.ratios is None else round(dense / report.ratios.sites)),
        "error": sum(e * site.nbytes for e, site in zip(errors, sites, strict=True)) / dense if errors else None,
        "zeros": sum(zeros) / dense if len(zeros) == len(sites) and dense else None,
        "seconds": {} if report.training is None else report.training.seconds,
        "weights": {site.name: site.weights for site in sites if site.name in drawn and site.weights is not None},
    }


def _course(run: Path) -> dict[str, Any]:
    """Return the evaluations of a run, and of an iterative one each quantization with the evaluation behind it."""
    curve, iterations = [], []
    begun: Iterated | None = None
    for event in read_events(run / METRICS):
        if isinstance(event, Iterated):
            begun = event
        elif isinstance(event, Evaluated) and event.value is not None:
            curve.append((event.step, event.value))
            if begun is not None and begun.value is not None:
                found = Iteration(step=event.step, error=begun.error, trained=begun.value, quantized=event.value)
                iterations.append(found)
            begun = None
    return {"curve": tuple(curve), "iterations": tuple(iterations)}
