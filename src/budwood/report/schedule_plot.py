"""Plots of learning rates against the epoch: those of a run's stages, and a sheet of all kinds of schedules.

The rates that a run really took, lowered by a plateau or after an explosion, are in its history; these are the planned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from budwood.report.drawing import PIXEL, WIDE, figure_of
from budwood.report.png import to_png
from budwood.report.svg import AMBER, LEAF, MUTED, SAGE, page_style, to_svg
from budwood.train.schedules import SCHEDULES, ScheduleSpec, make_schedule, plateau_factor

_MAX_POINTS = 600  # of a curve: finer is not seen, and an SVG holds each
_COLOURS = (LEAF, AMBER, SAGE, MUTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCurve:
    """Planned learning rates of one stage: ``rates[i]`` from epoch ``epochs[i]`` on; a run begins at epoch 0."""

    label: str
    epochs: tuple[float, ...]
    rates: tuple[float, ...]


def planned_rates(
    spec: ScheduleSpec, *, label: str, base: float, num_epochs: int, steps_per_epoch: int, first_epoch: int = 0
) -> RateCurve:
    """The rates that a schedule plans for a stage, at some 600 of its steps; a plateau's as if the loss always fell."""
    total = num_epochs * steps_per_epoch
    schedule = make_schedule(spec, total_steps=total, steps_per_epoch=steps_per_epoch)
    steps = [*range(0, total, math.ceil(total / _MAX_POINTS)), total - 1]
    return RateCurve(
        label=label,
        epochs=tuple(first_epoch + step / steps_per_epoch for step in steps),
        rates=tuple(base * schedule(step) for step in steps),
    )


def schedule_plot(curves: Sequence[RateCurve], *, name: str = "schedule") -> str:
    """The stages' learning rates as one inline SVG; ``name`` becomes the prefix of its ids."""
    with page_style():
        figure, axes = figure_of(WIDE, 240)
        for number, curve in enumerate(curves):
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot(curve.epochs, curve.rates, color=colour, linewidth=2, label=curve.label, drawstyle="steps-post")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", linewidth=0.8)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_title("learning rate", fontsize=12, fontweight="normal", color=MUTED)
        if len(curves) > 1:
            figure.legend(loc="outside upper right", ncols=len(curves), handlelength=1.2)
        return to_svg(figure, name, alt="Planned learning rate of each stage against the epoch")


def schedule_sheet(*, num_epochs: int = 16, steps_per_epoch: int = 50) -> bytes:
    """PNG with a small plot of each kind of schedule; ``plateau`` over a validation loss made up for it."""
    columns = 3
    rows = math.ceil(len(SCHEDULES) / columns)
    with page_style():
        figure = Figure(figsize=(WIDE * PIXEL, rows * 170 * PIXEL), layout="constrained")
        places = figure.subplots(rows, columns, sharex=True, sharey=True).flat
        for name, axes in zip(SCHEDULES, places, strict=False):
            _small_plot(axes, name, num_epochs=num_epochs, steps_per_epoch=steps_per_epoch)
        for axes in places:
            axes.set_axis_off()
        figure.supxlabel("epoch", fontsize=12, color=MUTED)
        figure.supylabel("factor on the base rate", fontsize=12, color=MUTED)
        return to_png(figure)


def _small_plot(axes: Axes, name: str, *, num_epochs: int, steps_per_epoch: int) -> None:
    spec = ScheduleSpec.model_validate({"kind": name})
    if name == "plateau":
        losses = [_made_up_loss(epoch, num_epochs) for epoch in range(num_epochs)]
        x: Sequence[float] = [0, *range(1, num_epochs + 1)]
        y: Sequence[float] = [plateau_factor(losses[:epoch], spec) for epoch in range(num_epochs + 1)]
        axes.plot([epoch + 1 for epoch in range(num_epochs)], losses, color=SAGE, linewidth=2, linestyle=(0, (2, 2)))
        axes.annotate("validation loss", (num_epochs * 0.17, 0.8), color=MUTED, fontsize=11)
    else:
        curve = planned_rates(spec, label=name, base=1.0, num_epochs=num_epochs, steps_per_epoch=steps_per_epoch)
        x, y = curve.epochs, curve.rates
    axes.plot(x, y, color=LEAF, linewidth=2, drawstyle="steps-post")
    axes.set_title(name, fontsize=12)
    axes.set_ylim(0, 1.08)
    axes.set_xlim(0, num_epochs)
    axes.xaxis.set_major_locator(MultipleLocator(4))
    axes.grid(axis="y", linewidth=0.8)


def _made_up_loss(epoch: int, num_epochs: int) -> float:
    """Falls to a third of the way, then no more."""
    left = max(0.0, 1 - 3 * epoch / num_epochs)
    return 0.4 + 0.55 * left * math.sqrt(left)
