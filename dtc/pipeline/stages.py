"""The stages of a compression, in order: what is done to a model between two files."""

from __future__ import annotations

from collections.abc import Callable

from dtc.pipeline.checking import check_faithful, check_outcome, check_sites
from dtc.pipeline.choosing import begin_run, choose, normalise
from dtc.pipeline.describing import describe, leave_report
from dtc.pipeline.distorting import distort
from dtc.pipeline.halving import halve
from dtc.pipeline.measuring import measure_moments
from dtc.pipeline.quantizing import fit_activations, quantize_activations
from dtc.pipeline.retraining import take_trained, train, try_rules
from dtc.pipeline.statistics import set_statistics, set_statistics_again
from dtc.pipeline.weighing import refuse_growth, weigh
from dtc.pipeline.work import Work
from dtc.pipeline.writing import deliver, lower, strip, strip_names, write, write_dense

Stage = Callable[[Work], None]

_LOWER: tuple[Stage, ...] = (
    strip,
    # A form that saves nothing, its nodes and tables counted, is no compression.
    weigh,
    # The distorted model is written twice, dense and lowered, so that the one can be held to the other.
    write_dense,
    halve,
    lower,
    strip_names,
    write,
)

_WRITE: tuple[Stage, ...] = (
    *_LOWER,
    refuse_growth,
    # The output appears when all is well with it, and what was there before is safe until then.
    check_sites,
    check_faithful,
    check_outcome,
    deliver,
    # What was done to each site, what it gained and what it cost.
    describe,
    leave_report,
)

_RETRAIN: tuple[Stage, ...] = (
    # The worker takes the run directory, and leaves the best of many distorted weights in it.
    train,
    quantize_activations,
    take_trained,
    *_WRITE,
)

ONE_SHOT: tuple[Stage, ...] = (
    # Which method has which weight. What is wrong with the rules shows before anything is left behind.
    normalise,
    choose,
    begin_run,
    # What samples tell of the model as it is.
    measure_moments,
    # The weights change once, and statistics and ranges are taken of the model as it is then.
    distort,
    set_statistics,
    fit_activations,
    quantize_activations,
    set_statistics_again,
    *_WRITE,
)

TRIED: tuple[Stage, ...] = (
    normalise,
    choose,
    measure_moments,
    distort,
    set_statistics,
    fit_activations,
    quantize_activations,
    *_LOWER,
)
"""A file to look at, made as one that is delivered: neither checked nor put at its place."""

RETRAINED: tuple[Stage, ...] = (
    normalise,
    choose,
    # What is wrong with the rules shows before any training.
    try_rules,
    # Retraining begins with rounded activations, and from weights whose errors are made up for: what that takes is part
    # of the run.
    fit_activations,
    measure_moments,
    begin_run,
    *_RETRAIN,
)

RESUMED: tuple[Stage, ...] = (normalise, choose, *_RETRAIN)
"""Of a retraining whose run directory is there already."""
