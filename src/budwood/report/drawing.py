"""What the plots of all pages have in common: widths, lists of named rows, dots with intervals, axes in percent."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from budwood.report.svg import INK, TIP, plain

PIXEL = 1 / 72
# The page's column is 888 CSS pixels wide, so that a wide plot is shown at its own size.
WIDE, MIDDLE, NARROW = 880, 580, 400


def figure_of(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of ``width`` by ``height`` CSS pixels with one pair of axes."""
    figure = Figure(figsize=(width * PIXEL, height * PIXEL), layout="constrained")
    return figure, figure.subplots()


def rows_figure(count: int, *, width: float, extra: float, height: float | None = None) -> tuple[Figure, Axes]:
    """A figure whose y axis is a list of ``count`` names, first on top; long lists are set closer."""
    height = height or (25 if count <= 20 else 18)
    figure, axes = figure_of(width, extra + height * max(count, 1))
    axes.set_ylim(max(count, 1) - 0.4, -0.6)
    axes.grid(axis="x", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure, axes


def name_rows(axes: Axes, names: Sequence[str], *, limit: int) -> None:
    """Write the names beside the rows, each at most ``limit`` characters long."""
    axes.set_yticks(range(len(names)), [short(name, limit) for name in names])
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=12 if len(names) <= 20 else 10.5)


def percent_axis(axes: Axes, which: str) -> None:
    """Label the axis "x" or "y", whose values are shares, in percent."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    axes.grid(axis=which, linewidth=0.8)  # type: ignore[arg-type]


def dot(
    axes: Axes,
    y: int,
    value: float,
    *,
    span: tuple[float, float] | None,
    colour: str,
    tip: str,
    solid: bool = True,
) -> None:
    """A value with its interval on row ``y``; ``tip`` is shown on hovering."""
    if span is not None:
        low, high = max(span[0], 0.0), min(span[1], 1.0)
        axes.plot([low, high], [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round", clip_on=False)
    face = colour if solid else "none"
    axes.plot(
        value,
        y,
        "o",
        markersize=8,
        color=colour,
        markerfacecolor=face,
        markeredgewidth=2,
        clip_on=False,
        gid=TIP + tip,
    )


def named(name: str, narrow: bool) -> str:
    """Both widths are on one page, so their ids must differ."""
    return f"{name}-narrow" if narrow else name


def percent_text(value: float) -> str:
    """``0.891`` -> ``"89.1 %"``."""
    return f"{100 * value:.1f} %"


def short(text: str, limit: int) -> str:
    """``text`` cut in its middle to ``limit`` characters."""
    text = plain(text)
    return text if len(text) <= limit else f"{text[: limit - 9]}…{text[-8:]}"
