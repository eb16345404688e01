"""``budwood demo``: draw the herbarium and run the main job on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the pictures and the run go.")] = Path("demo"),
    recipe: options.RecipeName = "demo",
    overrides: options.Overrides = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
) -> None:
    """Draw 480 pictures of eight invented plants, with planted faults, and make a classifier of them."""
    from budwood import machine

    machine.tune_allocator()  # before torch is imported
    from budwood.herbarium import draw_herbarium
    from budwood.pipeline import fit
    from budwood.recipe import load_recipe

    chosen = load_recipe(recipe, overrides=overrides or (), seed=seed)  # a typing error shows before the drawing
    with progress() as listen:
        folder = out / "herbarium"
        photos = folder / "photos"
        if not (folder / "truth.json").is_file():
            photos = draw_herbarium(folder, listen=listen).photos
        finished = fit(
            photos,
            recipe=chosen,
            out=out / "run",
            threads=threads,
            overwrite=True,
            listen=listen,
        )
    from budwood.cli.summary import print_run

    print_run(finished)
