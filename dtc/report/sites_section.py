"""The sites: a table of all of them, and pictures of their weights."""

from __future__ import annotations

from collections.abc import Sequence

from dtc.formatting import shape, size
from dtc.report.blocks import legend, name, number, row, section, table, text
from dtc.report.charts import histogram_chart, spectrum_chart
from dtc.report.document import Report, SiteOutcome, WeightsChange
from dtc.report.markup import Markup, tag

_DRAWN = 100
"""Most sites with pictures, the largest ones: a page of thousands opens in no browser."""

_COLUMNS = [
    "site",
    "role",
    "shape",
    "method",
    "form",
    ">share of file",
    ">before",
    ">after",
    ">ratio",
    ">bits per weight",
    ">error",
]


def sites_section(report: Report) -> Markup | None:
    """Return the table of sites; a click on a column's head sorts it."""
    if not report.sites:
        return None
    words = (
        "Error: |W \N{MINUS SIGN} W\N{PRIME}|\N{SUPERSCRIPT TWO} / |W|\N{SUPERSCRIPT TWO}, "
        "W the original and W\N{PRIME} the written weights; retraining moves weights on purpose, so it is large then. "
        "Parts that sites share are counted in full at each, and once in the ratios above."
    )
    return section(
        "Sites",
        table(_COLUMNS, [_row(site) for site in report.sites], class_="sortable"),
        tag("p", words, class_="small"),
        id_="sites",
    )


def weights_section(report: Report) -> Markup | None:
    """Return the pictures of the compressed sites, in the order of the model."""
    described = [(site, site.weights) for site in report.sites if site.weights is not None]
    if not described:
        return None
    # The largest are chosen, but drawn in the model's order.
    largest = sorted(described, key=lambda pair: -pair[0].nbytes)[:_DRAWN]
    drawn = {site.name for site, _ in largest}
    low_rank = any(weights.spectra for _, weights in described)
    return section(
        "Weights",
        legend(("before", "original"), ("after", "written"), *([("rank", "rank")] if low_rank else [])),
        tag("p", _explained(described, len(drawn)), class_="small"),
        tag("div", [_card(site, weights) for site, weights in described if site.name in drawn], class_="cards"),
        id_="weights",
    )


def _row(site: SiteOutcome) -> Markup:
    left_alone = site.form is None
    before, after = site.nbytes, site.stored_bytes
    error = site.weights.difference if site.weights else None
    form = (
        tag("span", "left alone: " + (site.reason or ""), class_="muted")
        if left_alone
        else tag(
            "span",
            f"{site.form}, {site.detail}",
            tag("div", site.lowered.words if site.lowered else "", class_="muted small"),
        )
    )
    return row(
        text(name(site.name), "name"),
        text(site.role),
        text(shape(site.shape), "tight"),
        text(site.method or ""),
        text(form, "form"),
        number(f"{site.share:.1%}", site.share),
        number(size(before), before),
        number(size(after), after),
        number("" if left_alone else f"{site.ratio:.2f}\N{MULTIPLICATION SIGN}", site.ratio),
        number("" if left_alone else f"{site.bits_per_weight:.2f}", site.bits_per_weight),
        # Sites without an error sort before all others by -1, which no error is.
        number("" if error is None else f"{error:.2e}", -1.0 if error is None else error),
    )


def _explained(described: Sequence[tuple[SiteOutcome, WeightsChange]], drawn: int) -> str:
    words = (
        "Histograms count at their ends what lies beyond them; over bars that are cut stands the share of the highest."
    )
    if any(weights.spectra for _, weights in described):
        words += " Singular values are drawn down to what float32 resolves; of a site with several matrices, four."
    if drawn < len(described):
        words += f" The {drawn} largest of {len(described)} sites are drawn; report.json has all of them."
    return words


def _card(site: SiteOutcome, weights: WeightsChange) -> Markup:
    pictures = [histogram_chart(weights.histogram, 360, 190)]
    if weights.spectra:
        pictures.append(spectrum_chart(weights.spectra, 360, 190))
    before, after = weights.zeros
    zeros = f"; zeros {before:.1%} \N{RIGHTWARDS ARROW} {after:.1%}" if max(before, after) >= 5e-4 else ""
    facts = f"{shape(site.shape)}; {site.form}, {site.detail}{zeros}"
    return tag("figure", tag("figcaption", tag("b", name(site.name)), tag("small", facts)), pictures, class_="card")
