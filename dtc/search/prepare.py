"""The folder of a search: what it is about, and what samples tell of the model once for all candidates.

search.json     the model, its data and the recipe, by which a search that is started again knows its folder
moments/        second moments of the inputs of sites
gradients.npz   mean magnitudes of gradients, where they can be had
journal.jsonl   what evaluations have found
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dtc.calibration import Calibration
from dtc.data import Samples, Source, unread_arrays
from dtc.errors import DtcError, UsageError
from dtc.evaluate import judged_output, stateful
from dtc.formatting import size
from dtc.graph import Site, load_model
from dtc.graph.signature import input_specs
from dtc.job import Job
from dtc.metrics import default_metric
from dtc.passes.compose import make_methods
from dtc.passes.lean import names_bytes
from dtc.passes.lower.ledger import array_bytes
from dtc.pipeline.choosing import choose, normalise
from dtc.pipeline.trying import run_original
from dtc.pipeline.work import Work, begin
from dtc.recipe import Objective, Recipe
from dtc.search.candidate import Candidate
from dtc.search.journal import FILE as JOURNAL
from dtc.search.lab import GRADIENTS, Setting
from dtc.search.loss import is_distribution, is_probability, measure_of
from dtc.search.samples import Halves, halves
from dtc.search.workers import Measuring, SearchEvent
from dtc.session import runner, session
from dtc.training.gradients import measure_gradients
from dtc.training.moments import FOLDER as MOMENTS
from dtc.training.moments import write_moments
from dtc.training.run import fingerprint

_FACTS = "search.json"

_JOURNAL_VERSION = 5
"""Of what evaluations tell: those of another one are not gone on with."""

_OF_ANSWERS = 0.5
"""Power of a distance, which is a square: so the relative L2 grows, and how many answers change. Of these, about as
many become right as wrong while there are few, which labels tell."""

_SMALLER = 0.8
"""What may be left of what no site holds, once it was folded, or rounded."""


@dataclass(frozen=True)
class Prepared:
    """A search that can begin.

    Attributes:
        setting: What workers get.
        halves: The samples to judge on.
        dense_bytes: Bytes of each site as it is, by name, in the order of the model.
        model_bytes: Bytes of the model's files.
        names_bytes: Those of them that `--strip-names` takes out.
        words: What the loss of a result is called.
        power: Of the distance of outputs, with which this loss grows.
        notes: What is to be known beside.
        sites: All sites of the model.
    """

    setting: Setting
    halves: Halves
    dense_bytes: Mapping[str, int]
    model_bytes: int
    names_bytes: int
    words: str
    power: float
    notes: tuple[str, ...]
    sites: tuple[Site, ...]

    def limited(self, include: Sequence[str], exclude: Sequence[str]) -> Prepared:
        """Return the same, with those sites alone that some globs match and others do not.

        Raises:
            UsageError: There is none.
        """
        names = {each.name for each in self.sites if each.matches(include) and not each.matches(exclude)}
        if not names:
            raise UsageError(f"--include {' '.join(include)} leaves no site; see dtc inspect for their names")
        return replace(self, dense_bytes={name: size for name, size in self.dense_bytes.items() if name in names})

    def out_of_reach(self, limit: float) -> str | None:
        """Return in words why no file will have so few bytes, where all that stays as it is takes more."""
        stripped = self.setting.recipe.lean.strip_names
        rest = self.model_bytes - sum(self.dense_bytes.values()) - (self.names_bytes if stripped else 0)
        # What is folded into weights or becomes float16 is not counted, nor what the weights take at the least.
        if limit >= _SMALLER * rest:
            return None
        advice = "" if stripped else f", of which --strip-names takes out {size(self.names_bytes)}"
        return (
            f"no file of {size(int(limit))} will be found: {size(rest)} of the model lie in no site that is "
            f"searched{advice}"
        )


def prepare(
    model: Path,
    recipe: Recipe,
    candidates: Sequence[Candidate],
    *,
    base: Path,
    folder: Path,
    force: bool,
    tell: Callable[[SearchEvent], None],
) -> Prepared:
    """Measure what all candidates need, or read it where the folder holds it; relative paths start at `base`.

    `tell` is told what is measured, before.

    Raises:
        UsageError: The folder holds another search, or something else.
        DtcError: Model or data are wrong, in words for the user.
    """
    with_folder = _Folder(folder, force=force)
    work = begin(model, recipe, Job(folder / "none.onnx"), base)
    run_original(work)
    names = names_bytes(work.model)
    normalise(work)
    parts = halves(work.samples, recipe.objective, seed=recipe.seed, model=model)
    objective, measure, words = _resolved(model, recipe.objective, parts)
    labelled = objective.labels in parts.deciding[0]
    recipe = recipe.model_copy(update={"objective": objective, "rules": ()})
    work.recipe = recipe
    choose(work)
    facts = _facts(work)
    notes = with_folder.notes_of(facts)
    if notes is None:
        with_folder.begin()
        notes = [*work.remarks, *_leave_measured(work, candidates, folder, tell)]
        with_folder.finish(facts, notes)
    inputs = [spec.name for spec in input_specs(work.model)]
    notes = [*notes, *unread_arrays(parts.deciding[0], inputs, objective)]
    nbytes = sum(file.stat().st_size for file in work.files)
    setting = Setting(model.absolute(), recipe, base.absolute(), folder.absolute(), measure)
    dense = {site.name: array_bytes(site.value, site.nbytes) for site in work.plan.sites}
    power = 1.0 if labelled else _OF_ANSWERS
    return Prepared(setting, parts, dense, nbytes, names, words, power, tuple(notes), work.plan.sites)


class _Folder:
    """The folder of a search, which may hold an earlier part of the same one."""

    def __init__(self, folder: Path, *, force: bool) -> None:
        self._folder, self._force = folder, force
        strange = folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not self._is_search))
        if strange:
            raise UsageError(f"{folder}: exists and is no folder of a search; choose another --folder")

    @property
    def _is_search(self) -> bool:
        return (self._folder / _FACTS).is_file() or (self._folder / MOMENTS).is_dir() or self._has_journal

    @property
    def _has_journal(self) -> bool:
        return (self._folder / JOURNAL).is_file()

    def notes_of(self, facts: Mapping[str, Any]) -> list[str] | None:
        """Return the notes of an earlier part of the same search; None if there is none, or it is to begin anew.

        Raises:
            UsageError: The folder is that of another search.
        """
        path = self._folder / _FACTS
        if self._force or not path.is_file():
            return None
        try:
            held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            notes = [str(each) for each in held.pop("notes")]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(f"{path}: damaged ({error}); add --force to begin anew") from error
        for name, value in facts.items():
            if held.get(name) != value:
                raise UsageError(
                    f"{self._folder}: holds a search with another {name}; choose another --folder, or add --force to "
                    "begin anew there"
                )
        return notes

    def begin(self) -> None:
        """Empty the folder of what an earlier search has left."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / _FACTS).unlink(missing_ok=True)
            (self._folder / JOURNAL).unlink(missing_ok=True)
            (self._folder / GRADIENTS).unlink(missing_ok=True)
            shutil.rmtree(self._folder / MOMENTS, ignore_errors=True)
        except OSError as error:
            raise UsageError(
                f"{self._folder}: cannot be written ({error.strerror}); choose another --folder"
            ) from error

    def finish(self, facts: Mapping[str, Any], notes: Sequence[str]) -> None:
        """Say that all is measured: without this file the folder counts for nothing."""
        new = self._folder / f"new-{_FACTS}"
        new.write_text(json.dumps({**facts, "notes": list(notes)}, indent=2) + "\n", encoding="utf-8")
        new.replace(self._folder / _FACTS)


