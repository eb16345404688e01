"""What a run's ``comparison.json`` says, as rows of differences for the report page: values and one plot.

A difference is drawn with its interval; what reaches over zero cannot be told from nothing, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from budwood.report.drawing import NARROW, WIDE, name_rows, named, rows_figure
from budwood.report.svg import INK, LEAF, MUTED, TIP, WRONG, page_style, plain, to_svg


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRow:
    """One difference with its interval; ``before`` and ``after`` are the two scores, 0-1."""

    name: str
    before: float
    after: float
    value: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """A section of the page: ``lead`` is the answer in one sentence, ``notes`` say how to read it."""

    title: str
    lead: str
    columns: tuple[str, str]
    rows: tuple[DifferenceRow, ...]
    notes: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()


def comparison_view(found: dict[str, Any]) -> ComparisonView:
    """The section for what `pipeline.fit` wrote with ``--compare``."""
    return _cleaning(found) if found["what"] == "clean" else _balance(found)


def difference_plot(view: ComparisonView, *, narrow: bool = False) -> str:
    """Each difference as a dot with its interval, around a line at zero."""
    reach = max(0.02, *(max(abs(row.low), abs(row.high)) for row in view.rows)) * 1.05
    with page_style():
        figure, axes = rows_figure(len(view.rows), width=NARROW if narrow else WIDE, extra=40)
        axes.axvline(0, color=INK, linewidth=1)
        for y, row in enumerate(view.rows):
            colour = {"better": LEAF, "worse": WRONG}.get(row.verdict, MUTED)
            axes.plot([row.low, row.high], [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
            tip = f"{plain(row.name)}: {points(row.value)} ({points(row.low)} to {points(row.high)})"
            axes.plot(row.value, y, "o", markersize=8, color=colour, gid=TIP + tip)
        name_rows(axes, [row.name for row in view.rows], limit=22 if narrow else 40)
        axes.set_xlim(-reach, reach)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.3g}")
        axes.set_xlabel("percentage points")
        alt = "Differences with their intervals: " + "; ".join(f"{row.name} {row.verdict}" for row in view.rows[:12])
        return to_svg(figure, named("comparison", narrow), alt=alt)


def points(value: float) -> str:
    """``0.0123`` -> ``"+1.2"``: percentage points with their sign."""
    return f"{100 * value:+.1f}"


def _cleaning(found: dict[str, Any]) -> ComparisonView:
    comparison = found["comparison"]
    scores = [comparison["accuracy"], comparison["balanced_accuracy"], comparison["macro_f1"], *comparison["f1"]]
    rows = tuple(_row(score["name"], score) for score in scores)
    verdict = {
        "better": "The cleaned pictures gave a better model",
        "worse": "The cleaned pictures gave a worse model",
    }.get(comparison["verdict"], "It cannot be told whether cleaning helped")
    change = found["num_original"] - found["num_cleaned"]
    only_a, only_b = comparison["only_a"], comparison["only_b"]
    lead = (
        f"{verdict}: accuracy {points(rows[0].value)} points (95 % interval {points(rows[0].low)} to"
        f" {points(rows[0].high)}) on the same {comparison['num_pictures']} test pictures."
    )
    notes = (
        f"{found['num_cleaned']} training pictures against {found['num_original']} as they came ({change} left out,"
        f" {found['relabelled']} relabelled). Same first weights, settings, validation and test pictures.",
        f"{only_b} test pictures were named right only after cleaning, {only_a} only before (McNemar's exact"
        f" p {comparison['mcnemar_p']:.2g}).",
    )
    title = "What cleaning brought"
    return ComparisonView(title=title, lead=lead, columns=("as they came", "cleaned"), rows=rows, notes=notes)


def _balance(found: dict[str, Any]) -> ComparisonView:
    arms = [arm for arm in found["arms"] if arm["difference"]]
    rows = []
    for arm in arms:
        rare = next(f for f in arm["difference"]["f1"] if f["name"] == f"F1 of {found['rarest']}")
        rows.append(_row(f"{arm['name'].replace('_', ' ')}: macro F1", arm["difference"]["macro_f1"]))
        rows.append(_row(f"{arm['name'].replace('_', ' ')}: F1 of {found['rarest']}", rare))
        recall = next(f for f in arm["difference"]["recall"] if f["name"] == f"recall of {found['rarest']}")
        rows.append(_row(f"{arm['name'].replace('_', ' ')}: recall of {found['rarest']}", recall))
        rows.append(_row(f"{arm['name'].replace('_', ' ')}: accuracy", arm["difference"]["accuracy"]))
    helped = [arm["name"].replace("_", " ") for arm in arms if _verdict(arm["difference"]["macro_f1"]) == "better"]
    lead = (
        f"Against no balancing, macro F1 is better with {', '.join(helped)}."
        if helped
        else "No way of balancing the classes can be told to be better than none in macro F1."
    )
    skipped = tuple(f"{each['name']} was not tried: {each['reason']}" for each in found["skipped"])
    return ComparisonView(
        title="Ways against imbalance",
        lead=lead,
        columns=("none", "with it"),
        rows=tuple(rows),
        notes=(*found["notes"], *skipped),
        sentences=tuple(arm["sentence"] for arm in arms),
    )


def _row(name: str, score: dict[str, Any]) -> DifferenceRow:
    low, high = score["interval"]["low"], score["interval"]["high"]
    return DifferenceRow(
        name=name,
        before=score["a"],
        after=score["b"],
        value=score["value"],
        low=low,
        high=high,
        verdict=_verdict(score),
    )


def _verdict(score: dict[str, Any]) -> str:
    if score["interval"]["low"] > 0:
        return "better"
    return "worse" if score["interval"]["high"] < 0 else "cannot tell"
