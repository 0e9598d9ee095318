"""The section of a search: all files as a plot, what each is made of, and what each site saves and costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import yaml

from dtc.formatting import size
from dtc.report.blocks import legend, name, number, row, section, table, text
from dtc.report.document import Report
from dtc.report.markup import Markup, join, tag
from dtc.report.plot import Frame, Plot
from dtc.report.scale import Scale, padded
from dtc.report.search_document import PointFacts, SearchedSite, SearchReport

_LEAST = 1e-9
"""A distance that is drawn for none."""

_BAR = 100.0


def search_section(report: Report) -> Markup:
    """Return the section; empty where the file comes from no search."""
    found = report.search
    if found is None:
        return join()
    points = _points(found)
    return section(
        "Search",
        tag("p", _told(found)),
        tag("figure", legend(*_LEGEND), _front(found, points)),
        points_table(found),
        tag("h3", "What each site saves and costs"),
        tag(
            "p",
            "Costs are distances of the outputs from the original's when the site alone is changed, scaled to add up.",
            class_="small",
        ),
        table(["site", "candidate", ">saves", "", ">costs", ""], _sites(found.sites)),
        id_="search",
    )


_LEGEND = (
    ("loss", "one method and rate everywhere"),
    ("evaluation", "files that none beats"),
    ("jump", "retrained"),
    ("best", "written"),
)


def points_table(found: SearchReport) -> Markup:
    """Return all files of a search, from the smallest on, each with the rules that give it."""
    rows = [_point(each, found) for each in _points(found)]
    return table(["", ">file", ">ratio", ">loss", ">\N{PLUS-MINUS SIGN}", ">samples", ">distance", "made of"], rows)


def _told(found: SearchReport) -> str:
    decided = f"Losses are of {found.loss}, on the samples that the search decided by."
    told = f"the written file loses {found.unseen_drop:.4g}, with a standard error of {found.unseen_error:.2g}"
    return f"{decided} On {found.unseen}, {told}."


def _points(found: SearchReport) -> list[PointFacts]:
    """Return all files once, from the smallest on."""
    every: list[PointFacts] = []
    for each in (found.chosen, *found.front, *found.uniform, *found.retrained):
        if each not in every:
            every.append(each)
    return sorted(every, key=lambda each: each.bytes)


def _front(found: SearchReport, points: Sequence[PointFacts]) -> Markup:
    frame = Frame(860, 320, left=64)
    drawn = [each for each in points if math.isfinite(each.distance)]
    x = padded([each.bytes / 1e3 for each in drawn], *frame.horizontal, log=True)
    y: Scale = padded([max(each.distance, _LEAST) for each in drawn], *frame.vertical, log=True)
    plot = Plot(frame, x, y, "kB of the file (log scale)", "distance of the outputs (log scale)")
    if found.limit_bytes is not None:
        plot.upright(found.limit_bytes / 1e3, "limit")
    plot.line([_place(each) for each in found.front], "evaluation")
    for each in drawn:
        kind = "jump" if each.retrained else "evaluation" if each in found.front else "loss"
        plot.told_dot(_place(each), kind, _words(each), f"#{_anchor(each, points)}")
    plot.dots([_place(found.chosen)], "best", radius=6.0)
    return plot.svg("Bytes of each file against the distance of its outputs")


def _place(point: PointFacts) -> tuple[float, float]:
    return point.bytes / 1e3, max(point.distance, _LEAST)


def _words(point: PointFacts) -> str:
    return f"{size(point.bytes)}, loss {point.drop:.4g}: {point.words}"


def _anchor(point: PointFacts, points: Sequence[PointFacts]) -> str:
    return f"searched-{points.index(point)}"


def _point(point: PointFacts, found: SearchReport) -> Markup:
    rules = yaml.safe_dump({"rules": found.rules(point)}, sort_keys=False, allow_unicode=True)
    recipe = tag(
        "details",
        tag("summary", point.words or "nothing changed"),
        tag("pre", rules, id_=_anchor(point, _points(found))),
    )
    return row(
        text(found.fate(point)),
        number(size(point.bytes), point.bytes),
        number(f"{found.model_bytes / point.bytes:.2f}\N{MULTIPLICATION SIGN}"),
        number(f"{point.drop:.4g}"),
        number(f"{point.error:.2g}" if math.isfinite(point.error) else ""),
        number(f"{point.samples:,}", point.samples),
        number(f"{point.distance:.3g}"),
        text(recipe),
    )


def _sites(sites: Sequence[SearchedSite]) -> list[Markup]:
    """Return a row a site; bars are shares of the most that a site saves and costs."""
    saved = {each.name: each.before - each.after for each in sites if each.after is not None}
    costs = {each.name: each.distance for each in sites if each.distance is not None}
    most_saved, most_cost = max(saved.values(), default=1) or 1, max(costs.values(), default=1.0) or 1.0
    return [
        row(
            text(name(each.name), "name"),
            text(each.candidate or "as it is"),
            number(size(saved[each.name]) if each.name in saved else ""),
            text(_bar(saved.get(each.name, 0) / most_saved, "after"), "bar"),
            number(f"{costs[each.name]:.2e}" if each.name in costs else "not measured"),
            text(_bar(costs.get(each.name, 0.0) / most_cost, "jump"), "bar"),
        )
        for each in sites
    ]


def _bar(share: float, class_: str) -> Markup:
    drawn = tag("rect", x=0, y=0, width=max(share, 0.0) * _BAR, height=10, class_=f"bars {class_}")
    return tag("svg", drawn, viewBox=f"0 0 {_BAR:g} 10", preserveAspectRatio="none", aria_hidden="true")
