"""Compression from file to file: `compress` begins one, `resume` ends one that was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dtc.custom_ops import custom_ops
from dtc.damage import damage_named
from dtc.errors import CheckFailedError, Interrupted
from dtc.job import Job, refuse_code
from dtc.pipeline.estimating import refuse_unfit
from dtc.pipeline.progress import StageBegan
from dtc.pipeline.stages import ONE_SHOT, RESUMED, RETRAINED, Stage
from dtc.pipeline.trying import run_original
from dtc.pipeline.watch import watched
from dtc.pipeline.work import Known, OnEvent, Work, begin, begin_again
from dtc.recipe import Recipe
from dtc.report import HTML, JSON, Report, facts_table, read_report, side_by_side
from dtc.report.provenance import describe_files
from dtc.training.run import Run, open_run


@dataclass(frozen=True, repr=False)
class Compression:
    """The result of a compression.

    Attributes:
        output: The file written.
        report: What was done and what it cost, as `report.json` holds it and `dtc compress --json` prints it.
        pages: Pages of the report, one in each folder that it was written to.
        run: The run directory, where there is one.
    """

    output: Path
    report: Report
    pages: tuple[Path, ...] = ()
    run: Path | None = None

    def __repr__(self) -> str:
        """Return a line: the file, and how much smaller it is."""
        ratios = self.report.ratios
        return f"<Compression {self.output}{'' if ratios is None else f', {ratios.file:.2f}x smaller'}>"

    def __str__(self) -> str:
        """Return what was gained and what it cost, a fact a line."""
        facts = [f"{fact}: {found}" for fact, (found,) in side_by_side([self.report]) if fact != "file"]
        return "\n".join([f"{self.output}: {dict(side_by_side([self.report]))['file'][0]}", *facts])

    def _repr_html_(self) -> str:
        """Return the same as a table, which a notebook shows."""
        return facts_table([self.report], [str(self.output)])

    def raise_if_failed(self) -> None:
        """Raise CheckFailedError if the written file lost more than it may."""
        if self.report.check is not None and self.report.check.failures:
            raise CheckFailedError(f"{self.output}: {'; '.join(self.report.check.failures)}")


def compress(
    path: str | Path,
    recipe: Recipe,
    job: Job,
    *,
    base: str | Path = Path(),
    run: str | Path | None = None,
    on_event: OnEvent | None = None,
    known: Known | None = None,
) -> Compression:
    """Compress the model at `path`: run it, normalise, choose, distort or retrain, lower, write, check, report.

    Relative paths of the recipe's data start at `base`. `run` is the run directory; without it one-shot compression
    has none, and retraining one beside the output. `on_event` is told how a retraining and the check go. `known` is
    what the samples of the recipe have told of this model before.

    Raises:
        CheckFailedError: The lowered model does not compute what the distorted one does; nothing is written.
        DtcError: Whatever is wrong with model, recipe, data or output, in words for the user.
    """
    path, base, run = Path(path), Path(base), None if run is None else Path(run)
    # What would fail at the end is refused before hours of training.
    job.refuse_early(path, recipe)
    trained = recipe.training is not None
    with custom_ops(base / library for library in recipe.custom_ops):
        work = begin(path, recipe, job, base)
        if known is not None:
            work.moments, work.gradients = known.moments, known.gradients
        refuse_unfit(work)
        run_original(work)
        work.run_folder = run or (job.output.with_suffix(".dtc-run") if trained else None)
        work.on_event = on_event
        return _carry_out(work, RETRAINED if trained else ONE_SHOT)


def resume(
    folder: str | Path,
    *,
    force: bool = False,
    output: str | Path | None = None,
    report: str | Path | None = None,
    allow_code: bool = False,
    dump: str | Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    processes: int | None = None,
    on_event: OnEvent | None = None,
) -> Compression:
    """Carry the compression of a run directory on to its end.

    Retraining goes on from its newest checkpoint; without training all is done anew. A run that has its result gives it
    again, unless `force` asks to do it over. `output` and `report` are other places than the run names; those that it
    names have to lie in the folder that it lies in, and functions that it names as data are run with `allow_code` only:
    a run directory may be a stranger's. `dump` is a folder for the model after each stage. `engine`, `device` and
    `processes` are what retraining goes on on from here: not bit for bit, where they are others.

    Raises:
        DtcError: The folder is no run of `compress`, or whatever else is wrong, in words for the user.
    """
    folder = Path(folder)
    output, report, dump = (None if each is None else Path(each) for each in (output, report, dump))
    run, told = open_run(folder), Job.read(folder, force=force)
    run = run.placed(engine=engine, device=device, processes=processes)
    job = replace(told, dump=dump, output=output or told.output, report=report or told.report)
    if not force and (known := _known(run, job)) is not None:
        return known
    job.refuse_elsewhere(folder, output=output, report=report)
    if not allow_code:
        refuse_code(run.recipe, folder, named_in=folder)
    job.refuse_early(run.model_path, run.recipe)
    with custom_ops(folder / library for library in run.recipe.custom_ops):
        work = begin_again(run, job)
        refuse_unfit(work)
        work.on_event = on_event
        return _carry_out(work, ONE_SHOT if run.recipe.training is None else RESUMED)


def _carry_out(work: Work, stages: Sequence[Stage]) -> Compression:
    try:
        with work, damage_named(work.original), watched(work) as look:
            for stage in stages:
                if work.on_event is not None:
                    work.on_event(StageBegan(stage.__name__.replace("_", " ")))
                stage(work)
                work.store.let_go()
                look(stage.__name__)
    # With a run directory the user is told how to go on; without one there is nothing to go on from.
    except KeyboardInterrupt:
        if work.run is None:
            raise
        raise Interrupted(work.run.folder) from None
    run = None if work.run is None else work.run.folder
    return Compression(work.job.output, work.report, tuple(work.pages), run)


def _known(run: Run, job: Job) -> Compression | None:
    """Return the result of a finished run whose output is unchanged since; None for any other run."""
    # 1. Not finished: the report is the last thing that a compression leaves in its run.
    if not (run.folder / JSON).is_file():
        return None
    report = read_report(run.folder / JSON)
    # 2. The report of a run that was looked at while it went on.
    if report.output is None:
        return None
    # 3. Finished, but the output was moved, deleted or changed since: hashes tell.
    files = [job.output.parent / file.name for file in report.output.files]
    if not all(file.is_file() for file in files) or describe_files(files) != report.output:
        return None
    pages = [folder / HTML for folder in (run.folder, job.report) if folder is not None]
    return Compression(job.output, report, tuple(page for page in pages if page.is_file()), run.folder)
