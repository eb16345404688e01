"""The curves of a training: accuracy, loss and learning rate against the epoch, one above the other.

What is measured alike is drawn alike: the two solid lines are of the weights after the epoch, without augmentation; the
dashed one is what Keras shows as training, taken while the weights move. The band around the validation accuracy is the
95 % interval of that many pictures: what moves within it may be luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from budwood.evaluation.intervals import wilson
from budwood.report.drawing import NARROW, PIXEL, WIDE, named, percent_axis, percent_text, short
from budwood.report.schedule_plot import RateCurve
from budwood.report.svg import AMBER, INK, LEAF, MUTED, SAGE, TIP, page_style, plain, to_svg
from budwood.report.training_data import Curves
from budwood.train.history import EpochRow

Column = Callable[[EpochRow], float]
# (label, column of the accuracies, of the losses, colour, dashes)
_LINES: tuple[tuple[str, Column, Column, str, bool], ...] = (
    ("training, while it ran", lambda row: row.accuracy, lambda row: row.loss, SAGE, True),
    ("training, measured after", lambda row: row.train_accuracy, lambda row: row.train_loss, AMBER, False),
    ("validation", lambda row: row.val_accuracy, lambda row: row.val_loss, LEAF, False),
)
_MAX_MARKED = 60  # epochs whose points are drawn and tell their numbers on hovering
_MAX_DOTS = 24
_LETTER = 6.3  # mean width of a letter of a stage's title, in pixels
_HEIGHTS = (3.0, 2.5, 1.0)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def training_curves(curves: Curves, *, name: str = "curves", narrow: bool = False) -> str:
    """All epochs of a training; ``narrow`` for the screen of a phone. What was not measured is not drawn."""
    rows = curves.rows
    width = NARROW if narrow else WIDE
    with page_style():
        figure = Figure(figsize=(width * PIXEL, (500 if rows else 150) * PIXEL), layout="constrained")
        ratios = {"height_ratios": _HEIGHTS, "hspace": 0.04}
        accuracy, loss, rate = figure.subplots(3, 1, sharex=True, gridspec_kw=ratios)
        labelled = _draw_lines(accuracy, loss, rows)
        _draw_band(accuracy, rows, curves.num_validation)
        _draw_kept(accuracy, loss, curves)
        _draw_rates(rate, rows)
        _draw_stages((accuracy, loss, rate), curves, width=width)
        for axes, title in ((accuracy, "accuracy"), (loss, "loss"), (rate, "rate")):
            axes.set_ylabel(title)
            axes.grid(axis="y", linewidth=0.8)
            axes.tick_params(length=0)
        percent_axis(accuracy, "y")
        figure.align_ylabels()
        rate.set_xlabel("epoch")
        rate.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if labelled:
            fit = {"ncols": 2, "fontsize": 10.5, "handlelength": 1.3} if narrow else {"ncols": 5}
            entries = accuracy.get_legend_handles_labels()
            figure.legend(*entries, loc="outside upper left", columnspacing=1.4, **fit)
        return to_svg(figure, named(name, narrow), alt=_alt(curves))


def rate_spark(planned: RateCurve, *, name: str) -> str:
    """The planned learning rate of one stage, as small as a word."""
    with page_style():
        figure = Figure(figsize=(110 * PIXEL, 26 * PIXEL))
        axes = figure.add_axes((0.01, 0.06, 0.98, 0.88))
        axes.plot(planned.epochs, planned.rates, color=AMBER, linewidth=1.6, drawstyle="steps-post")
        axes.fill_between(planned.epochs, planned.rates, color=AMBER, alpha=0.18, linewidth=0, step="post")
        axes.set_ylim(0, 1.04 * max(planned.rates, default=1.0))
        axes.set_axis_off()
        return to_svg(figure, name, alt=f"Planned learning rate, at most {max(planned.rates, default=0.0):g}")


def _draw_lines(accuracy: Axes, loss: Axes, rows: Sequence[EpochRow]) -> bool:
    """The lines that were measured; whether there is one."""
    drawn = False
    for label, of_accuracy, of_loss, colour, dashed in _LINES:
        for axes, column in ((accuracy, of_accuracy), (loss, of_loss)):
            x, y = _broken(rows, column)
            # One axis holds the legend's entries, also where a line has no accuracy: runs of earlier versions.
            style = (0, (3, 1.6)) if dashed else "-"
            dots = "o" if len(rows) <= _MAX_DOTS else ""
            known = not all(map(math.isnan, y))
            drawn |= known
            if known or (axes is accuracy and any(math.isfinite(of_loss(row)) for row in rows)):
                axes.plot(x, y, color=colour, linewidth=2, linestyle=style, marker=dots, markersize=4, label=label)
    if len(rows) <= _MAX_MARKED:
        _add_tips(accuracy, loss, rows)
    return drawn


def _add_tips(accuracy: Axes, loss: Axes, rows: Sequence[EpochRow]) -> None:
    """Unseen points over the validation's that tell their numbers on hovering."""
    for row in rows:
        for axes, value, text in (
            (accuracy, row.val_accuracy, percent_text(row.val_accuracy)),
            (loss, row.val_loss, f"loss {row.val_loss:.3f}"),
        ):
            if math.isfinite(value):
                tip = f"{TIP}epoch {row.epoch}, validation: {text}"
                axes.plot(row.epoch, value, "o", markersize=9, alpha=0.01, color=LEAF, gid=tip, zorder=5)


