"""``budwood evaluate``: score a bundle on a labelled folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or the folder of a run.", show_default=False)],
    photos: options.Photos,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for metrics.json and predictions.csv.")
    ] = None,
    threads: options.Threads = None,
) -> None:
    """Score a bundle on pictures kept elsewhere: a folder of class folders, classes matched by name."""
    from budwood import machine

    tuned = machine.tune_allocator()  # before torch is imported
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from budwood.cli.summary import interval_text
    from budwood.files import ensure_writable, refuse_inside, write_json
    from budwood.judge import evaluate

    if out:
        refuse_inside(out, photos)
        ensure_writable(out)
    machine.probe(threads=threads, tuned_allocator=tuned)
    with progress() as listen:
        metrics, predictions = evaluate(bundle, photos, listen=listen)
    values = metrics.to_dict()
    console = Console(soft_wrap=True)
    console.print(f"[bold]accuracy {interval_text(values['accuracy'])}[/] on {metrics.num_pictures} pictures")
    console.print(f"macro F1 {interval_text(values['macro_f1'])}, log loss {metrics.log_loss:.3f}")
    table = Table("class", "pictures", "precision", "recall", "F1 (95 % interval)")
    for row in metrics.per_class:
        f1 = f"{row.f1.value:.3f} ({row.f1.interval.low:.3f}-{row.f1.interval.high:.3f})"
        table.add_row(Text(row.name), str(row.support), f"{row.precision.value:.3f}", f"{row.recall.value:.3f}", f1)
    console.print(table)
    if out:
        write_json(out / "metrics.json", values)
        predictions.save(out / "predictions.csv")
        console.print(Text(f"written to {out}"))
