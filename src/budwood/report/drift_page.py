"""A drift check -> one self-contained HTML page: alike or not, in what they differ, the most unusual pictures.

It judges nothing itself: `evaluation/drift` did. Names of files are hostile input, see `templating`.
"""

from __future__ import annotations

from collections.abc import Sequence

from budwood.evaluation.drift import Drift, MeasureDrift
from budwood.report.data import Picture
from budwood.report.drawing import NARROW, WIDE, name_rows, named, rows_figure
from budwood.report.svg import AMBER, INK, MUTED, TIP, page_style, plain, to_svg
from budwood.report.templating import both, environment, printable, stylesheet


def render_drift(
    drift: Drift,
    unusual: Sequence[Picture],
    *,
    title: str,
    model: str,
    command: str = "",
    when: str = "",
    version: str = "",
) -> str:
    """The whole page as text, to be written as UTF-8.

    Args:
        unusual: pictures of ``drift.unusual``, in its order.
        title: names the new pictures. model: names the run.
        command, when, version: how, when and with what the page was made.
    """
    page = (
        environment()
        .get_template("drift.html.j2")
        .render(
            drift=drift,
            unusual=list(zip(unusual, drift.unusual, strict=True)),
            measures=both(measures_plot, drift.measures),
            title=title,
            model=model,
            command=command,
            when=when,
            version=version,
            css=stylesheet("look.css", "report.css", "why.css"),
        )
    )
    return printable(page)


def measures_plot(measures: Sequence[MeasureDrift], *, narrow: bool = False) -> str:
    """For each plain measure how often a new picture has more of it than an old one; at a half nothing differs."""
    with page_style():
        figure, axes = rows_figure(len(measures), width=NARROW if narrow else WIDE, extra=46, height=28)
        axes.axvline(0.5, color=INK, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
        for y, measure in enumerate(measures):
            found = measure.separation
            colour = AMBER if measure.is_seen else MUTED
            span = [found.interval.low, found.interval.high]
            axes.plot(span, [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
            tip = f"{plain(measure.name)}: more of it in {100 * found.auc:.0f} of 100 pairs"
            axes.plot(found.auc, y, "o", markersize=8, color=colour, gid=TIP + tip)
        name_rows(axes, [measure.name for measure in measures], limit=24 if narrow else 40)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["less of it", "", "alike", "", "more of it"])
        alt = "How the new pictures differ in plain measures"
        return to_svg(figure, named("measures", narrow), alt=alt)
