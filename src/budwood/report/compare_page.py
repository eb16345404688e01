"""A comparison of runs -> one self-contained HTML page: a forest plot, scores, differences, F1 by class.

It judges nothing itself: `evaluation/versus.py` did. Names come from folders and recipes and are escaped.
"""

from __future__ import annotations

from dataclasses import dataclass

from budwood.evaluation.compare import Difference
from budwood.evaluation.versus import Pair, Versus
from budwood.report.drawing import NARROW, WIDE, name_rows, named, rows_figure
from budwood.report.svg import GRID, INK, LEAF, MUTED, TIP, WRONG, page_style, plain, to_svg
from budwood.report.templating import both, environment, printable, stylesheet

_SHOWN = 40  # pairs in the plot and the table


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareView:
    """What the page shows beside the comparison: its notes, the command, when, and by which version."""

    found: Versus
    notes: tuple[str, ...]
    command: str
    when: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One line of a forest plot: ``value`` with its interval; verdict colours it."""

    name: str
    value: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """The rows, and the noise floor that is drawn as a band around zero (None: not measured)."""

    key: str
    rows: tuple[ForestRow, ...]
    floor: float | None = None


def render_compare(view: CompareView) -> str:
    """The whole page as text, to be written as UTF-8. Equal arguments give equal text."""
    pairs = view.found.pairs[:_SHOWN]
    floor = view.found.noise[0].floor if view.found.noise else None
    main = Forest(key="accuracy", rows=tuple(_pair_row(pair) for pair in pairs), floor=floor)
    first = view.found.pairs[0]
    classes = Forest(key="f1", rows=tuple(_row(each.name.removeprefix("F1 of "), each) for each in first.f1))
    page = (
        environment()
        .get_template("compare.html.j2")
        .render(
            view=view,
            found=view.found,
            css=stylesheet("look.css", "report.css"),
            pairs=pairs,
            first=first,
            forest=both(forest_plot, main),
            by_class=both(forest_plot, classes),
        )
    )
    return printable(page)


def forest_plot(forest: Forest, *, narrow: bool = False) -> str:
    """Each difference as a dot with its interval, around a line at zero; grey around it what seeds alone can do."""
    reach = max(0.02, forest.floor or 0.0, *(max(abs(row.low), abs(row.high)) for row in forest.rows)) * 1.05
    with page_style():
        figure, axes = rows_figure(len(forest.rows), width=NARROW if narrow else WIDE, extra=44)
        if forest.floor:
            axes.axvspan(-forest.floor, forest.floor, color=GRID, alpha=0.6, linewidth=0)
        axes.axvline(0, color=INK, linewidth=1)
        for y, row in enumerate(forest.rows):
            colour = {"better": LEAF, "worse": WRONG}.get(row.verdict, MUTED)
            axes.plot([row.low, row.high], [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
            tip = f"{plain(row.name)}: {_points(row.value)} ({_points(row.low)} to {_points(row.high)}), {row.verdict}"
            face = "none" if row.verdict == "cannot tell" else colour
            axes.plot(row.value, y, "o", ms=8, color=colour, mfc=face, markeredgewidth=2, gid=TIP + tip)
        name_rows(axes, [row.name for row in forest.rows], limit=24 if narrow else 48)
        axes.set_xlim(-reach, reach)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.3g}")
        axes.set_xlabel("percentage points; grey: the noise of seeds" if forest.floor else "percentage points")
        alt = "Differences: " + "; ".join(f"{row.name} {_points(row.value)} {row.verdict}" for row in forest.rows[:12])
        return to_svg(figure, named(f"forest-{forest.key}", narrow), alt=alt)


def _pair_row(pair: Pair) -> ForestRow:
    found = pair.accuracy
    name = f"{pair.b} – {pair.a}"
    ends = found.interval
    return ForestRow(name=name, value=found.value, low=ends.low, high=ends.high, verdict=pair.verdict)


def _row(name: str, found: Difference) -> ForestRow:
    ends = found.interval
    return ForestRow(name=name, value=found.value, low=ends.low, high=ends.high, verdict=found.verdict)


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"
