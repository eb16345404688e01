"""``budwood export``: a bundle for elsewhere, as ONNX, for OpenVINO, a challenge's folder, or a hub repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from budwood.cli import options
from budwood.cli.progress import progress


def run(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or the folder of a run.", show_default=False)],
    to: Annotated[
        Literal["onnx", "openvino", "submission", "hub"],
        typer.Option("--to", help="What to make.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file (.onnx) or the folder to write.", show_default=False)
    ],
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Of an ONNX file's networks; below fp32 the cost in accuracy is measured and told."),
    ] = "fp32",
    measure: Annotated[
        Path | None,
        typer.Option(
            help="Labelled pictures to measure that cost on, not trained on.",
            show_default="the run's validation part",
        ),
    ] = None,
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
    with progress() as listen:
        said = export(bundle, to, out, precision=precision, measure=measure, listen=listen)
    typer.echo(said)
