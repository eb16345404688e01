"""The plot of a learning-rate range test: loss against the rate, with the suggestion marked."""

from __future__ import annotations

from matplotlib.figure import Figure

from budwood.report.drawing import MIDDLE, figure_of
from budwood.report.png import to_png
from budwood.report.svg import INK, LEAF, MUTED, SAGE, WRONG, page_style, to_svg
from budwood.train.range_test import RangeTest

_HEADROOM = 1.3  # times the worst loss before the lowest: what explodes leaves the plot


def range_plot(result: RangeTest, *, name: str = "range-test") -> str:
    """The test as one inline SVG for a page; ``name`` becomes the prefix of its ids."""
    with page_style():
        return to_svg(_figure(result), name, alt=range_words(result))


def range_png(result: RangeTest) -> bytes:
    """The test as a PNG."""
    with page_style():
        return to_png(_figure(result))


def range_words(result: RangeTest) -> str:
    """What came out, in a sentence."""
    if result.suggestion is None:
        ends = f"from {result.rates[0]:.2g} to {result.rates[-1]:.2g}"
        return f"no learning rate {ends} made the loss fall by more than the noise of its batches"
    end = "" if result.diverged_at is None else f"; the loss exploded at {result.diverged_at:.2g}"
    return f"suggested learning rate: {result.suggestion:.2g} ({result.rule}){end}"


def _figure(result: RangeTest) -> Figure:
    figure, axes = figure_of(MIDDLE, 300)
    axes.plot(result.rates, result.losses, "o", color=SAGE, markersize=3.5, label="each batch", clip_on=True)
    axes.plot(result.rates, result.smoothed, color=LEAF, linewidth=2, label="smoothed")
    lowest = int(result.smoothed.argmin())
    top = _HEADROOM * float(result.losses[: lowest + 1].max())
    axes.set_ylim(min(0.0, float(result.losses.min())), top)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if result.suggestion is not None:
        axes.axvline(result.suggestion, color=INK, linewidth=1.5, linestyle=(0, (2, 3)))
        label = f"suggested: {result.suggestion:.2g}"
        axes.annotate(
            label, (result.suggestion, top), xytext=(-6, -4), textcoords="offset points", ha="right", va="top"
        )
    if result.diverged_at is not None:
        axes.axvline(result.diverged_at, color=WRONG, linewidth=1.5)
        axes.annotate(
            "exploded",
            (result.diverged_at, top),
            xytext=(-6, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            color=WRONG,
        )
    axes.grid(axis="y", linewidth=0.8)
    axes.set_xlabel("learning rate")
    axes.set_title("training loss", fontsize=12, fontweight="normal", color=MUTED)
    axes.legend(loc="lower left", handlelength=1.2)
    return figure
