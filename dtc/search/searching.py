"""The search as a page of prose: sensitivity, allocation, measured points, the best that keeps its promise."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from dtc.cores import cores
from dtc.custom_ops import custom_ops
from dtc.errors import CheckFailedError, UsageError
from dtc.job import Job
from dtc.memory import free_memory
from dtc.pipeline import Compression
from dtc.recipe import Recipe, Training
from dtc.report import HTML, write_report
from dtc.report.search_document import SearchReport
from dtc.report.search_section import points_table
from dtc.search.campaign import Campaign
from dtc.search.candidate import default_methods, worth_trying
from dtc.search.cluster import ray_cluster
from dtc.search.delivery import written
from dtc.search.goal import Goal
from dtc.search.journal import EvaluationJournal
from dtc.search.lab import Setting
from dtc.search.prepare import prepare
from dtc.search.workers import Announced, Evaluations, Executor, SearchEvent, TimeUpError, local_processes

_KEPT = 0.25
"""Of the memory, which all workers together may keep what enters sites in; models and weights need their own."""

OnSearch = Callable[[SearchEvent], None]


@dataclass(frozen=True)
class Request:
    """What a search is asked for.

    Attributes:
        goal: What to reach.
        job: Where the file goes.
        methods: Names of the methods to try; empty: those that need no more than samples.
        include: Globs of the sites that may be changed, over names of sites, nodes, operators and roles.
        exclude: Globs of sites to leave alone.
        folder: Of the search; None: beside the output.
        force: Whether an earlier search in the folder is begun anew.
        workers: Processes; None: one a core.
        seconds: After which no evaluation is begun any more; None: no limit.
        ray: Address of a Ray cluster to evaluate on; None: processes of this machine.
        training: How the chosen points are retrained; None: they are not.
    """

    goal: Goal
    job: Job
    methods: tuple[str, ...] = ()
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    folder: Path | None = None
    force: bool = False
    workers: int | None = None
    seconds: float | None = None
    training: Training | None = None
    ray: str | None = None


@dataclass(frozen=True, repr=False)
class Found:
    """The result of a search.

    Attributes:
        compression: The file that was written, and its report.
        recipe: What makes it.
        report: The points, and what was promised.
    """

    compression: Compression
    recipe: Recipe
    report: SearchReport

    def __repr__(self) -> str:
        """Return a line: the file, how much smaller it is, and what it loses."""
        smaller = f"{self.report.model_bytes / self.report.chosen.bytes:.2f}x smaller"
        return (
            f"<Found {self.compression.output}, {smaller}, losing {self.report.unseen_drop:.4g} of {self.report.loss}>"
        )

    def _repr_html_(self) -> str:
        """Return the files that were built as a table, which a notebook shows."""
        return points_table(self.report)

    def raise_if_missed(self) -> None:
        """Raise CheckFailedError if the file misses the goal."""
        if self.report.missed is not None:
            raise CheckFailedError(f"{self.compression.output}: the nearest to the goal {self.report.missed}")


def search(
    model: str | Path, recipe: Recipe, request: Request, *, base: Path = Path(), on_event: OnSearch | None = None
) -> Found:
    """Find which method at which rate each site of the model shall have, and write the file and tell its recipe.

    `recipe` has everything but rules; relative paths of its data start at `base`. What was evaluated is kept in the
    folder of the search: the same call goes on where an earlier one was interrupted.

    Raises:
        DtcError: Whatever is wrong with model, data, methods or folders, in words for the user.
    """
    model, job = Path(model), request.job
    if request.training is not None and recipe.data.train is None:
        raise UsageError("retraining needs samples: give --data")
    if request.goal.max_drop is not None and recipe.data.train is None and recipe.data.evaluate is None:
        raise UsageError(
            "--max-drop is a promise about samples: give --data; --target-size, --target-ratio and --max-latency-ratio "
            "go by generated inputs without"
        )
    job.refuse_early(model, recipe)
    began = time.monotonic()
    candidates = worth_trying(request.methods or default_methods())
    folder = request.folder or job.output.with_suffix(".dtc-search")
    with custom_ops(base / library for library in recipe.custom_ops):
        tell = on_event or (lambda _: None)
        prepared = prepare(model, recipe, candidates, base=base, folder=folder, force=request.force, tell=tell)
        prepared = prepared.limited(request.include, request.exclude)
        far = prepared.out_of_reach(request.goal.limit_bytes(prepared.model_bytes))
        for words in (f"judged by {prepared.words}", *prepared.notes, *filter(None, [far])):
            tell(Announced(words))
        with (
            EvaluationJournal(folder) as journal,
            _executor(prepared.setting, request) as executor,
        ):
            deadline = None if request.seconds is None else began + request.seconds
            evaluations = Evaluations(journal, executor, deadline, tell)
            campaign = Campaign(evaluations, prepared, request.goal, candidates)
            try:
                campaign.explore()
                if request.training is not None:
                    campaign.polish(request.training)
            except TimeUpError:
                campaign.refuse_without_files()
            evaluations.deadline = None  # what was found is judged and written all the same
            report = campaign.judged()
            compression = written(executor, report.best, replace(job, max_drop=None, report=None))
    compression = _with_search(compression, report.document, job)
    recipe = prepared.setting.with_rules(report.best.mix).model_copy(update={"training": report.best.training})
    return Found(compression, recipe, report.document)


def _executor(setting: Setting, request: Request) -> AbstractContextManager[Executor]:
    workers, memory = request.workers or cores(), request.job.memory or free_memory()
    setting = replace(setting, room=int(_KEPT * memory / workers))
    if request.ray is not None:
        return ray_cluster(setting, request.ray)
    return local_processes(setting, workers)


def _with_search(compression: Compression, found: SearchReport, job: Job) -> Compression:
    """Return the compression with what the search found in its report, which is written where one is asked for."""
    report = compression.report.model_copy(update={"search": found})
    if job.report is not None:
        write_report(report, job.report)
    return replace(compression, report=report, pages=() if job.report is None else (job.report / HTML,))
