"""The headline with gain and loss, and the section that compares the two files."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dtc.checking import CheckReport, MetricChange
from dtc.checking.differences import OutputDifference
from dtc.checking.sites import SiteChecks
from dtc.formatting import milliseconds, size
from dtc.report.blocks import name, number, row, section, table, text
from dtc.report.document import Fidelity, Report
from dtc.report.markup import Markup, tag


def headline(report: Report) -> Markup:
    """Return the top of the page: the files, the three ratios, the metric."""
    title = (
        tag("h1", report.model.name, tag("span", f" \N{RIGHTWARDS ARROW} {report.output.name}", class_="to"))
        if (report.output)
        else tag("h1", report.model.name)
    )
    return tag("header", title, _verdict(report), tag("div", _tiles(report), class_="tiles"))


def outcome_section(report: Report) -> Markup | None:
    """Return the comparison of the written file with the original; None while there is none."""
    check = report.check
    if check is None:
        return None
    failures = [tag("li", failure) for failure in check.failures]
    return section(
        "Before and after",
        tag("ul", failures, class_="failures") if failures else None,
        table(["", ">before", ">after", ">change"], _comparison(check)),
        tag("p", _measured(check, report.versions.get("machine", "")), class_="small") if check.inputs else None,
        _outputs(check) if check.differences else None,
        tag("p", _rounding(report.fidelity, check.kernels), class_="small") if report.fidelity else None,
        tag("p", _one_by_one(report.by_site), class_="small") if report.by_site else None,
        [tag("p", note, class_="small") for note in (*check.caveats, *report.notes)],
        id_="outcome",
    )


def _verdict(report: Report) -> Markup:
    # Without a check the compression is not finished, whatever else is there.
    if report.check is None:
        done = report.training
        words = f"not finished: step {done.steps} of {done.planned}" if done else "not finished"
        return tag("p", tag("strong", words, class_="pending"), f" {_when(report)}", class_="verdict")
    verdict = report.check.verdict
    badge = tag("strong", verdict, class_={"failed": "bad", "passed": "good", "not judged": "pending"}[verdict])
    compressed = sum(site.form is not None for site in report.sites)
    methods = ", ".join(dict.fromkeys(site.method for site in report.sites if site.method))
    words = f" {methods or 'nothing compressed'}: {compressed} of {len(report.sites)} sites"
    retrained = f", retrained for {report.training.steps} steps" if report.training else ""
    return tag("p", badge, words + retrained + f"; {_when(report)}", class_="verdict")


def _when(report: Report) -> str:
    return report.created.replace("T", " ").replace("+00:00", " UTC")


def _tiles(report: Report) -> list[Markup]:
    tiles = []
    if report.ratios is not None and report.output is not None:
        ratios = report.ratios
        sizes = f"{size(report.model.bytes)} \N{RIGHTWARDS ARROW} {size(report.output.bytes)}"
        tiles += [
            _tile("compressed sites", f"{ratios.sites:.2f}\N{MULTIPLICATION SIGN}", "smaller"),
            _tile("whole file", f"{ratios.file:.2f}\N{MULTIPLICATION SIGN}", sizes),
            _tile("bits per weight", f"{ratios.bits_per_weight:.2f}", "of the compressed sites, all metadata counted"),
        ]
    if report.check is not None:
        tiles.append(_quality(report.check))
        before, after = report.check.reference.latency, report.check.candidate.latency
        if before is not None and after is not None:
            spans = f"{milliseconds(before.median)} \N{RIGHTWARDS ARROW} {milliseconds(after.median)}"
            tiles.append(_tile("speed", f"{before.median / after.median:.2f}\N{MULTIPLICATION SIGN}", spans))
    return tiles


def _quality(check: CheckReport) -> Markup:
    metric = check.metric
    if metric is not None:
        values = f"{_value(metric.before)} \N{RIGHTWARDS ARROW} {_value(metric.after)}"
        note = f"{_change(metric)}; {metric.samples}"
        return _tile(_name(metric), values, note)
    if not check.differences:
        return _tile("outputs", "not compared", "the written file could not be run as the original")
    note = f"relative L2; inputs: {check.inputs}; no data, no metric"
    return _tile("output difference", _value(check.largest_difference), note)


def _tile(name: str, value: str, note: str) -> Markup:
    return tag("div", tag("span", name), tag("b", value), tag("small", note), class_="tile")


def _comparison(check: CheckReport) -> list[Markup]:
    before, after = check.reference, check.candidate
    sizes = before.file_bytes, after.file_bytes
    # Every row but the first stands only where both models were measured: without data, time or Linux there is less.
    rows = [_compared("file", map(size, sizes), _times(*sizes))]
    if before.latency is not None and after.latency is not None:
        latencies = (before.latency, after.latency)
        medians = [each.median for each in latencies]
        spans = [f"{milliseconds(each.p10)} to {milliseconds(each.p90)}" for each in latencies]
        rows.append(_compared("latency, median", map(milliseconds, medians), _times(*medians)))
        rows.append(_compared("latency, 10th to 90th percentile", spans, f"{before.latency.runs} runs"))
    if before.memory is not None and after.memory is not None:
        taken = (before.memory.taken, after.memory.taken)
        rows.append(_compared("memory of load and run", map(size, taken), _times(*taken)))
    if (metric := check.metric) is not None:
        rows.append(_compared(_name(metric), map(_value, (metric.before, metric.after)), _change(metric)))
    return rows


def _compared(name: str, pair: Iterable[str], change: str) -> Markup:
    return row(text(name), *(number(each) for each in pair), number(change))


def _outputs(check: CheckReport) -> Markup:
    rows = [
        row(
            text(name(each.name), "name"),
            number(_value(each.relative_l2)),
            number(_value(each.max_abs)),
            number(_snr(each)),
            number("" if each.agreement is None else f"{each.agreement:.2%}"),
        )
        for each in check.differences
    ]
    return table(["output", ">relative L2", ">largest difference", ">SNR", ">agreement"], rows)


def _measured(check: CheckReport, machine: str) -> str:
    taken = f" {check.metric.name} is from {check.metric.samples}." if check.metric is not None else ""
    return f"Both files in ONNX Runtime, in turns; inputs: {check.inputs}.{taken} {machine}."


def _snr(output: OutputDifference) -> str:
    if output.max_abs == 0:
        return "equal"
    return f"{output.snr:.1f} dB" if math.isfinite(output.snr) else ""


def _rounding(fidelity: Fidelity, kernels: float | None) -> str:
    text = (
        "Differences are from the original's outputs. The written file computes what the distorted dense model does, "
        f"but for rounding: at most {_value(fidelity.relative_l2)} relative L2"
    )
    text += f", its {fidelity.quantizers} quantizers of activations left out of both." if fidelity.quantizers else "."
    if kernels is None:
        return text
    return f"{text} On the native kernels, which ran here, its outputs move by at most {_value(kernels)}."


def _one_by_one(by_site: SiteChecks) -> str:
    missing = "".join(f" Not run alone: {name}, as {reason}." for name, reason in by_site.not_checked.items())
    return f"Checked in the written file: {by_site.words}.{missing}"


def _name(metric: MetricChange) -> str:
    return metric.name if metric.labelled else f"{metric.name} (against the original's own outputs)"


def _change(metric: MetricChange) -> str:
    if not (math.isfinite(metric.before) and math.isfinite(metric.after)):
        return ""
    change = metric.after - metric.before
    # Accuracy up or perplexity down is better.
    better = (change > 0) == metric.higher_is_better
    return "unchanged" if change == 0 else f"{change:+.4g}, {'better' if better else 'worse'}"


def _value(value: float | None) -> str:
    return f"{value:.4g}" if value is not None and math.isfinite(value) else "not finite"


def _times(before: float, after: float) -> str:
    return f"{before / max(after, 1e-12):.2f}\N{MULTIPLICATION SIGN}" if after else ""
