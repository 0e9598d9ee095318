"""The retraining: its curves, and the jump at each distortion."""

from __future__ import annotations

from collections.abc import Callable

from dtc.report.blocks import legend, name, section
from dtc.report.charts import jump_chart, loss_chart, metric_chart
from dtc.report.document import Report, TrainingOutcome
from dtc.report.markup import Markup, tag


def training_section(report: Report) -> Markup | None:
    """Return the curves of the retraining; None where there was none."""
    training = report.training
    if training is None:
        return None
    # The charts share their horizontal axis, steps, and stand one over the other: a jump is found above its evaluation.
    figures = [_figure(loss_chart, training, 300, _loss_legend(training), "Loss")]
    if training.distortions:
        words = legend(("jump", "loss after the distortion minus loss before it, on the step's batch"))
        figures.append(_figure(jump_chart, training, 190, words, "What each distortion added to the loss"))
    if any(each.value is not None for each in training.evaluations):
        judged = f"{training.metric} of the distorted weights on {training.evaluated_on or 'the evaluation data'}"
        words = legend(("evaluation", judged), ("best", "kept as the result"))
        figures.append(_figure(metric_chart, training, 190, words, "Metric on the evaluation data"))
    return section("Retraining", tag("p", _facts(training)), figures, _notes(training), id_="training")


def _figure(
    chart: Callable[[TrainingOutcome, float, float, str], Markup],
    training: TrainingOutcome,
    height: float,
    words: Markup,
    title: str,
) -> Markup:
    """Return a chart twice, for wide and for narrow screens: text keeps its size on both."""
    wide, narrow = chart(training, 900, height, "wide"), chart(training, 380, min(height, 240), "narrow")
    return tag("figure", tag("figcaption", title), words, wide, narrow)


def _loss_legend(training: TrainingOutcome) -> Markup:
    step = "training step" if training.curve.every == 1 else f"training, mean of {training.curve.every} steps"
    return legend(
        ("loss", step),
        ("jump", "distortion: from the loss before it to the loss after it"),
        ("evaluation", "evaluation of distorted weights"),
        ("best", "kept as the result"),
    )


def _facts(training: TrainingOutcome) -> str:
    total = sum(training.seconds.values())
    trained = f"{training.parameters:,} parameters trained by {training.engine}"
    done = f"{len(training.distortions)} distortions, {len(training.evaluations)} evaluations"
    facts = [f"{training.steps} of {training.planned} steps, {done}; {trained}"]
    if training.best_step is not None:
        facts.append(f"the weights of step {training.best_step} are the best")
    if total > 0:
        shares = ", ".join(f"{name} {spent / total:.0%}" for name, spent in training.seconds.items() if spent > 0)
        facts.append(f"{_duration(total)}: {shares}")
    return "; ".join(facts) + "."


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _notes(training: TrainingOutcome) -> Markup | None:
    items = [tag("li", note) for note in training.notes]
    items += [tag("li", "not trained: ", name(site), f" ({reason})") for site, reason in training.frozen.items()]
    return tag("details", tag("summary", f"Notes ({len(items)})"), tag("ul", items)) if items else None
