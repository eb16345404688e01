"""``budwood export``: a bundle for elsewhere, as ONNX, a challenge's folder, or a hub repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from budwood.cli import options


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or the folder of a run.", show_default=False)],
    to: Annotated[Literal["onnx", "submission", "hub"], typer.Option("--to", help="What to make.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file (.onnx) or the folder to write.", show_default=False)
    ],
    threads: options.Threads = None,
) -> None:
    """Make a model that runs without Budwood, and check that it answers as the bundle does before it is written.

    budwood export runs/mine --to onnx --out mine.onnx
    """
    from budwood import machine

    tuned = machine.tune_allocator()  # before torch is imported
    from budwood.errors import OutputError
    from budwood.exporting import export
    from budwood.files import ensure_writable

    if out.exists() and any(path.resolve() == out.resolve() for path in (bundle, bundle / "bundle")):
        raise OutputError(f"{out} is the bundle itself; choose another --out")
    ensure_writable(out.parent)
    machine.probe(threads=threads, tuned_allocator=tuned)
    typer.echo(export(bundle, to, out))
