"""``budwood fit``: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from budwood.cli import options
from budwood.cli.before_torch import make_ready
from budwood.cli.progress import progress

if TYPE_CHECKING:
    from budwood.runs import Run

Out = Annotated[Path | None, typer.Option("--out", "-o", help="The run's folder.", show_default="runs/<time>")]
SplitFile = Annotated[
    Path | None,
    typer.Option("--split", exists=True, dir_okay=False, help="Use this split file (from `budwood split`)."),
]
Refit = Annotated[
    bool, typer.Option("--refit", help="After scoring, train what ships on all parts with the chosen settings.")
]
Tiny = Annotated[bool, typer.Option("--tiny", help="A run of seconds with an untrained network, to try things.")]
Clean = Annotated[
    bool, typer.Option("--clean", help="Leave out copies, and equal pictures that carry different labels.")
]
Compare = Annotated[
    Literal["clean", "balance"] | None,
    typer.Option(help="Also measure what cleaning brought, or which way against imbalance is best."),
]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"] | None,
    typer.Option(help="The arithmetic of training.", show_default="auto: measured at start"),
]
Devices = Annotated[int, typer.Option(min=1, help="Processes of this host that share each batch.")]
Nodes = Annotated[int, typer.Option(min=1, help="Hosts that share each batch.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the stopped run in --out.")]
TensorBoard = Annotated[
    Path | None, typer.Option(help="A folder for the epochs as TensorBoard reads them.", show_default="none")
]
ShowAugment = Annotated[
    Path | None,
    typer.Option("--show-augment", help="Only draw what the network will see, into this PNG file; no training."),
]


def run(
    photos: options.Photos,
    recipe: options.RecipeName = "probe",
    overrides: options.Overrides = None,
    out: Out = None,
    seed: options.Seed = None,
    folds: options.Folds = None,
    split_file: SplitFile = None,
    refit: Refit = False,
    tiny: Tiny = False,
    clean: Clean = False,
    compare: Compare = None,
    threads: options.Threads = None,
    precision: Precision = None,
    devices: Devices = 1,
    nodes: Nodes = 1,
    resume: Resume = False,
    overwrite: options.Overwrite = False,
    tensorboard: TensorBoard = None,
    show_augment: ShowAugment = None,
) -> None:
    """Photos -> checked, split, trained, scored once; leaves a report, predictions and a bundle.

    budwood fit photos/ --recipe probe        the quick first answer
    budwood fit photos/ --recipe transfer     the better model
    """
    if precision is not None:
        overrides = [*(overrides or ()), f"train.precision={precision}"]
    make_ready(recipe, overrides or (), tiny=tiny)
    if show_augment is not None:
        _show(photos, recipe, overrides or (), show_augment, seed=seed, tiny=tiny)
        return
    from budwood.systems import fit

    with progress() as listen:
        finished = fit(
            photos,
            recipe=recipe,
            out=out,
            overrides=overrides or (),
            seed=seed,
            folds=folds,
            refit=refit,
            tiny=tiny,
            clean=clean,
            compare=compare,
            threads=threads,
            split_file=split_file,
            overwrite=overwrite,
            resume=resume,
            devices=devices,
            nodes=nodes,
            tensorboard=tensorboard,
            listen=listen,
        )
    _print(finished)


def _print(run: Run) -> None:
    """What a run of its system found."""
    from budwood.cli.ensemble_summary import print_ensemble
    from budwood.cli.summary import print_run
    from budwood.cli.system_summary import print_system
    from budwood.ensemble_report import is_ensemble

    show = (
        print_ensemble
        if is_ensemble(run.folder)
        else print_system
        if run.folder.system() != "classifier"
        else print_run
    )
    show(run)


def _show(photos: Path, recipe: str, overrides: Sequence[str], out: Path, *, seed: int | None, tiny: bool) -> None:
    """Draw the sheet and say where it lies."""
    from budwood.preview import show_augment
    from budwood.recipe import load_recipe

    loaded = load_recipe(recipe, overrides=overrides, seed=seed, tiny=tiny)
    with progress() as listen:
        files = show_augment(photos, loaded, out, listen=listen)
    for file in files:
        typer.echo(f"drawn into {file}")
