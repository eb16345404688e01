"""The plots of a sweep's page, each a function from values to one inline SVG string."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from budwood.evaluation.metrics import Estimate
from budwood.report.drawing import (
    MIDDLE,
    NARROW,
    WIDE,
    dot,
    figure_of,
    name_rows,
    named,
    percent_axis,
    percent_text,
    rows_figure,
)
from budwood.report.svg import AMBER, INK, LEAF, MUTED, SAGE, TIP, page_style, plain, to_svg


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One arm's accuracy with its interval. verdict: ``winner``, ``cannot tell``, ``worse``."""

    name: str
    value: float
    low: float
    high: float
    verdict: str

    @property
    def colour(self) -> str:
        """Grey for what is worse."""
        return MUTED if self.verdict == "worse" else LEAF

    @property
    def tip(self) -> str:
        """What hovering shows."""
        ends = f"{percent_text(self.low)} to {percent_text(self.high)}"
        return f"{plain(self.name)}: {percent_text(self.value)} ({ends}), {self.verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlot:
    """One swept setting: each arm's place ``at`` on its axis and its ``dots``, in the same order.

    values: of the axis, in order; labels: the same in words. alone: nothing else was swept, so that a line may join
    the arms.
    """

    key: str
    number: int
    values: tuple[str, ...]
    labels: tuple[str, ...]
    at: tuple[float, ...]
    dots: tuple[Dot, ...]
    numeric: bool
    logarithmic: bool
    alone: bool


def rivals(shown: tuple[Sequence[Dot], Estimate], *, narrow: bool = False) -> str:
    """Every arm with its interval, the best on top; hollow what cannot be told from it; dashed the corrected score."""
    dots, corrected = shown
    with page_style():
        figure, axes = rows_figure(len(dots), width=NARROW if narrow else WIDE, extra=58)
        axes.axvline(corrected.value, color=AMBER, linewidth=1.5, linestyle=(0, (4, 3)))
        for y, each in enumerate(dots):
            solid = each.verdict != "cannot tell"
            dot(axes, y, each.value, span=(each.low, each.high), colour=each.colour, tip=each.tip, solid=solid)
        name_rows(axes, [each.name for each in dots], limit=24 if narrow else 48)
        percent_axis(axes, "x")
        axes.set_xlabel("accuracy with its 95 % interval; dashed: expected of the winner on other pictures")
        if narrow:
            axes.set_xlabel("accuracy; dashed: expected of the winner")
        alt = "Accuracy of each arm: " + "; ".join(f"{d.name} {percent_text(d.value)}" for d in dots[:12])
        return to_svg(figure, named("rivals", narrow), alt=alt)


def key_plot(plot: KeyPlot, *, narrow: bool = False) -> str:
    """Accuracy against one setting: along an axis for numbers, in rows for names and depths."""
    with page_style():
        name = named(f"key-{plot.number}", narrow)
        alt = f"Accuracy against {plot.key}: " + "; ".join(
            f"{d.name} {percent_text(d.value)}" for d in sorted(plot.dots, key=lambda d: -d.value)[:12]
        )
        if not plot.numeric:
            return to_svg(_in_rows(plot, narrow=narrow), name, alt=alt)
        figure, axes = figure_of(NARROW if narrow else MIDDLE, 270)
        _along(axes, plot)
        return to_svg(figure, name, alt=alt)


def _in_rows(plot: KeyPlot, *, narrow: bool) -> Figure:
    figure, axes = rows_figure(len(plot.values), width=NARROW if narrow else WIDE, extra=44)
    for at, each in zip(plot.at, plot.dots, strict=True):
        dot(
            axes,
            int(at),
            each.value,
            span=(each.low, each.high),
            colour=each.colour,
            tip=each.tip,
            solid=each.verdict != "cannot tell",
        )
    if plot.alone:
        order = sorted(range(len(plot.at)), key=lambda i: plot.at[i])
        axes.plot([plot.dots[i].value for i in order], [plot.at[i] for i in order], color=SAGE, linewidth=1.5, zorder=0)
    name_rows(axes, plot.labels, limit=22 if narrow else 52)
    percent_axis(axes, "x")
    return figure


def _along(axes: Axes, plot: KeyPlot) -> None:
    for x, each in zip(plot.at, plot.dots, strict=True):
        axes.plot([x, x], [each.low, each.high], color=each.colour, linewidth=5, alpha=0.3, solid_capstyle="round")
        face = "none" if each.verdict == "cannot tell" else each.colour
        tip = TIP + each.tip
        axes.plot(x, each.value, "o", ms=8, color=each.colour, mfc=face, markeredgewidth=2, gid=tip)
    means: dict[float, list[float]] = defaultdict(list)
    for x, each in zip(plot.at, plot.dots, strict=True):
        means[x].append(each.value)
    if plot.alone or len(means) < len(plot.at):  # in trials hardly two arms share a value, and a mean says nothing
        xs = sorted(means)
        axes.plot(xs, [sum(means[x]) / len(means[x]) for x in xs], color=SAGE, linewidth=1.5, zorder=0)
    if plot.logarithmic:
        axes.set_xscale("log")
        axes.minorticks_off()
    if len(means) <= 8:
        axes.set_xticks(sorted(means), plot.values)
    axes.margins(x=0.09, y=0.15)
    axes.set_xlabel(plain(plot.key), color=INK)
    percent_axis(axes, "y")
