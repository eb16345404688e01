"""``budwood compare``: which of several runs is better, on the same test pictures, and whether that can be told."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from budwood.comparing import RunComparison
    from budwood.evaluation.compare import Difference

_SHOWN = 15  # pairs in the terminal; a page or the JSON holds all


def run(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more finished runs.", show_default=False)],
    noise: Annotated[
        list[Path] | None,
        typer.Option("--noise", help="A run that differs from others by the seed alone (may be repeated)."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write all numbers.")] = None,
    seed: Annotated[int, typer.Option(help="The seed of the bootstrap.")] = 0,
) -> None:
    """Say of runs on the same test pictures: better, worse, or cannot tell.

    Runs that differ by the seed alone are taken together. No test picture is looked at again.

    budwood compare runs/first runs/second --html compare.html
    """
    from rich.console import Console

    from budwood.comparing import compare_runs
    from budwood.files import ensure_writable, write_json, write_text

    for out in (html, json):
        if out:
            ensure_writable(out.parent)
    found = compare_runs(runs, noise=noise or (), seed=seed)
    console = Console(soft_wrap=True)
    _print(console, found)
    if json:
        write_json(json, found.to_dict())
        console.print(f"numbers {json}", markup=False, highlight=False)
    if html:
        from budwood import machine
        from budwood.opening import command_line
        from budwood.report.compare_page import CompareView, render_compare

        view = CompareView(
            found=found.found,
            notes=found.notes(),
            command=command_line(),
            when=f"{datetime.now():%Y-%m-%d %H:%M}",
            version=machine.versions()["budwood"],
        )
        write_text(html, render_compare(view))
        console.print(f"page    {html}", markup=False, highlight=False)


def _print(console: Console, comparison: RunComparison) -> None:
    from rich.table import Table
    from rich.text import Text

    found = comparison.found
    scores = Table("arm", "seeds", "accuracy (95 % interval)", "± seeds", "balanced", "macro F1", "log loss")
    for arm in found.arms:
        ends = arm.accuracy.interval
        scores.add_row(
            Text(arm.name),
            str(arm.num_seeds),
            f"{arm.accuracy.value:.3f} ({ends.low:.3f}-{ends.high:.3f})",
            "-" if arm.deviation is None else f"{arm.deviation:.4f}",
            f"{arm.balanced_accuracy:.3f}",
            f"{arm.macro_f1:.3f}",
            f"{arm.log_loss:.3f}",
        )
    console.print(scores)
    pairs = Table("second - first", "accuracy", "balanced", "macro F1", "only 1st/2nd", "adjusted p", "verdict")
    for pair in found.pairs[:_SHOWN]:
        pairs.add_row(
            Text(f"{pair.b} - {pair.a}"),
            *(_change(each) for each in (pair.accuracy, pair.balanced_accuracy, pair.macro_f1)),
            f"{pair.only_a}/{pair.only_b}",
            f"{pair.adjusted_p:.3g}",
            pair.words,
        )
    console.print(pairs)
    if len(found.pairs) > _SHOWN:
        console.print(f"and {len(found.pairs) - _SHOWN} more pairs: --json FILE writes all")
    first = found.pairs[0]
    classes = Table("F1 of class", "first", "second", "difference", "alone", title=Text(f"{first.b} - {first.a}"))
    for each in first.f1:
        name = Text(each.name.removeprefix("F1 of "))
        classes.add_row(name, f"{each.a:.3f}", f"{each.b:.3f}", _change(each), each.verdict)
    console.print(classes)
    console.print(Text(found.lead, style="bold"))
    for note in comparison.notes():
        console.print(Text(f"  {note}", style="dim"))


def _change(found: Difference) -> str:
    return f"{100 * found.value:+.1f} ({100 * found.interval.low:+.1f} to {100 * found.interval.high:+.1f})"
