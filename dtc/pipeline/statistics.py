"""The statistics of BatchNormalization that the file gets: those that suit its weights."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from dtc import calibration
from dtc.calibration.batch_norm import Answer, NearestStatistics
from dtc.data import Source
from dtc.forms import Array
from dtc.pipeline.work import Work

_WORDS: Mapping[Answer, str] = {
    "kept": "as they were",
    "corrected": "corrected by what the change of the weights does to the samples",
    "measured": "measured anew on the samples",
}


def set_statistics(work: Work) -> None:
    """Give every BatchNormalization the statistics that the recipe asks for, where there is data to take them from.

    Raises:
        DataError: The data does not fit the model.
    """
    recipe, source = work.recipe, work.samples.train if work.recipe.batch_norm != "frozen" else None
    if source is None:
        return
    if recipe.batch_norm == "auto":
        _choose(work, source)
        return
    found = calibration.measure_statistics(work.model, source, recipe.objective, seed=recipe.seed)
    _assign(work, found, f"{_WORDS['measured']} (--batch-norm frozen leaves them)")


def set_statistics_again(work: Work) -> None:
    """Do it again if activations are rounded now: rounding shifts what every BatchNormalization sees."""
    if work.levels:
        set_statistics(work)


def _choose(work: Work, source: Source) -> None:
    objective, seed = work.recipe.objective, work.recipe.seed
    choice = calibration.choose_statistics(work.model, work.undistorted, source, objective, seed=seed)
    if choice is not None:
        _assign(work, choice.statistics, _why(choice))
        work.renormalised = choice.answer != "kept"


def _why(choice: NearestStatistics) -> str:
    others = (
        f"{distance:.2g} {_WORDS[answer]}" for answer, distance in choice.distances.items() if answer != choice.answer
    )
    return (
        f"{_WORDS[choice.answer]}, which is nearest to the original's outputs on the samples: relative squared error "
        f"{choice.distances[choice.answer]:.2g}; {', '.join(others)} (--batch-norm frozen or batch decides otherwise)"
    )


def _assign(work: Work, found: Mapping[str, Array], words: str) -> None:
    if not found:
        return
    for name, array in found.items():
        work.model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    work.renormalised = True
    count = len(found) // 2  # a mean and a variance each
    start = f"statistics of {count} BatchNormalizations "
    work.notes[:] = [note for note in work.notes if not note.startswith(start)] + [f"{start}{words}"]
