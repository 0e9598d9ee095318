"""Carries out published experiments: `python -m dtc.models.reproduce.papers NAME --size small --seeds 3`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import click

from dtc.errors import DtcError
from dtc.models.reproduce.papers.experiment import SIZES, Course, Record, Size, experiments
from dtc.models.reproduce.papers.results import write_results
from dtc.models.reproduce.papers.running import ended_early, finished, run_trial


@click.command()
@click.argument("name", type=click.Choice(sorted(experiments())))
@click.option("--size", type=click.Choice(SIZES), default="small", show_default=True, help="how far it is carried")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="repetitions of each trial")
@click.option(
    "--trial",
    "wanted",
    multiple=True,
    metavar="GLOB",
    help="names of trials, with wildcards (default: all); of the others, results that are there are told, too",
)
@click.option("--engine", help="what runs the training steps; see dtc engine list (default: the first that can)")
@click.option("--threads", type=click.IntRange(min=1), help="threads of the engine; default: 1")
@click.option("--device", help="what the engine computes on: cpu, cuda, cuda:1 or mps; default: cpu")
@click.option("--precision", type=click.Choice(["float32", "bf16"]), help="of training steps; default: float32")
@click.option("--checkpoint-every", type=click.IntRange(min=1), help="steps between two checkpoints; default: 200")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("papers"), show_default=True,
              help="what is done is kept here; an interrupted run goes on where it was")  # fmt: skip
@click.option("--results", type=click.Path(path_type=Path), help="also write the results file into this folder")
def main(
    name: str,
    size: Size,
    seeds: int,
    wanted: tuple[str, ...],
    engine: str | None,
    threads: int | None,
    device: str | None,
    precision: str | None,
    checkpoint_every: int | None,
    folder: Path,
    results: Path | None,
) -> None:
    """Carry out the experiment NAME and print its tables."""
    experiment, records, courses = experiments()[name], list[Record](), list[Course]()
    own = folder / f"{name}-{size}"
    own.mkdir(parents=True, exist_ok=True)
    settings = {"engine": engine, "threads": threads, "device": device, "precision": precision}
    settings["checkpoint_every"] = checkpoint_every
    trials = experiment.trials(size, seeds)
    for glob in wanted:
        if not any(fnmatchcase(trial.name, glob) for trial in trials):
            raise click.UsageError(f"--trial {glob}: there are {', '.join(trial.name for trial in trials)}")
    for trial in trials:
        if wanted and not any(fnmatchcase(trial.name, glob) for glob in wanted):
            records += filter(None, [finished(trial, own)])
            courses += filter(None, [ended_early(trial, own)])
            continue
        try:
            records.append(run_trial(trial.trained_with(**settings), own))
        except DtcError as error:
            raise click.ClickException(f"{trial.name}: {error}") from error
        last = records[-1]
        click.echo(f"{last.trial}: {last.metric} {last.before:.5g} -> {last.after:.5g}", err=True)
    click.echo("\n".join(experiment.tables(records)))
    if results is not None:
        click.echo(f"\n{write_results(experiment, size, records, results, courses)}")


if __name__ == "__main__":
    main()
