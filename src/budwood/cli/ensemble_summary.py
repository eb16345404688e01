"""What `ensemble`, and `fit` with an ensemble recipe, print at their end. To stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from budwood.runs import Run


def print_ensemble(run: Run) -> None:
    """The members beside the ensemble, the gain, how they were joined, and the paths."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from budwood.cli.summary import interval_text

    console, metrics = Console(soft_wrap=True), run.metrics
    found = metrics["ensemble"]
    table = Table("model", "chosen by", "test accuracy", "macro F1", "weight")
    for member in found["score"]["members"]:
        weight = "left out" if not member["used"] else "" if member["weight"] is None else f"{member['weight']:.2f}"
        low, high = member["accuracy"]["interval"]["low"], member["accuracy"]["interval"]["high"]
        accuracy = f"{member['accuracy']['value']:.3f} ({low:.3f}-{high:.3f})"
        table.add_row(
            Text(member["name"]), f"{member['chosen_accuracy']:.3f}", accuracy, f"{member['macro_f1']:.3f}", weight
        )
    console.print(table)
    test = metrics["test"]
    console.print(f"[bold]test accuracy {interval_text(test['accuracy'])}[/] on {test['num_pictures']} pictures")
    joining = found["joining"]
    joined = f"joined by {joining['method']}: {joining['why']}"
    for text in (found["words"], joined, f"test part: {metrics.get('looks', 'not counted')}"):
        console.print(Text(f"  {text}"))
    console.print(Text(f"bundle  {run.bundle}"))
    console.print(Text(f"report  {run.report}", style="bold green"))
