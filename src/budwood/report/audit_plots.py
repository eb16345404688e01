"""The audit page's plots: how the pictures' measures are spread, and how much tells the class.

The rules are those of `plots`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from budwood.evaluation.metrics import Estimate
from budwood.report.drawing import (
    NARROW,
    PIXEL,
    WIDE,
    dot,
    name_rows,
    named,
    percent_axis,
    percent_text,
    rows_figure,
)
from budwood.report.svg import AMBER, LEAF, MUTED, SAGE, WRONG, page_style, plain, to_svg

_BINS = 32
_COLUMNS = 5  # histograms side by side on a screen
_CELL = 150  # CSS pixels: the height of one, with its title
_MAX_MARKS = 300  # flagged pictures that get a mark of their own
_OUTSIDE = 0.002  # of the pictures on each side may lie beyond the axis, unless they are flagged


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number of each picture, ``values`` ``[N]``; ``flagged``: which of them a check has named.

    low, high: what a small and a large value mean.
    """

    name: str
    values: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    low: str
    high: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """How often the class is named right from one clue; ``subject`` is the whole picture, ``chance`` no clue at all."""

    name: str
    found: Estimate
    kind: str = "clue"


def measures(shown: Sequence[Measure], *, narrow: bool = False) -> str:
    """Small histograms side by side; the pictures that a check has named are marked below the axis."""
    columns = 2 if narrow else _COLUMNS
    rows = math.ceil(len(shown) / columns)
    with page_style():
        width, height = (NARROW if narrow else WIDE), _CELL * rows
        figure = Figure(figsize=(width * PIXEL, height * PIXEL))
        # Placed by hand: titles and names of the ends have known heights, and nothing stands beside the axes.
        places = {"left": 0.01, "right": 0.99, "top": 1 - 22 / height, "bottom": 22 / height}
        cells = figure.subplots(rows, columns, squeeze=False, gridspec_kw={**places, "wspace": 0.12, "hspace": 0.5})
        cells = cells.ravel()
        for axes in cells[len(shown) :]:
            axes.set_visible(False)
        for axes, measure in zip(cells, shown, strict=False):
            _histogram(axes, measure)
        return to_svg(figure, named("measures", narrow), alt="How the pictures' measures are spread")


def clues(shown: Sequence[Clue], *, narrow: bool = False) -> str:
    """How well each clue alone predicts the class, with intervals."""
    colours: dict[str, str] = {"subject": LEAF, "clue": AMBER, "chance": MUTED}
    with page_style():
        figure, axes = rows_figure(len(shown), width=NARROW if narrow else WIDE, extra=34, height=34)
        for y, clue in enumerate(shown):
            span = (clue.found.interval.low, clue.found.interval.high)
            value = clue.found.value
            tip = f"{plain(clue.name)}: {percent_text(value)}"
            dot(axes, y, value, span=span, colour=colours[clue.kind], tip=tip)
            axes.annotate(
                percent_text(value), (1.0, y), xytext=(12, 0), textcoords="offset points", va="center", color=MUTED
            )
        name_rows(axes, [clue.name for clue in shown], limit=22 if narrow else 44)
        axes.set_xlim(0, 1)
        percent_axis(axes, "x")
        return to_svg(figure, named("clues", narrow), alt="How well each clue alone predicts the class")


def _histogram(axes: Axes, measure: Measure) -> None:
    values, flagged = measure.values, measure.flagged
    low, high = np.quantile(values, (_OUTSIDE, 1 - _OUTSIDE))
    if flagged.any():
        low, high = min(low, values[flagged].min()), max(high, values[flagged].max())
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    clipped = values.clip(low, high)
    usual, _ = np.histogram(clipped[~flagged], edges)
    odd, _ = np.histogram(clipped[flagged], edges)
    width = edges[1] - edges[0]
    axes.bar(edges[:-1], usual, width=width, align="edge", color=SAGE, linewidth=0)
    axes.bar(edges[:-1], odd, width=width, align="edge", bottom=usual, color=WRONG, linewidth=0)
    top = max(1, int((usual + odd).max()))
    marks = _spread_out(values[flagged])
    axes.plot(marks, [-0.07 * top] * len(marks), "|", color=WRONG, markersize=7, markeredgewidth=1.4, clip_on=False)
    axes.set_ylim(-0.14 * top if len(marks) else 0, top * 1.05)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    count = f", {int(flagged.sum())} named" if flagged.any() else ""
    axes.set_title(f"{measure.name}{count}", fontsize=12)
    axes.set_xticks([low, high], [measure.low, measure.high])
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    axes.tick_params(axis="x", length=0)


def _spread_out(values: Collection[float]) -> NDArray[np.float64]:
    """At most `_MAX_MARKS` of the values, evenly taken from the smallest to the largest."""
    ordered = np.sort(np.asarray(values, np.float64))
    chosen = np.linspace(0, len(ordered) - 1, min(_MAX_MARKS, len(ordered))).astype(np.int64)
    return np.asarray(ordered[chosen], np.float64)
