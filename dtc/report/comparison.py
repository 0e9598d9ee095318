"""Several reports side by side: one fact a row, one run a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dtc.checking.measurements import Latency
from dtc.formatting import milliseconds, size
from dtc.report.blocks import row, table, text
from dtc.report.document import Report
from dtc.report.markup import Markup


def side_by_side(reports: Sequence[Report]) -> list[tuple[str, list[str]]]:
    """Return the facts that at least one report has, each with the words of all of them; "" where one has not."""
    rows = [(fact, [words(report) for report in reports]) for fact, words in _FACTS.items()]
    return [(fact, found) for fact, found in rows if any(found)]


def facts_table(reports: Sequence[Report], names: Sequence[str]) -> Markup:
    """Return the same as a table in HTML, with a name above each column."""
    rows = [row(text(fact), *map(text, found)) for fact, found in side_by_side(reports)]
    return table(["", *names], rows)


def _model(report: Report) -> str:
    return f"{report.model.name}, {size(report.model.bytes)}"


def _made_by(report: Report) -> str:
    rules = report.recipe.get("rules", ())
    searched = "search: " if report.search is not None else ""
    words = (" ".join([rule["method"], *(f"{key}={value}" for key, value in _told(rule).items())]) for rule in rules)
    return searched + "; ".join(dict.fromkeys(words))


def _told(rule: Mapping[str, object]) -> Mapping[str, object]:
    options = rule.get("options")
    return options if isinstance(options, Mapping) else {}


def _file(report: Report) -> str:
    if report.output is None or report.ratios is None:
        return "not written yet"
    return f"{size(report.output.bytes)}, {report.ratios.file:.2f}x"


def _bits(report: Report) -> str:
    return "" if report.ratios is None else f"{report.ratios.bits_per_weight:.2f}"


def _sites(report: Report) -> str:
    return f"{sum(site.form is not None for site in report.sites)} of {len(report.sites)}"


def _metric(report: Report) -> str:
    metric = None if report.check is None else report.check.metric
    if metric is None:
        return ""
    return f"{metric.name} {metric.before:.6g} to {metric.after:.6g} ({metric.after - metric.before:+.4g})"


def _samples(report: Report) -> str:
    metric = None if report.check is None else report.check.metric
    return "" if metric is None else metric.samples


def _outputs(report: Report) -> str:
    differences = () if report.check is None else report.check.differences
    return "" if not differences else f"{max(each.relative_l2 for each in differences):.4g}"


def _latency(report: Report) -> str:
    before, after = _latencies(report)
    if before is None or after is None:
        return ""
    words = f"{milliseconds(before.median)} to {milliseconds(after.median)}"
    return f"{words}, {before.median / max(after.median, 1e-12):.2f}x"


def _latencies(report: Report) -> tuple[Latency | None, Latency | None]:
    check = report.check
    return (None, None) if check is None else (check.reference.latency, check.candidate.latency)


def _training(report: Report) -> str:
    training = report.training
    return "" if training is None else f"{training.steps} of {training.planned} steps, {training.engine}"


def _verdict(report: Report) -> str:
    return "" if report.check is None else "; ".join(report.check.failures)


_FACTS: dict[str, Callable[[Report], str]] = {
    "model": _model,
    "made by": _made_by,
    "file": _file,
    "bits a weight": _bits,
    "compressed sites": _sites,
    "metric": _metric,
    "measured on": _samples,
    "outputs, relative L2": _outputs,
    "latency": _latency,
    "training": _training,
    "failed": _verdict,
}
