"""``budwood rates``: which learning rate is worth trying first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress


def run(
    photos: options.Photos,
    recipe: options.RecipeName = "transfer",
    overrides: options.Overrides = None,
    stage: Annotated[
        int | None, typer.Option(min=0, help="A stage of the plan, from 0.", show_default="the first with steps")
    ] = None,
    low: Annotated[float, typer.Option(help="The lowest rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The highest rate.")] = 1.0,
    steps: Annotated[int, typer.Option(min=10, help="Training steps, one at each rate.")] = 100,
    out: Annotated[Path, typer.Option("--out", "-o", help="The plot, a PNG file.")] = Path("rates.png"),
    seed: options.Seed = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="A test of seconds with an untrained network.")] = False,
    threads: options.Threads = None,
) -> None:
    """The learning-rate range test: some training steps at rising rates, until the loss explodes.

    budwood rates photos/ --recipe transfer
    """
    from budwood import machine
    from budwood.files import ensure_writable, refuse_inside, write_bytes
    from budwood.recipe import load_recipe

    refuse_inside(out, photos)
    ensure_writable(out.parent)
    machine.tune_allocator()  # before torch is imported
    from budwood.rates import rate_test
    from budwood.report.range_plot import range_png, range_words

    loaded = load_recipe(recipe, overrides=overrides or (), seed=seed, tiny=tiny)
    with progress() as listen:
        found = rate_test(
            photos, recipe=loaded, stage=stage, low=low, high=high, steps=steps, threads=threads, listen=listen
        )
    write_bytes(out, range_png(found))
    typer.echo(range_words(found))
    typer.echo(f"drawn into {out}")
