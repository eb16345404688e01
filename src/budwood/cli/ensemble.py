"""``budwood ensemble``: join finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from budwood.cli import options
from budwood.cli.progress import progress


def run(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs of one split.", show_default=False)],
    method: Annotated[
        Literal["auto", "mean", "weighted", "vote", "logit-mean", "stacking", "greedy", "complementary"],
        typer.Option(help="How answers are joined; auto lets the validation answers choose."),
    ] = "auto",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The ensemble's folder.", show_default="runs/<time>-ensemble")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of folds and bootstraps.")] = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Join runs that were trained on the same split; scores the ensemble beside its members, and writes its bundle.

    budwood fit photos/ --recipe probe --set model.backbone=lite0 --out runs/lite0
    budwood fit photos/ --recipe probe --set model.backbone=lite2 --split runs/lite0/split.json --out runs/lite2
    budwood ensemble runs/lite0 runs/lite2
    """
    from budwood import machine

    machine.tune_allocator()  # before torch is imported
    from budwood.ensembling import combine

    with progress() as listen:
        finished = combine(runs, method=method, out=out, seed=seed, overwrite=overwrite, listen=listen)
    from budwood.cli.ensemble_summary import print_ensemble

    print_ensemble(finished)
