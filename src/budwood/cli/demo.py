"""``budwood demo``: draw the herbarium and run the main job on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress

if TYPE_CHECKING:
    from budwood.events import Listener


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
    from budwood.recipe import load_recipe
    from budwood.systems import fit

    chosen = load_recipe(recipe, overrides=overrides or (), seed=seed)  # a typing error shows before the drawing
    chosen.refuse_other_systems("budwood demo")
    with progress() as listen:
        folder = out / "herbarium"
        photos = folder / "photos"
        if not (folder / "truth.json").is_file():
            _draw(folder, listen)
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


def _draw(folder: Path, listen: Listener) -> None:
    """Draw beside the place and rename: a drawing that was stopped half-way is never taken for a herbarium."""
    import shutil

    from budwood.files import ensure_writable
    from budwood.herbarium import draw_herbarium

    ensure_writable(folder.parent)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    draw_herbarium(part, listen=listen)
    part.rename(folder)
