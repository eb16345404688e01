"""What a command prints at its end: scores as tables, and where things are. To stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from budwood.runs import Run

_MAX_SAYINGS = 3


def print_run(run: Run) -> None:
    """The score with its interval, the baselines, what the training says, and the paths of a finished run."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    scores = run.metrics
    test = scores["test"]
    console.print()
    console.print(
        f"[bold]test accuracy {interval_text(test['accuracy'])}[/] on {test['num_pictures']} pictures, scored once"
    )
    for selection in scores["selection"]:
        console.print(
            f"  selection score {selection['accuracy']:.3f}  [dim]{selection['name']}: {selection['kind']}[/]"
        )
    for baseline in scores["baselines"]:
        console.print(f"  {baseline['name']} {baseline['accuracy']:.3f}", highlight=False)
    folds = scores.get("cross_validation")
    if folds:
        shown = ", ".join(f"{value:.3f}" for value in folds["folds"])
        console.print(f"  cross-validated {interval_text(folds['accuracy'])}, folds {shown}")
    if run.folder.comparison.is_file():
        _print_comparison(console, run)
    _print_says(console, run)
    if scores["refit"]:
        console.print("  the bundle was then trained on all parts; the score is that of the model before")
    console.print(Text(f"bundle  {run.bundle}"))  # as text: a path may hold what rich takes for a tag
    console.print(Text(f"report  {run.report}", style="bold green"))


def _print_says(console: Console, run: Run) -> None:
    """What the curves and the answers say, the gravest three; all of it is in the report."""
    from rich.text import Text

    from budwood.page import training_says

    styles = {"error": "red", "warning": "yellow", "info": "dim"}
    for each in training_says(run.folder)[:_MAX_SAYINGS]:
        # as text: a class may be called what rich takes for a tag
        console.print(Text.assemble("  ", (f"{each.mark} {each.word}", styles[each.severity]), f"  {each.text}"))


def _print_comparison(console: Console, run: Run) -> None:
    from budwood.report.comparison import comparison_view, points

    view = comparison_view(run.comparison)
    console.print(f"  [bold]{view.title.lower()}[/]")
    console.print(view.lead, markup=False, highlight=False)
    for sentence in view.sentences:
        console.print(f"  {sentence}", markup=False, highlight=False)
    if not view.sentences:
        for row in view.rows:
            change = f"{points(row.value)} ({points(row.low)} to {points(row.high)})"
            console.print(f"  {row.name}: {change} points, {row.verdict}", markup=False, highlight=False)


def interval_text(estimate: dict[str, Any]) -> str:
    """``0.861 (0.82-0.89)``: a value with its 95 % interval."""
    low, high = estimate["interval"]["low"], estimate["interval"]["high"]
    return f"{estimate['value']:.3f} (95 % interval {low:.3f}-{high:.3f})"
