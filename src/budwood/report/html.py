"""`ReportData` -> one self-contained HTML page: no script, nothing remote, readable on a phone and on paper.

Names of files and classes are hostile input: Jinja2 escapes every value, pictures are embedded only when
their first bytes say what they are, and a content security policy forbids all but inline styles and pictures.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from budwood.evaluation.metrics import ClassMetrics, Estimate, confused_pairs
from budwood.report import plots
from budwood.report.data import Baseline, HeadSelection, ReportData, Result, Step

_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
}
# What UTF-8 cannot hold, control characters that HTML forbids, and marks that turn the text around a name.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wide:
    """One plot for a screen and, narrower, for a phone."""

    screen: Markup = field(default_factory=Markup)
    phone: Markup = field(default_factory=Markup)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plots:
    """The page's plots as SVG; an empty string where there is nothing to draw."""

    counts: _Wide
    strip: _Wide
    scores: _Wide
    confusion: Markup
    training: tuple[Markup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """A step on the timeline; ``start`` and ``width`` are percents of the whole."""

    step: Step
    start: float
    width: float


def render(data: ReportData) -> str:
    """The whole page as text, to be written as UTF-8. Equal data give equal text."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("budwood.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        hundred=of_hundred,
        duration=duration,
        data_uri=data_uri,
        words=lambda text: text.replace("_", " "),
        count=count,
        basename=lambda path: path.rpartition("/")[2] or path,
        thousands=lambda number: f"{number:,}".replace(",", "\u202f"),
    )
    css = resources.files("budwood.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
    result = data.result
    page = environment.get_template("report.html.j2").render(
        data=data,
        css=Markup(css),
        plots=_draw(data),
        verdict=_verdict(result) if result else "",
        pairs=confused_pairs(result.metrics) if result else (),
        weakest=_weakest_first(result) if result else (),
        timeline=_timeline(data.steps),
    )
    return _UNPRINTABLE.sub("\ufffd", page)


def data_uri(image: bytes | None) -> str | None:
    """``image`` as a data URI; None where there is none, or none of a raster format we know."""
    if image is None:
        return None
    kind = next((kind for magic, kind in _MAGIC.items() if image.startswith(magic)), None)
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        kind = "image/webp"
    return kind and f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"


def percent(value: float, digits: int = 1) -> str:
    """``0.8917`` -> ``"89.2 %"``, with a space that does not break."""
    return f"{100 * value:.{digits}f}\u00a0%"


def of_hundred(value: float) -> str:
    """``0.8917`` -> ``"89"``; a value that is not 0 or 1 is never rounded to 0 or 100."""
    whole = round(100 * value)
    if whole == 100 and value < 1:
        return f"{math.floor(1000 * value) / 10:.1f}"
    if whole == 0 and value > 0:
        return f"{math.ceil(1000 * value) / 10:.1f}"
    return str(whole)


def duration(seconds: float) -> str:
    """``75.2`` -> ``"1 min 15 s"``."""
    if seconds < 10:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}\u00a0h {minutes}\u00a0min"
    return f"{minutes}\u00a0min {rest}\u00a0s" if minutes else f"{rest}\u00a0s"


def count(number: int, noun: str, plural: str = "") -> str:
    """``(1, "class", "classes")`` -> ``"1 class"``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _draw(data: ReportData) -> _Plots:
    result, dataset = data.result, data.dataset
    return _Plots(
        counts=_both(plots.class_counts, dataset) if dataset and dataset.classes else _Wide(),
        strip=_both(plots.score_strip, result) if result else _Wide(),
        scores=_both(plots.class_scores, result.metrics) if result else _Wide(),
        confusion=Markup(plots.confusion(result.metrics) if result else ""),
        training=tuple(
            Markup(
                plots.head_selection(phase, name=f"phase-{i}")
                if isinstance(phase, HeadSelection)
                else plots.training_curves(phase, name=f"phase-{i}")
            )
            for i, phase in enumerate(data.training)
        ),
    )


def _both(draw: Callable[..., str], shown: object) -> _Wide:
    return _Wide(screen=Markup(draw(shown)), phone=Markup(draw(shown, narrow=True)))


def _weakest_first(result: Result) -> tuple[ClassMetrics, ...]:
    """Classes by F1; those without test pictures last, since nothing is known of them."""
    return tuple(sorted(result.metrics.per_class, key=lambda row: (not row.support, row.f1.value, row.name)))


def _verdict(result: Result) -> str:
    """What the accuracy means against the best trivial answer, in words that the interval carries."""
    if not result.baselines:
        return ""
    best: Baseline = max(result.baselines, key=lambda line: line.accuracy.value)
    found: Estimate = result.metrics.accuracy
    start = f"The best trivial answer ({best.name}) names {of_hundred(best.accuracy.value)} of 100 right. "
    if found.interval.low > best.accuracy.value:
        return start + "The whole interval lies above that: the model has learnt something from the pictures."
    if found.value > best.accuracy.value:
        return start + "The interval reaches down to it, so this test part cannot show that the model is better."
    return start + "The model is no better than that on this test part."


def _timeline(steps: tuple[Step, ...]) -> tuple[_Bar, ...]:
    total = sum(step.seconds for step in steps) or 1.0
    bars, start = [], 0.0
    for step in steps:
        width = 100 * step.seconds / total
        bars.append(_Bar(step=step, start=round(start, 3), width=round(width, 3)))
        start += width
    return tuple(bars)
