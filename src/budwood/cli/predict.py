"""``budwood predict``: class probabilities of new pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from budwood.cli import options
from budwood.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from budwood.evaluation.predictions import Predictions
    from budwood.export.bundle import Unreadable


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or the folder of a run.", show_default=False)],
    pictures: Annotated[
        list[Path], typer.Argument(help="Pictures: files, folders, archives, tables.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .csv or .json file.", show_default="stdout")
    ] = None,
    form: Annotated[Literal["csv", "json"] | None, typer.Option("--format", help="csv or json.")] = None,
    threads: options.Threads = None,
) -> None:
    """Name pictures: every class's probability for each, and a list of the files that could not be read."""
    from budwood import machine

    tuned = machine.tune_allocator()  # before torch is imported
    from budwood.errors import DataError, OutputError
    from budwood.files import ensure_writable, to_json, write_text
    from budwood.judge import picture_files, predict

    if out:
        if out.is_dir():
            raise OutputError(f"{out} is a folder; give a .csv or .json file with --out")
        if out.exists() and any(out.samefile(file) for file in picture_files(pictures)):
            raise OutputError(f"{out} is one of the pictures, which are never written to; give another file with --out")
        ensure_writable(out.parent)
    machine.probe(threads=threads, tuned_allocator=tuned)
    with progress() as listen:
        answers, unreadable = predict(bundle, pictures, listen=listen)
    chosen = form or ("json" if out and out.suffix.lower() == ".json" else "csv")
    text = answers.to_csv() if chosen == "csv" else to_json(as_json(answers, unreadable))
    if out:
        write_text(out, text)
        typer.echo(f"{len(answers)} pictures answered, written to {out}", err=True)
    else:
        sys.stdout.write(text)
    for failed in unreadable:
        typer.echo(f"could not read {failed.path}: {failed.reason}", err=True)
    if not len(answers):
        raise DataError(f"none of the {len(unreadable)} files could be read; the reasons are listed above")


def as_json(answers: Predictions, unreadable: Sequence[Unreadable]) -> dict[str, object]:
    """The answers as plain values: classes, one entry a picture, and the unreadable files."""
    rows = [
        {
            "path": path,
            "predicted": answers.classes[int(best)],
            "probability": float(probs[best]),
            "probabilities": {name: float(p) for name, p in zip(answers.classes, probs, strict=True)},
        }
        for path, best, probs in zip(answers.paths, answers.predicted, answers.probs, strict=True)
    ]
    failed = [{"path": item.path, "reason": item.reason} for item in unreadable]
    return {"classes": list(answers.classes), "predictions": rows, "unreadable": failed}