def _facts(work: Work) -> dict[str, Any]:
    """Return all that evaluations depend on."""
    return {
        "version of dtc": version("dtc"),
        "kind of journal": _JOURNAL_VERSION,
        "model": [fingerprint(file) for file in work.files],
        "data": dict(_data(work.samples)),
        "recipe": work.recipe.to_yaml(),
    }


def _data(samples: Samples) -> Iterator[tuple[str, str]]:
    """Yield what stands for each set of data: fingerprints of arrays and scripts, the names of functions of modules."""
    for spec in (samples.names.train, samples.names.evaluate):
        place = samples.base / (spec or "")
        script = samples.base / (spec or "").rpartition(":")[0]
        if spec is None:
            continue
        if place.is_dir():
            yield from ((f"{spec}/{file.name}", fingerprint(file)) for file in sorted(place.glob("*.npy")))
        elif place.is_file() or script.is_file():
            yield spec, fingerprint(place if place.is_file() else script)
        else:
            yield spec, "a function"


def _resolved(model: Path, objective: Objective, parts: Halves) -> tuple[Objective, Any, str]:
    """Return the objective with its metric, how outputs are compared, and what the loss of a result is called.

    Without labels outputs are compared with the original's: by how often both agree where these are distributions of
    classes, or the user asks for that; else by their relative error.
    """
    run, specs = runner(session(model, threads=1)), input_specs(load_model(model))
    outputs, batch = next(iter(stateful(run, parts.deciding[:1], objective, specs)))
    judged, labels = judged_output(outputs, objective), batch.get(objective.labels)
    by_class = labels is not None and labels.dtype.kind in "iub"
    metric = objective.metric
    if metric is None and labels is not None:
        metric = default_metric(labels, carries=bool(objective.carry), sequences=objective.of_sequences)
    elif metric is None and (is_distribution(np.asarray(judged)) or is_probability(np.asarray(judged))):
        metric = "accuracy"
    if labels is None and metric is not None and not metric.startswith(("accuracy", "top-")):
        metric = None
    objective = objective.model_copy(update={"metric": metric})
    words = _words(metric, labelled=labels is not None)
    return objective, measure_of(np.asarray(judged), objective, labelled_by_class=by_class), words