def _draw_band(axes: Axes, rows: Sequence[EpochRow], num_pictures: int) -> None:
    """The 95 % interval of each validation accuracy."""
    x, y = _broken(rows, lambda row: row.val_accuracy)
    if not num_pictures or all(map(math.isnan, y)):
        return
    spans = [None if math.isnan(value) else wilson(round(value * num_pictures), num_pictures) for value in y]
    low = [span.low if span else math.nan for span in spans]
    high = [span.high if span else math.nan for span in spans]
    label = f"95 % interval of {num_pictures} pictures"
    axes.fill_between(x, low, high, color=LEAF, alpha=0.16, linewidth=0, label=label)
    gaps = [True, *map(math.isnan, y), True]
    for i, epoch in enumerate(x):
        if gaps[i] and not gaps[i + 1] and gaps[i + 2]:  # a stage of one epoch has no area
            ends = [low[i], high[i]]
            axes.plot([epoch, epoch], ends, color=LEAF, alpha=0.16, linewidth=9, solid_capstyle="butt")


def _draw_kept(accuracy: Axes, loss: Axes, curves: Curves) -> None:
    """A ring around the epoch of each stage whose weights were kept."""
    kept = {stage.best for stage in curves.stages}
    label = "kept"
    for row in curves.rows:
        if row.epoch not in kept:
            continue
        for axes, value in ((accuracy, row.val_accuracy), (loss, row.val_loss)):
            if not math.isfinite(value):
                continue
            axes.plot(row.epoch, value, "o", markersize=11, color="none", markeredgecolor=INK, label=label, zorder=4)
            label = ""


def _draw_rates(axes: Axes, rows: Sequence[EpochRow]) -> None:
    """The rate at each epoch's end, on a logarithmic axis; four decades below the highest are enough to see."""
    highest = max((row.lr for row in rows if row.lr > 0 and math.isfinite(row.lr)), default=0.0)
    if not highest:
        axes.set_yticks([])
        return
    lowest = max(highest / 1e4, min(row.lr for row in rows if row.lr > 0) / 1.6)
    x, y = _broken(rows, lambda row: max(row.lr, lowest / 100))  # a rate of 0 leaves the plot downwards
    axes.set_yscale("log")
    axes.plot(x, y, color=MUTED, linewidth=2, marker="o" if len(rows) <= _MAX_DOTS else "", markersize=4)
    axes.set_ylim(lowest / 1.3, highest * 2)
    decades = range(math.ceil(math.log10(lowest)), math.floor(math.log10(highest)) + 1)
    step = math.ceil(len(decades) / 4) if decades else 1
    ticks = [10.0**power for power in decades[::-step]] if len(decades) > 1 else [highest]
    axes.set_yticks(ticks, [_power_of_ten(tick) for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def _power_of_ten(value: float) -> str:
    """``3e-05`` -> ``3·10⁻⁵``."""
    digits, _, power = f"{value:.1e}".partition("e")
    shown = f"10{str(int(power)).translate(_SUPERSCRIPT)}"
    return shown if digits == "1.0" else f"{digits.removesuffix('.0')}·{shown}"


def _draw_stages(panels: Sequence[Axes], curves: Curves, *, width: float) -> None:
    """A line where a stage begins, and its number and title, as far as they fit, above the first panel."""
    if not curves.rows:
        return
    first, last = curves.rows[0].epoch - 0.6, curves.rows[-1].epoch + 0.6
    panels[0].set_xlim(first, last)
    if len(curves.stages) < 2:
        return
    for stage in curves.stages:
        start = max(first, stage.first - 0.5)
        room = (width - 90) * (min(last, stage.last + 0.5) - start) / (last - first)
        fits = int(room / _LETTER) - 4
        title = f"{stage.number} {short(stage.title, fits)}" if fits >= 14 else str(stage.number)
        label = panels[0].annotate(
            title,
            (start, 1.0),
            xytext=(3, 5),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=MUTED,
            fontsize=11,
            annotation_clip=False,
        )
        label.set_gid(f"{TIP}{plain(stage.title)}")
        if stage is not curves.stages[0]:
            for axes in panels:
                axes.axvline(start, color=MUTED, linewidth=1)


def _alt(curves: Curves) -> str:
    stages = "; ".join(f"epochs {stage.first} to {stage.last}: {stage.title}" for stage in curves.stages[:8])
    return f"Accuracy, loss and learning rate against the epoch. {stages}"


def _broken(rows: Sequence[EpochRow], column: Column) -> tuple[list[float], list[float]]:
    """Epochs and values, with a gap between stages: a stage begins from the best epoch before it, not from the last."""
    x: list[float] = []
    y: list[float] = []
    for before, row in zip((None, *rows), rows, strict=False):
        if before is not None and before.stage != row.stage:
            x.append(row.epoch - 0.5)
            y.append(math.nan)
        value = column(row)
        x.append(row.epoch)
        y.append(value if math.isfinite(value) else math.nan)
    return x, y
