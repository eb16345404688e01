"""``budwood fit``: the main job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from budwood.cli import options
from budwood.cli.progress import progress


def run(
    photos: options.Photos,
    recipe: options.RecipeName = "probe",
    overrides: options.Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run's folder.", show_default="runs/<time>")
    ] = None,
    seed: options.Seed = None,
    folds: options.Folds = None,
    split_file: Annotated[
        Path | None,
        typer.Option("--split", exists=True, dir_okay=False, help="Use this split file (from `budwood split`)."),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="After scoring, train what ships on all parts with the chosen settings."),
    ] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="A run of seconds with an untrained network, to try things.")
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Leave out copies, and equal pictures that carry different labels.")
    ] = False,
    compare: Annotated[
        Literal["clean", "balance"] | None,
        typer.Option(help="Also measure what cleaning brought, or which way against imbalance is best."),
    ] = None,
    threads: options.Threads = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        typer.Option(help="The arithmetic of training.", show_default="auto: measured at start"),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes of this host that share each batch.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Hosts that share each batch.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the stopped run in --out.")] = False,
    overwrite: options.Overwrite = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="A folder for the epochs as TensorBoard reads them.", show_default="none")
    ] = None,
    show_augment: Annotated[
        Path | None,
        typer.Option("--show-augment", help="Only draw what the network will see, into this PNG file; no training."),
    ] = None,
) -> None:
    """Photos -> checked, split, trained, scored once; leaves a report, predictions and a bundle.

    budwood fit photos/ --recipe probe        the quick first answer
    budwood fit photos/ --recipe transfer     the better model
    """
    from budwood import machine
    from budwood.config import apply_overrides, parse_toml
    from budwood.models.hub import refuse_unreachable
    from budwood.recipes import read_recipe

    if precision is not None:
        overrides = [*(overrides or ()), f"train.precision={precision}"]
    name, text = read_recipe(recipe)
    settings = apply_overrides(parse_toml(text, source=f"recipe {name}"), overrides or ())
    refuse_unreachable({**settings, "tiny": tiny or settings.get("tiny")})
    machine.tune_allocator()  # before torch is imported
    if show_augment is not None:
        _show(photos, recipe, overrides or (), show_augment, seed=seed, tiny=tiny)
        return
    from budwood.pipeline import fit

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
    from budwood.cli.summary import print_run

    print_run(finished)


def _show(photos: Path, recipe: str, overrides: Sequence[str], out: Path, *, seed: int | None, tiny: bool) -> None:
    """Draw the sheet and say where it lies."""
    from budwood.preview import show_augment
    from budwood.recipe import load_recipe

    loaded = load_recipe(recipe, overrides=overrides, seed=seed, tiny=tiny)
    with progress() as listen:
        files = show_augment(photos, loaded, out, listen=listen)
    for file in files:
        typer.echo(f"drawn into {file}")
