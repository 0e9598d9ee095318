"""Pictures of results, drawn by the charts of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtc.report.charts import histogram_chart, spectrum_chart
from dtc.report.document import Histogram, SpectrumPair
from dtc.report.picture import picture
from dtc.report.plot import Frame, Plot
from dtc.report.scale import padded

_WIDTH, _HEIGHT = 560.0, 300.0
_LOOKS = ("after", "jump", "evaluation", "before")
"""Classes of the report's style sheet, one a line; there are no more lines in a picture."""


@dataclass(frozen=True)
class Picture:
    """A picture: the end of its file's name, its title, and the SVG file."""

    name: str
    title: str
    svg: str


def lines_picture(
    title: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    percent: bool = False,
) -> str:
    """Return a picture of a line each, their names above it."""
    frame = Frame(_WIDTH, _HEIGHT)
    xs, ys = ([point[axis] for points in series.values() for point in points] for axis in (0, 1))
    plot = Plot(frame, padded(xs, *frame.horizontal), padded(ys, *frame.vertical), x_label, y_label, percent=percent)
    for look, points in zip(_LOOKS, series.values(), strict=False):
        plot.line(points, look)
        plot.dots(points, look)
    plot.legend(zip(series, _LOOKS, strict=False))
    return picture(plot.svg(title), _WIDTH, _HEIGHT)


def dots_picture(
    title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[tuple[float, float, str]]]
) -> str:
    """Return a picture of a dot each, in as many colours as there are series; words show when one points at a dot.

    Values along x are above 0, on a logarithmic axis.
    """
    frame = Frame(_WIDTH, _HEIGHT)
    xs, ys = ([point[axis] for points in series.values() for point in points] for axis in (0, 1))
    across = padded([float(x) for x in xs], *frame.horizontal, log=True)
    plot = Plot(frame, across, padded([float(y) for y in ys], *frame.vertical), x_label, y_label)
    for look, points in zip(_LOOKS, series.values(), strict=False):
        for x, y, words in points:
            plot.told_dot((x, y), look, words)
    plot.legend((name, look) for (name, points), look in zip(series.items(), _LOOKS, strict=False) if points)
    return picture(plot.svg(title), _WIDTH, _HEIGHT)


def histogram_picture(histogram: Histogram) -> str:
    """Return a picture of weights before and after."""
    return picture(histogram_chart(histogram, _WIDTH, _HEIGHT), _WIDTH, _HEIGHT)


def spectrum_picture(spectra: Sequence[SpectrumPair]) -> str:
    """Return a picture of singular values before and after."""
    return picture(spectrum_chart(spectra, _WIDTH, _HEIGHT), _WIDTH, _HEIGHT)
