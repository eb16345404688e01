"""What a command prints at the end of a run that is no plain classifier: what was found, and where things are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from budwood.runs import Run


def print_system(run: Run) -> None:
    """The finding of a cascade, a one-class detector or a synthesis, and the paths. To stdout."""
    from rich.console import Console
    from rich.text import Text

    from budwood.cli.summary import interval_text

    console = Console(soft_wrap=True)
    metrics = run.metrics
    test = metrics["test"]
    console.print()
    if "one_class" in metrics:
        _print_detectors(console, metrics["one_class"]["detection"])
    else:
        console.print(f"[bold]test accuracy {interval_text(test['accuracy'])}[/] on {test['num_pictures']} pictures")
    if "cascade" in metrics:
        found = metrics["cascade"]
        console.print(f"  one plain model {interval_text(found['single']['accuracy'])}", highlight=False)
        console.print(f"  difference {_points(found['against_single'])}", highlight=False)
    if "synthesis" in metrics:
        console.print(f"  {metrics['synthesis']['words']}", highlight=False)
    for baseline in metrics["baselines"]:
        console.print(f"  {baseline['name']} {baseline['accuracy']:.3f}", highlight=False)
    if metrics.get("test_looks", 1) > 1:
        console.print(Text(f"  {metrics['looks']}"))
    if run.bundle.is_dir():
        console.print(Text(f"bundle  {run.bundle}"))  # as text: a path may hold what rich takes for a tag
    console.print(Text(f"report  {run.report}", style="bold green"))


def _print_detectors(console: Any, detection: dict[str, Any]) -> None:
    for number, score in enumerate(detection["scores"]):
        area = score["auroc"]
        ends = f"{area['interval']['low']:.3f}-{area['interval']['high']:.3f}"
        line = f"AUROC {area['value']:.3f} (95 % interval {ends})  {score['name']}"
        console.print(f"[bold]{line}[/]" if not number else f"  {line}", highlight=False)


def _points(against: dict[str, Any]) -> str:
    gain = against["accuracy"]
    low, high = gain["interval"]["low"], gain["interval"]["high"]
    points = f"{100 * gain['value']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    return (
        f"{points}, {against['verdict']} than one plain model"
        if against["verdict"] != "cannot tell"
        else (f"{points}: cannot tell them apart")
    )
