"""An ensemble -> one self-contained HTML page: what joining brought, who its members are, how alike they err.

It judges nothing itself: `evaluation/joining_score.py` did, and its values come from the run's metrics.json. Names come
from folders and are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from budwood.evaluation.metrics import Metrics, confused_pairs
from budwood.report import plots
from budwood.report.drawing import NARROW, WIDE, dot, name_rows, named, percent_axis, percent_text, rows_figure
from budwood.report.svg import AMBER, LEAF, MUTED, page_style, plain, to_svg
from budwood.report.templating import both, environment, printable, stylesheet

_PAIRS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """One model with its test accuracy and interval; see `joining_score.Member`. ``kind``: ensemble, used, left out."""

    name: str
    kind: str
    chosen_accuracy: float
    accuracy: float
    low: float
    high: float
    macro_f1: float
    weight: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRow:
    """One way to join on the choosing pictures; ``loss`` and what follows None for votes, which have no log loss."""

    name: str
    accuracy: float
    loss: float | None
    against_mean: float | None
    error: float | None
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleView:
    """What the page shows. ``gain``: the ensemble against the best member, as `joining_score` put it in words."""

    title: str
    metrics: Metrics
    method: str
    why: str
    gain: str
    best: str
    only_best: int
    only_ensemble: int
    mcnemar_p: float
    rows: tuple[MemberRow, ...]
    pairs: tuple[dict[str, Any], ...]
    tried: tuple[TriedRow, ...]
    chosen_on: str
    num_chosen: int
    looks: str
    cost: str
    command: str
    commands: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    when: str
    version: str


def ensemble_view(
    found: dict[str, Any],
    metrics: Metrics,
    *,
    title: str,
    looks: str,
    command: str,
    commands: Sequence[tuple[str, str]],
    warnings: Sequence[str],
    when: str,
    version: str,
) -> EnsembleView:
    """The page's values from the ``ensemble`` part of metrics.json and the test scores of the ensemble."""
    joining, score = found["joining"], found["score"]
    gain = score["gain"]
    own = metrics.accuracy
    rows = [_member_row(member) for member in score["members"]]
    rows.sort(key=lambda row: -row.chosen_accuracy)
    first = MemberRow(
        name="the ensemble",
        kind="ensemble",
        chosen_accuracy=found["accuracy"],
        accuracy=own.value,
        low=own.interval.low,
        high=own.interval.high,
        macro_f1=metrics.macro_f1.value,
        weight=None,
        seconds=score["seconds"],
    )
    return EnsembleView(
        title=title,
        metrics=metrics,
        method=joining["method"],
        why=joining["why"],
        gain=found["words"],
        best=score["best"],
        only_best=gain["only_a"],
        only_ensemble=gain["only_b"],
        mcnemar_p=gain["mcnemar_p"],
        rows=(first, *rows),
        pairs=tuple(sorted(score["pairs"], key=lambda pair: -pair["disagreement"]))[:_PAIRS],
        tried=tuple(_tried_row(each, joining["method"]) for each in joining["tried"]),
        chosen_on=found["chosen_on"],
        num_chosen=joining["num_pictures"],
        looks=looks,
        cost=_cost(rows, score["seconds"], best=score["best"]),
        command=command,
        commands=tuple(commands),
        warnings=tuple(warnings),
        when=when,
        version=version,
    )


def render_ensemble(view: EnsembleView) -> str:
    """The whole page as text, to be written as UTF-8. Equal arguments give equal text."""
    page = (
        environment()
        .get_template("ensemble.html.j2")
        .render(
            view=view,
            css=stylesheet("look.css", "report.css"),
            accuracies=both(accuracies, view.rows),
            scores=both(plots.class_scores, view.metrics),
            confusion=Markup(plots.confusion(view.metrics)),
            pairs=confused_pairs(view.metrics),
        )
    )
    return printable(page)


def accuracies(rows: Sequence[MemberRow], *, narrow: bool = False) -> str:
    """The ensemble and every member with its interval on the test part; grey what the ensemble does not ask."""
    with page_style():
        figure, axes = rows_figure(len(rows), width=NARROW if narrow else WIDE, extra=44)
        axes.axvline(rows[0].accuracy, color=AMBER, linewidth=1.5, linestyle=(0, (4, 3)))
        for y, row in enumerate(rows):
            ends = f"{percent_text(row.low)} to {percent_text(row.high)}"
            dot(
                axes,
                y,
                row.accuracy,
                span=(row.low, row.high),
                colour=MUTED if row.kind == "left out" else LEAF,
                tip=f"{plain(row.name)}: {percent_text(row.accuracy)} ({ends})",
                solid=row.kind == "ensemble",
            )
        name_rows(axes, [row.name for row in rows], limit=24 if narrow else 48)
        percent_axis(axes, "x")
        axes.set_xlabel("test accuracy with its 95 % interval")
        alt = "Test accuracy: " + "; ".join(f"{row.name} {percent_text(row.accuracy)}" for row in rows[:12])
        return to_svg(figure, named("members", narrow), alt=alt)


def _member_row(member: dict[str, Any]) -> MemberRow:
    interval = member["accuracy"]["interval"]
    return MemberRow(
        name=member["name"],
        kind="used" if member["used"] else "left out",
        chosen_accuracy=member["chosen_accuracy"],
        accuracy=member["accuracy"]["value"],
        low=interval["low"],
        high=interval["high"],
        macro_f1=member["macro_f1"],
        weight=member["weight"],
        seconds=member["seconds"],
    )


def _tried_row(tried: dict[str, Any], taken: str) -> TriedRow:
    name = tried["method"]
    votes = name in ("vote", "complementary")
    return TriedRow(
        name=name,
        accuracy=tried["accuracy"],
        loss=None if votes else tried["loss"],
        against_mean=None if votes or name == "mean" else tried["against_mean"],
        error=None if votes or name == "mean" else tried["error"],
        taken=name == taken,
    )


def _cost(rows: Sequence[MemberRow], seconds: float | None, *, best: str) -> str:
    own = next((row.seconds for row in rows if row.name == best), None)
    if seconds is None or not own:
        return ""
    return f"{1000 * seconds:.0f} ms a picture instead of {1000 * own:.0f} ms: {seconds / own:.1f} times the time"
