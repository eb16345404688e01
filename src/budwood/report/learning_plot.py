"""The learning curve as a plot and as a page: accuracies at each size, the fitted law with its band, twice the size."""

from __future__ import annotations

from budwood.evaluation.learning import LearningCurve
from budwood.report.drawing import NARROW, WIDE, figure_of, named, percent_axis, percent_text
from budwood.report.svg import AMBER, INK, LEAF, MUTED, SAGE, TIP, page_style, to_svg
from budwood.report.templating import both, environment, printable, stylesheet


def learning_plot(curve: LearningCurve, *, narrow: bool = False) -> str:
    """One inline SVG: dots with intervals, each repeat a small one, the law beyond the last size dashed."""
    sizes = [point.num_pictures for point in curve.points]
    with page_style():
        figure, axes = figure_of(NARROW if narrow else WIDE, 340)
        axes.set_xscale("log", base=2)
        grid, low, high = (list(column) for column in zip(*curve.band, strict=True))
        axes.fill_between(grid, low, high, color=SAGE, alpha=0.35, linewidth=0)
        law = [1 - float(curve.law.error(size)) for size in grid]
        split = sum(size <= sizes[-1] for size in grid)
        axes.plot(grid[:split], law[:split], color=LEAF, linewidth=1.5)
        axes.plot(grid[split - 1 :], law[split - 1 :], color=AMBER, linewidth=1.5, linestyle=(0, (4, 3)))
        for point in curve.points:
            ends, x = point.accuracy.interval, point.num_pictures
            axes.plot([x] * len(point.repeats), point.repeats, ".", color=MUTED, ms=5)
            axes.plot([x, x], [ends.low, ends.high], color=LEAF, linewidth=5, alpha=0.35, solid_capstyle="round")
            tip = f"{x} pictures: {percent_text(point.accuracy.value)}"
            axes.plot(x, point.accuracy.value, "o", ms=8, color=LEAF, gid=TIP + tip)
        ticks = [*sizes, 2 * sizes[-1]]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("training pictures", color=INK)
        percent_axis(axes, "y")
        told = (f"{p.num_pictures} pictures {percent_text(p.accuracy.value)}" for p in curve.points)
        alt = "Accuracy: " + "; ".join(told)
        return to_svg(figure, named("learning-curve", narrow), alt=alt)


def render_learning(curve: LearningCurve, *, title: str, recipe: str, command: str, when: str, version: str) -> str:
    """The whole page as text, to be written as UTF-8."""
    page = (
        environment()
        .get_template("learning.html.j2")
        .render(
            curve=curve,
            title=title,
            recipe=recipe,
            command=command,
            when=when,
            version=version,
            css=stylesheet("look.css", "report.css"),
            plot=both(learning_plot, curve),
        )
    )
    return printable(page)
