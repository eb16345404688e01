"""The report's plots, each a function from values to one inline SVG string.

Text stays text, in the page's own fonts; colours are the page's CSS variables, so a plot follows its light or
dark look. The strings are safe to place in HTML: names pass through an XML writer, ids are unique across
plots, and the same values give the same bytes. No pyplot, so no state is shared between calls.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from budwood.evaluation.metrics import Metrics, confused_pairs
from budwood.report.data import DatasetSummary, Result
from budwood.report.drawing import (
    MIDDLE,
    NARROW,
    PIXEL,
    WIDE,
    dot,
    figure_of,
    name_rows,
    named,
    percent_axis,
    percent_text,
    rows_figure,
    short,
)
from budwood.report.svg import AMBER, INK, LEAF, MUTED, PAPER, SAGE, TIP, WRONG, page_style, plain, to_svg
from budwood.report.training_data import HeadSelection

_PART_COLOURS = (LEAF, SAGE, AMBER, MUTED)
# A matrix of more classes cannot be read on a screen; the commonest confusions are listed in its place.
MAX_MATRIX_CLASSES = 50


def class_counts(dataset: DatasetSummary, *, narrow: bool = False) -> str:
    """Stacked horizontal bars: pictures per class, by part; ``narrow`` for the screen of a phone."""
    with page_style():
        figure, axes = rows_figure(len(dataset.classes), width=NARROW if narrow else WIDE, extra=62)
        left = [0] * len(dataset.classes)
        for part, name in enumerate(dataset.parts):
            counts = [row.counts[part] for row in dataset.classes]
            colour = _PART_COLOURS[part % len(_PART_COLOURS)]
            bars = axes.barh(range(len(counts)), counts, left=left, color=colour, height=0.62, label=plain(name))
            for bar, row, count in zip(bars, dataset.classes, counts, strict=True):
                bar.set_gid(f"{TIP}{plain(row.name)}, {plain(name)}: {count}")
            left = [a + b for a, b in zip(left, counts, strict=True)]
        for y, total in enumerate(left):
            axes.annotate(str(total), (total, y), xytext=(6, 0), textcoords="offset points", va="center", color=MUTED)
        axes.set_xlim(0, max(left, default=1) * 1.07 or 1)
        axes.set_xlabel("pictures")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        name_rows(axes, [row.name for row in dataset.classes], limit=18 if narrow else 30)
        if len(dataset.parts) > 1:
            figure.legend(loc="outside upper left", ncols=len(dataset.parts), handlelength=1, handleheight=1)
        return to_svg(figure, named("class-counts", narrow), alt="Pictures per class, by part")


def head_selection(phase: HeadSelection, *, name: str = "head") -> str:
    """Cross-validated accuracy against the penalty, on a logarithmic axis, with the chosen one marked."""
    with page_style():
        figure, axes = figure_of(MIDDLE, 270)
        low = [a - d for a, d in zip(phase.accuracies, phase.deviations, strict=True)]
        high = [a + d for a, d in zip(phase.accuracies, phase.deviations, strict=True)]
        # A penalty of 0 has no place on a logarithmic axis; it is drawn one decade below the smallest other.
        positive = [p for p in phase.penalties if p > 0]
        x = [p if p > 0 else min(positive, default=1.0) / 10 for p in phase.penalties]
        axes.fill_between(x, low, high, color=SAGE, alpha=0.4, linewidth=0)
        axes.plot(x, phase.accuracies, color=LEAF, marker="o", markersize=4.5, linewidth=2)
        best = (x[phase.chosen], phase.accuracies[phase.chosen])
        axes.plot(*best, marker="o", markersize=12, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.5)
        axes.annotate(
            f"chosen: {percent_text(best[1])}",
            best,
            xytext=(0, 14),
            textcoords="offset points",
            ha="center",
            weight="bold",
        )
        axes.set_xscale("log")
        axes.minorticks_off()
        step = math.ceil(len(x) / 8)
        axes.set_xticks(x[::step], [f"{p:g}" for p in phase.penalties[::step]])
        axes.margins(x=0.09, y=0.25)
        axes.set_xlabel("penalty (stronger to the right)")
        axes.set_title("accuracy, mean and deviation over folds", fontsize=12, fontweight="normal", color=MUTED)
        percent_axis(axes, "y")
        return to_svg(figure, name, alt=phase.title)


def confusion(metrics: Metrics) -> str:
    """The confusion matrix: counts as text, the share of the true class as colour.

    Above `MAX_MATRIX_CLASSES` classes it is `top_confusions`.
    """
    num_classes = len(metrics.classes)
    if num_classes > MAX_MATRIX_CLASSES:
        return top_confusions(metrics)
    cell = max(15.5, min(64.0, 560 / num_classes))
    names = [short(name, 20) for name in metrics.classes]
    margin = 34 + 7.2 * max(map(len, names), default=0)
    side = cell * num_classes
    small = min(13.0, cell * 0.42 + 1)
    label_size = min(12.0, cell * 0.7)
    with page_style():
        figure = Figure(figsize=((side + margin + 20) * PIXEL, (side + margin + 10) * PIXEL))
        axes = figure.add_axes(
            (
                margin / (side + margin + 20),
                margin / (side + margin + 10),
                side / (side + margin + 20),
                side / (side + margin + 10),
            )
        )
        for t, counts in enumerate(metrics.confusion):
            for p, count in enumerate(counts):
                _cell(axes, (t, p), count=count, metrics=metrics, font_size=small)
        axes.set(xlim=(-0.5, num_classes - 0.5), ylim=(num_classes - 0.5, -0.5))
        steep = num_classes > 4
        axes.set_xticks(range(num_classes), names, rotation=90 if steep else 0, fontsize=label_size, color=INK)
        axes.set_yticks(range(num_classes), names, fontsize=label_size, color=INK)
        axes.tick_params(length=0, pad=6)
        for border in axes.spines.values():
            border.set_visible(True)
        axes.set_xlabel("was taken for")
        axes.set_ylabel("true class")
        return to_svg(figure, "confusion", alt="Confusion matrix, rows are the true classes")


def top_confusions(metrics: Metrics, *, limit: int = 25) -> str:
    """Horizontal bars of the commonest confusions, for as many classes as there may be."""
    pairs = confused_pairs(metrics, limit=limit)
    with page_style():
        figure, axes = rows_figure(len(pairs), width=WIDE, extra=44)
        bars = axes.barh(range(len(pairs)), [pair.count for pair in pairs], color=WRONG, height=0.55)
        for y, (bar, pair) in enumerate(zip(bars, pairs, strict=True)):
            bar.set_gid(f"{TIP}{plain(str(pair))}")
            note = f"{pair.count} of {pair.support}"
            axes.annotate(note, (pair.count, y), xytext=(6, 0), textcoords="offset points", va="center", color=MUTED)
        name_rows(axes, [f"{short(pair.true, 22)} → {short(pair.predicted, 22)}" for pair in pairs], limit=60)
        axes.set_xlim(0, max((pair.count for pair in pairs), default=1) * 1.15)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("pictures of the first class that were taken for the second")
        return to_svg(figure, "confusion", alt="The commonest confusions")


def class_scores(metrics: Metrics, *, narrow: bool = False) -> str:
    """F1 of each class as a dot with its interval, weakest first; ``narrow`` for the screen of a phone."""
    order = sorted(metrics.per_class, key=lambda row: (row.f1.value, row.name))
    with page_style():
        figure, axes = rows_figure(len(order), width=NARROW if narrow else MIDDLE, extra=48)
        for y, row in enumerate(order):
            tip = f"{plain(row.name)}: F1 {percent_text(row.f1.value)}"
            dot(axes, y, row.f1.value, span=(row.f1.interval.low, row.f1.interval.high), colour=LEAF, tip=tip)
        mean = metrics.macro_f1.value
        axes.axvline(mean, color=MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
        name_rows(axes, [row.name for row in order], limit=18 if narrow else 30)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(f"F1 (dashed: the mean, {percent_text(mean)})")
        percent_axis(axes, "x")
        return to_svg(figure, named("class-scores", narrow), alt="F1 of each class with its interval")


def score_strip(result: Result, *, narrow: bool = False) -> str:
    """Accuracy with its interval above what to compare it with; ``narrow`` for the screen of a phone."""
    found = result.metrics.accuracy
    rows: list[tuple[str, float, tuple[float, float] | None, str, bool]] = [
        ("this model, test part", found.value, (found.interval.low, found.interval.high), LEAF, True)
    ]
    if result.cross_validation is not None:
        pooled = result.cross_validation.pooled
        rows.append(("all folds pooled", pooled.value, (pooled.interval.low, pooled.interval.high), LEAF, True))
    for score in result.selection:
        spread = None if score.deviation is None else (score.value - score.deviation, score.value + score.deviation)
        rows.append((f"{score.name} (to choose)", score.value, spread, AMBER, False))
    for line in result.baselines:
        ends = (line.accuracy.interval.low, line.accuracy.interval.high)
        rows.append((line.name, line.accuracy.value, ends, MUTED, True))
    with page_style():
        figure, axes = rows_figure(len(rows), width=NARROW if narrow else WIDE, extra=34, height=34)
        for y, (name, value, span, colour, solid) in enumerate(rows):
            dot(axes, y, value, span=span, colour=colour, solid=solid, tip=f"{plain(name)}: {percent_text(value)}")
            axes.annotate(
                percent_text(value),
                (1.0, y),
                xytext=(12, 0),
                textcoords="offset points",
                va="center",
                weight="bold" if y == 0 else "normal",
                color=INK if y == 0 else MUTED,
            )
        name_rows(axes, [row[0] for row in rows], limit=22 if narrow else 40)
        axes.set_xlim(0, 1)
        percent_axis(axes, "x")
        return to_svg(figure, named("score-strip", narrow), alt="Accuracy with its interval, against the baselines")


def _cell(axes: Axes, at: tuple[int, int], *, count: int, metrics: Metrics, font_size: float) -> None:
    t, p = at
    support = metrics.per_class[t].support
    share = count / support if support else 0.0
    if not count:
        if t == p:  # an empty diagonal cell is worth seeing
            axes.add_patch(Rectangle((p - 0.48, t - 0.48), 0.96, 0.96, facecolor=LEAF, alpha=0.06, linewidth=0))
        return
    colour = LEAF if t == p else WRONG
    verb = "named right" if t == p else f"taken for {plain(metrics.classes[p])}"
    # Even one picture must be seen, so the colour starts above nothing.
    box = Rectangle((p - 0.48, t - 0.48), 0.96, 0.96, facecolor=colour, alpha=0.12 + 0.88 * share, linewidth=0)
    box.set_gid(f"{TIP}{plain(metrics.classes[t])}: {count} of {support} {verb}")
    axes.add_patch(box)
    axes.text(
        p,
        t,
        str(count),
        ha="center",
        va="center_baseline",
        fontsize=font_size,
        color=PAPER if share > 0.5 else INK,
    )