def _words(metric: str | None, *, labelled: bool) -> str:
    if metric is None:
        return "relative L2 of the outputs (no labels)"
    return metric if labelled else f"agreement with the original's own answers (no labels, {metric})"


def _leave_measured(
    work: Work, candidates: Sequence[Candidate], folder: Path, tell: Callable[[SearchEvent], None]
) -> list[str]:
    """Measure second moments here, and gradients meanwhile in the process of an engine."""
    if work.samples.train is None:
        return []
    wanted = any("gradient" in make_methods(each.method, dict(each.options)).needs for each in candidates)
    tell(Measuring("second moments of the inputs of all sites" + (", and gradients" if wanted else "")))
    with ThreadPoolExecutor(1) as beside:
        gradients = beside.submit(_leave_gradients, work, folder) if wanted else None
        notes = _leave_moments(work, work.samples.train, folder)
        return notes + (gradients.result() if gradients else [])


def _leave_moments(work: Work, source: Source, folder: Path) -> list[str]:
    moments = Calibration(work.model, work.plan.sites, source, work.recipe.objective, seed=work.recipe.seed)
    write_moments(folder, moments.all_moments())
    return [f"errors not made up for at {name}: {reason}" for name, reason in moments.refused.items()]


def _leave_gradients(work: Work, folder: Path) -> list[str]:
    try:
        found = measure_gradients(work.original, work.recipe, base=work.samples.base)
    except DtcError as error:
        return [f"not weighted by gradients, which cannot be had here: {error}"]
    sites = {site.name for site in work.plan.sites}
    kept: dict[str, Any] = {name: array for name, array in found.items() if name in sites}
    np.savez(folder / GRADIENTS, **kept)
    return []
