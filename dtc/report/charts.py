"""The charts of the report: training, weights, spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dtc.report.document import Histogram, Jump, SpectrumPair, TrainingOutcome
from dtc.report.markup import Markup
from dtc.report.plot import Frame, Plot
from dtc.report.scale import Scale, padded

_MANY = 400
"""Most distortions drawn: of neighbours, the one with the largest jump stands for all."""

_DRAWN_MATRICES = 4
_CUT = 3.0
_RESOLUTION = 1e-7
"""Singular values below this share of the largest are rounding errors of float32."""


def loss_chart(training: TrainingOutcome, width: float, height: float, class_: str) -> Markup:
    """Loss against step; each distortion a vertical segment from the loss before it to the loss after it."""
    # 1. All numbers that must fit on the axis: the means of the curve, the evaluations, both ends of each jump.
    curve, jumps = training.curve, _thinned(training.distortions)
    scores = [(float(each.step), each.loss) for each in training.evaluations if each.loss is not None]
    losses = [*curve.mean, *(loss for _, loss in scores)]
    losses += [loss for jump in jumps for loss in (jump.before, jump.after) if loss is not None]
    # 2. Logarithmic where the largest is more than 20 times the smallest: on a linear axis the end of the training
    #    would lie on the floor.
    log = bool(losses) and min(losses) > 0 and max(losses) > 20 * min(losses)
    plot = _over_steps(training, losses, Frame(width, height), f"loss{' (log scale)' if log else ''}", log=log)
    # 3. From back to front. A band only where a point stands for several steps; the jumps over the curve, the best
    #    evaluation over all.
    if curve.every > 1:
        plot.band(curve.step, curve.least, curve.greatest, "loss")
    plot.line(zip(curve.step, curve.mean, strict=True), "loss")
    whole = [(jump.step, jump.before, jump.after) for jump in jumps if jump.before is not None]
    plot.segments(((x, before, after) for x, before, after in whole if after is not None), "jump")
    plot.dots(((x, after) for x, _, after in whole if after is not None), "jump", radius=2.0)
    plot.line(scores, "evaluation")
    plot.dots(scores, "evaluation")
    plot.dots([point for point in scores if point[0] == training.best_step], "best", radius=5.5)
    return plot.svg("Loss of the training steps, with the jump at each distortion", class_)


def jump_chart(training: TrainingOutcome, width: float, height: float, class_: str) -> Markup:
    """How much each distortion raised the loss: the health of the run, which must shrink."""
    points = [
        (float(jump.step), jump.after - jump.before)
        for jump in _thinned(training.distortions)
        if jump.before is not None and jump.after is not None
    ]
    plot = _over_steps(training, [y for _, y in points], Frame(width, height), "loss added", zero=True)
    plot.segments(((x, 0.0, y) for x, y in points), "jump")
    plot.dots(points, "jump", radius=2.5)
    return plot.svg("What each distortion added to the loss", class_)


def metric_chart(training: TrainingOutcome, width: float, height: float, class_: str) -> Markup:
    """The metric of the distorted weights against step."""
    points = [(float(each.step), each.value) for each in training.evaluations if each.value is not None]
    plot = _over_steps(training, [y for _, y in points], Frame(width, height), training.metric or "metric")
    plot.line(points, "evaluation")
    plot.dots(points, "evaluation")
    plot.dots([point for point in points if point[0] == training.best_step], "best", radius=5.5)
    return plot.svg("The metric of the distorted weights", class_)


def histogram_chart(histogram: Histogram, width: float, height: float) -> Markup:
    """Both histograms, one over the other, as shares of the weights.

    Bins of the result that are much higher than all of the original's (zeros, codewords) are cut, and the share of the
    highest is written above it.
    """
    # Counts of different sites compare as shares. Example: 90 % of the weights pruned, the original's highest bin 5 %.
    # The middle bin would flatten all others, so the axis ends at 10.5 % (twice the highest, and 5 % of room), and
    # "90.0%" is written over the bar.
    before, after = (_shares(counts) for counts in (histogram.before, histogram.after))
    highest, tallest = max(before), max(range(len(after)), key=after.__getitem__)
    cut = after[tallest] > _CUT * highest > 0
    top = 1.05 * (2 * highest if cut else max(highest, after[tallest])) or 1.0
    frame = Frame(width, height, left=46.0)
    edges = histogram.edges
    x, y = Scale(edges[0], edges[-1], *frame.horizontal), Scale(0.0, top, *frame.vertical)
    plot = Plot(frame, x, y, "weight", "share of weights", percent=True)
    plot.bars(edges, before, "before")
    plot.bars(edges, after, "after")
    if cut:
        plot.note((edges[tallest] + edges[tallest + 1]) / 2, f"{after[tallest]:.1%}")
    return plot.svg("Histogram of the weights before and after")


def spectrum_chart(spectra: Sequence[SpectrumPair], width: float, height: float) -> Markup:
    """Singular values against their number, on a log scale, as shares of the largest of each matrix."""
    # Each matrix is drawn as shares of its own largest singular value: on one picture, curves of different scales would
    # not compare.
    drawn = [each for each in spectra[:_DRAWN_MATRICES] if each.before and each.before[0] > 0]
    curves = [tuple(_relative(values, each.before[0]) for values in (each.before, each.after)) for each in drawn]
    values = [y for pair in curves for curve in pair for _, y in curve] or [1.0]
    longest = max((len(each.before) for each in drawn), default=1)
    frame = Frame(width, height, left=46.0)
    x = Scale(1.0, max(longest, 2), *frame.horizontal)
    plot = Plot(frame, x, padded(values, *frame.vertical, log=True), "number", "singular value / first")
    for spectrum, (before, after) in zip(drawn, curves, strict=True):
        plot.upright(len(spectrum.after), "rank")
        plot.line(before, "before")
        plot.line(after, "after")
    if drawn:
        plot.note(len(drawn[0].after), f"rank {len(drawn[0].after)}")
    return plot.svg("Singular values before and after")


def _over_steps(
    training: TrainingOutcome, values: list[float], frame: Frame, y_label: str, *, log: bool = False, zero: bool = False
) -> Plot:
    x = Scale(0.0, max(training.planned, training.steps, 1), *frame.horizontal)
    return Plot(frame, x, padded(values, *frame.vertical, log=log, zero=zero), "step", y_label)


def _thinned(jumps: Sequence[Jump]) -> list[Jump]:
    # 1000 jumps in groups of 3: the largest of each group, so that no outlier is hidden by its neighbours.
    group = math.ceil(len(jumps) / _MANY) or 1
    return [max(jumps[start : start + group], key=_height) for start in range(0, len(jumps), group)]


def _height(jump: Jump) -> float:
    return abs(jump.after - jump.before) if jump.before is not None and jump.after is not None else 0.0


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]


def _relative(values: Sequence[float], largest: float) -> list[tuple[float, float]]:
    return [(number, value / largest) for number, value in enumerate(values, 1) if value > _RESOLUTION * largest]
