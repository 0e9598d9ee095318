"""The page of published experiments: what their results files hold, the papers' figures beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tables import page

from dtc.models.reproduce.papers.experiment import PaperTrial, experiments
from dtc.models.reproduce.papers.pictures import Picture
from dtc.models.reproduce.papers.results import Results, read_results
from dtc.models.reproduce.papers.tables import table

INTRODUCTION = (
    "Experiments of the papers that the methods come from, carried out by `dtc` itself; a retrained model stands "
    "beside its control, the same training without distortion. Nothing here was typed: the tables are made of the "
    "files in `docs/results/`, which hold settings, curves, versions and machine of every trial. Results of several "
    "seeds are their mean and standard deviation. What is chosen, as the best step of a run, is chosen by held-out "
    "training data."
)


SMALLEST = (
    "This is the smallest setting, of seconds: language models are small ones and learn letters instead of words, "
    "image models give way to one of spoken digits. It shows which way things go, beside the control; its figures are "
    "not to be held against the paper's."
)

_SHOWN = 3
"""Evaluations of a training in a table."""

PICTURES = "pictures"
"""Folder of the pictures beside the page."""


def papers_pages(folder: Path) -> dict[str, str]:
    """Return the page of all results files in `folder`, and its pictures, by their paths below docs/."""
    parts, files = [INTRODUCTION], {}
    for path in sorted(folder.glob("*.json")):
        results = read_results(path)
        pictures = {_place(results, each): each for each in experiments()[results.experiment].pictures(results.records)}
        files |= {place: each.svg for place, each in pictures.items()}
        parts += [*_parts(results), *(f"![{each.title}]({place})" for place, each in pictures.items())]
    return {"papers.md": page("The papers, reproduced", parts), **files}


def _place(results: Results, picture: Picture) -> str:
    return f"{PICTURES}/{results.experiment}-{results.size}-{picture.name}.svg"


def _parts(results: Results) -> Iterator[str]:
    experiment = experiments()[results.experiment]
    seeds = max((int(record.facts.get("seed", 0)) + 1 for record in results.records), default=1)
    yield f"## {experiment.title}"
    yield f"{experiment.paper}. {experiment.about}"
    if results.size == "smallest":
        yield SMALLEST
    yield (
        "```sh\n# not run: needs the folder of DTC_DATA, and minutes to hours\n"
        f"python -m dtc.models.reproduce.papers {experiment.name} --size {results.size} --seeds {seeds} \\\n"
        "    --results docs/results\n```"
    )
    yield "\n".join(experiment.tables(results.records))
    yield from _ended_early(results)
    if results.size in experiment.short:
        yield f"Where it falls short: {experiment.short[results.size]}"
    yield from _missing(results, experiment.trials(results.size, seeds))
    told = sorted({_told(record.versions) for record in results.records})
    yield f"Measured with {'; '.join(told)}."


def _ended_early(results: Results) -> Iterator[str]:
    """Yield the trainings that were ended before they were tested, with the tested ones for comparison."""
    if not results.courses:
        return
    trained = [each for each in (*results.records, *results.courses) if each.curve]
    head = ["training", "steps", f"{results.records[0].metric}, held out, by evaluation", "tested"]
    tested = {each.trial for each in results.records}
    rows = [
        [
            each.trial,
            f"{each.curve[-1][0]:,}",
            ", ".join(f"{value:.2f}" for _, value in each.curve[-_SHOWN:]),
            "yes" if each.trial in tested else "no",
        ]
        for each in trained
    ]
    yield "Some trainings were ended before their models were tested. The last evaluations of all, on held-out data:"
    yield "\n".join(table(head, rows))


def _missing(results: Results, planned: Sequence[PaperTrial]) -> Iterator[str]:
    """Yield how many of the planned trials were not carried out, if any, and whether a control is among them."""
    done = {record.trial for record in results.records}
    missing = [trial for trial in planned if trial.name not in done]
    if missing:
        lacks = any(trial.recipe.training and not trial.recipe.rules for trial in missing)
        control = "; a control is among those that were not" if lacks else ""
        yield f"Trials of this size that were carried out: {len(done)} of {len(planned)}{control}."


def _told(versions: dict[str, str]) -> str:
    """Return the versions and the machine of a record in words; the engine of those that were trained."""
    names = {"dtc": "dtc", "python": "Python", "onnxruntime": "ONNX Runtime"}
    parts = [f"{words} {versions[name]}" for name, words in names.items() if name in versions]
    return ", ".join([*parts, *(versions[name] for name in ("engine", "machine") if name in versions)])
