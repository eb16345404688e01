"""`ReportData` -> one self-contained HTML page: no script, nothing remote, readable on a phone and on paper.

Names of files and classes are hostile input: Jinja2 escapes every value, pictures are embedded only when
their first bytes say what they are, and a content security policy forbids all but inline styles and pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from budwood.evaluation.metrics import ClassMetrics, Estimate, confused_pairs
from budwood.report import plots
from budwood.report.comparison import difference_plot
from budwood.report.curves import rate_spark, training_curves
from budwood.report.data import Baseline, ReportData, Result, Step
from budwood.report.judging_plots import rank_plots, reliability_plot, residual_plot, risk_plot
from budwood.report.templating import Wide, both, environment, of_hundred, printable, stylesheet
from budwood.report.training_data import HeadSelection, Phase
from budwood.report.why_view import controls_plot


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plots:
    """The page's plots as SVG; an empty string where there is nothing to draw."""

    counts: Wide
    strip: Wide
    scores: Wide
    confusion: Markup
    reliability: Markup
    risk: Markup
    roc: Markup
    precision_recall: Markup
    residuals: Markup
    controls: Wide
    comparison: Wide
    phases: tuple[Wide, ...]
    rates: tuple[Markup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """A step on the timeline; ``start`` and ``width`` are percents of the whole."""

    step: Step
    start: float
    width: float


def render(data: ReportData) -> str:
    """The whole page as text, to be written as UTF-8. Equal data give equal text."""
    result = data.result
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            css=stylesheet("look.css", "report.css", "why.css"),
            plots=_draw(data),
            verdict=_verdict(result) if result else "",
            pairs=confused_pairs(result.metrics) if result else (),
            weakest=_weakest_first(result) if result else (),
            timeline=_timeline(data.steps),
        )
    )
    return printable(page)


def _draw(data: ReportData) -> _Plots:
    result, dataset, judging = data.result, data.dataset, data.judging
    controls = data.why.controls if data.why else None
    roc, precision_recall = rank_plots(judging.curves) if judging and judging.curves else ("", "")
    return _Plots(
        counts=both(plots.class_counts, dataset) if dataset and dataset.classes else Wide(),
        strip=both(plots.score_strip, result) if result else Wide(),
        scores=both(plots.class_scores, result.metrics) if result else Wide(),
        confusion=Markup(plots.confusion(result.metrics) if result else ""),
        reliability=Markup(reliability_plot(judging.bins) if judging and judging.bins else ""),
        risk=Markup(risk_plot(judging.risks) if judging and judging.risks else ""),
        roc=Markup(roc),
        precision_recall=Markup(precision_recall),
        residuals=Markup(residual_plot(judging.residuals) if judging and judging.residuals else ""),
        controls=both(controls_plot, controls) if controls else Wide(),
        comparison=both(difference_plot, data.comparison) if data.comparison else Wide(),
        phases=tuple(_draw_phase(phase, name=f"phase-{i}") for i, phase in enumerate(data.training.phases)),
        rates=tuple(
            Markup(rate_spark(row.planned, name=f"rate-{i}")) if row.planned else Markup()
            for i, row in enumerate(data.training.plan)
        ),
    )


def _draw_phase(phase: Phase, *, name: str) -> Wide:
    if isinstance(phase, HeadSelection):
        return Wide(screen=Markup(plots.head_selection(phase, name=name)))
    return Wide(
        screen=Markup(training_curves(phase, name=name)),
        phone=Markup(training_curves(phase, name=name, narrow=True)),
    )


def _weakest_first(result: Result) -> tuple[ClassMetrics, ...]:
    """Classes by F1; those without test pictures last, since nothing is known of them."""
    return tuple(sorted(result.metrics.per_class, key=lambda row: (not row.support, row.f1.value, row.name)))


def _verdict(result: Result) -> str:
    """What the accuracy means against the best trivial answer, in words that the interval carries."""
    if not result.baselines:
        return ""
    best: Baseline = max(result.baselines, key=lambda line: line.accuracy.value)
    found: Estimate = result.metrics.accuracy
    start = f"The best trivial answer ({best.name}) names {of_hundred(best.accuracy.value)} of 100 right. "
    if found.interval.low > best.accuracy.value:
        return start + "The whole interval lies above that: the model has learnt something from the pictures."
    if found.value > best.accuracy.value:
        return start + "The interval reaches down to it, so this test part cannot show that the model is better."
    return start + "The model is no better than that on this test part."


def _timeline(steps: tuple[Step, ...]) -> tuple[_Bar, ...]:
    total = sum(step.seconds for step in steps) or 1.0
    bars, start = [], 0.0
    for step in steps:
        width = 100 * step.seconds / total
        bars.append(_Bar(step=step, start=round(start, 3), width=round(width, 3)))
        start += width
    return tuple(bars)
