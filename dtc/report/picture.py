"""A chart as a picture of its own: an SVG file that needs no page around it."""

from __future__ import annotations

from importlib.resources import files

from dtc.report.markup import Markup, tag


def resource(name: str) -> Markup:
    """Return a style sheet or script of the report."""
    return Markup((files("dtc.report") / name).read_text(encoding="utf-8"))


def chart_style() -> Markup:
    """Return the style of charts, in pages and in pictures."""
    return resource("charts.css")


def picture(chart: Markup, width: float, height: float) -> str:
    """Return a chart of this size as an SVG file, light or dark as the reader's screen is."""
    whole = tag(
        "svg",
        tag("style", chart_style()),
        chart,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
    )
    return f"{whole}\n"
