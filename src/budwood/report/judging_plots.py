"""Plots of what a score is worth: reliability, risk by coverage, curves of classes, residuals. See `plots` for how."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from budwood.evaluation.rank_curves import ClassCurves
from budwood.evaluation.reliability import ReliabilityBin, RiskPoint
from budwood.evaluation.residuals import ClassResiduals
from budwood.report.drawing import (
    PIXEL,
    figure_of,
    name_rows,
    percent_axis,
    percent_text,
    rows_figure,
    short,
)
from budwood.report.svg import AMBER, INK, LEAF, MUTED, SAGE, TIP, WRONG, page_style, plain, to_svg

_SIDE, _HEIGHT = 420, 330  # one drawing for screen and phone
_NAMED = 3  # weakest classes that get a colour and a name; the others are a quiet bundle
_COLOURS = (WRONG, AMBER, LEAF)
_CELLS = 20  # of a row of residuals


def reliability_plot(bins: Sequence[ReliabilityBin]) -> str:
    """The share of right answers against stated certainty, with intervals; on the diagonal both are the same."""
    with page_style():
        figure, axes = figure_of(_SIDE, _HEIGHT)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        for each in bins:
            span = (each.right.interval.low, each.right.interval.high)
            axes.plot([each.certainty] * 2, span, color=LEAF, linewidth=5, alpha=0.35, solid_capstyle="round")
            tip = (
                f"stated {percent_text(each.certainty)}: {each.num_right} of {each.num_pictures} right"
                f" ({percent_text(each.right.value)})"
            )
            axes.plot(each.certainty, each.right.value, "o", markersize=8, color=LEAF, gid=TIP + tip)
        low = min([0.9, *(each.certainty for each in bins), *(each.right.interval.low for each in bins)])
        start = max(0.0, low - 0.05)
        axes.set(xlim=(start, 1.02), ylim=(start, 1.02))
        _title(axes, "right, where it was so certain")
        axes.set_xlabel("certainty that it stated")
        percent_axis(axes, "y")
        percent_axis(axes, "x")
        return to_svg(figure, "reliability", alt="Share of right answers by stated certainty, with intervals")


def risk_plot(points: Sequence[RiskPoint]) -> str:
    """The share of wrong answers when only the most certain ones are given, from few to all."""
    with page_style():
        figure, axes = figure_of(_SIDE, _HEIGHT)
        x = [point.coverage for point in points]
        low, high = ([getattr(point.risk.interval, end) for point in points] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=SAGE, alpha=0.35, linewidth=0)
        axes.plot(x, [point.risk.value for point in points], color=LEAF, linewidth=2)
        for point in points:
            tip = (
                f"certainty {percent_text(point.threshold)} or more: {point.num_answered} answered,"
                f" {point.num_wrong} wrong ({percent_text(point.risk.value)})"
            )
            axes.plot(point.coverage, point.risk.value, "o", markersize=5, color=LEAF, gid=TIP + tip)
        whole = points[-1].risk.value if points else 0.0
        axes.set(xlim=(0, 1.02), ylim=(0, max(0.05, min(1.0, 1.6 * whole + 0.03))))
        _title(axes, "wrong among the answers")
        axes.set_xlabel("pictures that it answers, the most certain first")
        percent_axis(axes, "y")
        percent_axis(axes, "x")
        return to_svg(figure, "risk", alt="Share of wrong answers by the share of pictures that are answered")


def rank_plots(curves: Sequence[ClassCurves]) -> tuple[str, str]:
    """ROC and precision-recall curves of each class against the rest; the three weakest are named."""
    with page_style():
        roc = _curves(
            [(c, c.roc.x, c.roc.y, c.roc.area.value) for c in curves],
            title="hits, by false alarms",
            labels=("false alarms", "area"),
            start=0.0,
        )
        first = to_svg(roc, "roc", alt="ROC curve of each class against the rest")
        recall = _curves(
            [(c, c.precision_recall.x, c.precision_recall.y, c.precision_recall.area.value) for c in curves],
            title="precision, by recall",
            labels=("recall", "mean precision"),
            start=None,
        )
        return first, to_svg(recall, "precision-recall", alt="Precision-recall curve of each class against the rest")


def residual_plot(rows: Sequence[ClassResiduals]) -> str:
    """For each class how much probability its pictures' true class was denied, weakest class first."""
    order = sorted(rows, key=lambda row: (-float(row.values.mean()), row.name))
    with page_style():
        figure, axes = rows_figure(len(order), width=_SIDE, extra=48)
        for y, row in enumerate(order):
            counts, edges = np.histogram(row.values, bins=_CELLS, range=(0, 1))
            for count, left in zip(counts.tolist(), edges.tolist(), strict=False):
                if count:
                    axes.add_patch(_cell(left, y, share=count / len(row.values), count=count))
            middle = row.quartiles[1]
            tip = (
                f"{plain(row.name)}: median {percent_text(middle)}, {row.missed} of {len(row.values)} taken for another"
            )
            axes.plot([middle, middle], [y - 0.36, y + 0.36], color=INK, linewidth=2, gid=TIP + tip)
        name_rows(axes, [row.name for row in order], limit=18)
        axes.set_xlim(-0.005, 1.005)
        axes.set_xlabel("what the true class did not get (mark: median)")
        percent_axis(axes, "x")
        return to_svg(figure, "residuals", alt="Residuals by class: 1 less the true class's probability")


def _cell(left: float, y: int, *, share: float, count: int) -> Rectangle:
    width = 1 / _CELLS
    # A single picture must be seen, so the colour starts above nothing.
    strength = 0.15 + 0.85 * share**0.5
    colour = LEAF if left < 0.5 - 1e-9 else WRONG
    box = Rectangle((left, y - 0.36), width * 0.94, 0.72, facecolor=colour, alpha=strength, linewidth=0)
    box.set_gid(f"{TIP}{100 * left:.0f}-{100 * (left + width):.0f} %: {count}")
    return box


def _curves(
    lines: Sequence[tuple[ClassCurves, object, object, float]],
    *,
    title: str,
    labels: tuple[str, str],
    start: float | None,
) -> Figure:
    figure = Figure(figsize=(_SIDE * PIXEL, (_HEIGHT + 66) * PIXEL), layout="constrained")
    axes = figure.subplots()
    weakest = sorted(lines, key=lambda line: (line[3], line[0].name))
    for curve, x, y, _ in weakest[_NAMED:]:
        axes.plot(x, y, color=SAGE, linewidth=1, alpha=0.8, gid=f"{TIP}{plain(curve.name)}")  # type: ignore[arg-type]
    for (curve, x, y, area), colour in zip(weakest[:_NAMED], _COLOURS, strict=False):
        label = f"{short(curve.name, 24)} – {labels[1]} {area:.3f}"
        axes.plot(x, y, color=colour, linewidth=2, label=label, gid=f"{TIP}{plain(curve.name)}")  # type: ignore[arg-type]
    if start is not None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.02))
    _title(axes, title)
    axes.set_xlabel(labels[0])
    percent_axis(axes, "y")
    percent_axis(axes, "x")
    figure.legend(loc="outside lower left", handlelength=1.4)
    return figure


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=12, fontweight="normal", color=MUTED)
