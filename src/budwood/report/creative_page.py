"""A system that is no plain classifier -> one self-contained HTML page: what it scored, beside what, and its pictures.

It judges nothing: rows and sentences come from `system_page.py`. Names are hostile input and are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from budwood.report.data import Command
from budwood.report.drawing import MIDDLE, NARROW, figure_of, named
from budwood.report.svg import AMBER, LEAF, MUTED, page_style, to_svg
from budwood.report.templating import Wide, both, environment, printable, stylesheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text; numbers are right-aligned in all columns but the first. ``note`` stands below."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A picture sheet as PNG bytes, and what it shows."""

    image: bytes
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Lines over epochs: (name, values) each; ``ylabel`` with its unit."""

    lines: tuple[tuple[str, tuple[float, ...]], ...]
    ylabel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page, in this order: sentences, table, curves, sheets."""

    title: str
    sentences: tuple[str, ...] = ()
    table: Table | None = None
    curves: Curves | None = None
    sheets: tuple[Sheet, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemView:
    """What the page shows. ``figure`` is the large one, such as ``("89", "%")``."""

    title: str
    system: str
    figure: tuple[str, str]
    lead: str
    quiet: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...]
    next_commands: tuple[Command, ...]
    command: str
    when: str
    version: str


def render_system(view: SystemView) -> str:
    """The whole page as text, to be written as UTF-8. Equal arguments give equal text."""
    plots = [
        both(_curves, (section.curves, number)) if section.curves else Wide() for number, section in _numbered(view)
    ]
    page = (
        environment()
        .get_template("creative.html.j2")
        .render(view=view, parts=list(zip(view.sections, plots, strict=True)), css=stylesheet("look.css", "report.css"))
    )
    return printable(page)


def _numbered(view: SystemView) -> Sequence[tuple[int, Section]]:
    return list(enumerate(view.sections))


def _curves(shown: tuple[Curves, int], *, narrow: bool = False) -> str:
    """All lines over the epochs, each named at its end."""
    curves, number = shown
    with page_style():
        figure, axes = figure_of(NARROW if narrow else MIDDLE, 250)
        for (name, values), colour in zip(curves.lines, (LEAF, AMBER, MUTED), strict=False):
            axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=2, label=name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(curves.ylabel)
        axes.legend(loc="best")
        return to_svg(figure, named(f"epochs-{number}", narrow), alt=f"{curves.ylabel} over the epochs")
