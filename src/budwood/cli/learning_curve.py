"""``budwood learning-curve``: what would more pictures bring?"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress


def run(
    photos: options.Photos,
    recipe: options.RecipeName = "probe",
    overrides: options.Overrides = None,
    sizes: Annotated[str, typer.Option(help="Shares of the training part.")] = "0.125,0.25,0.5,1",
    repeats: Annotated[int, typer.Option(min=1, help="Trainings of each size.")] = 3,
    split: Annotated[Path | None, typer.Option("--split", help="A split made before.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with the plot.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write all numbers.")] = None,
    seed: options.Seed = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="A test of seconds with an untrained network.")] = False,
    threads: options.Threads = None,
) -> None:
    """Train on parts of the training pictures, and say what twice the pictures would bring.

    The validation part judges; the test part is not looked at.

    budwood learning-curve photos/ --html curve.html
    """
    from budwood import machine
    from budwood.files import ensure_writable, refuse_inside, write_json, write_text
    from budwood.recipe import load_recipe

    shares = _shares(sizes)
    for out in (html, json):
        if out:
            refuse_inside(out, photos, option="another path")
            ensure_writable(out.parent)
    machine.tune_allocator()  # before torch is imported
    from budwood.learning_curve import learning_curve
    from budwood.opening import command_line
    from budwood.report.learning_plot import render_learning

    loaded = load_recipe(recipe, overrides=overrides or (), seed=seed, tiny=tiny)
    with progress() as listen:
        found = learning_curve(
            photos, recipe=loaded, sizes=shares, repeats=repeats, split_file=split, threads=threads, listen=listen
        )
    for point in found.curve.points:
        ends = point.accuracy.interval
        typer.echo(f"{point.num_pictures:>7,} pictures  {point.accuracy.value:.3f} ({ends.low:.3f}-{ends.high:.3f})")
    typer.echo(found.curve.words)
    typer.echo("Selection scores, of the validation part; the test part was not looked at.")
    if json:
        write_json(json, found.curve.to_dict())
    if html:
        page = render_learning(
            found.curve,
            title=photos.name,
            recipe=found.recipe,
            command=command_line(),
            when=f"{datetime.now():%Y-%m-%d %H:%M}",
            version=machine.versions()["budwood"],
        )
        write_text(html, page)
        typer.echo(f"drawn into {html}")


def _shares(text: str) -> tuple[float, ...]:
    from budwood.errors import SettingsError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(f"--sizes {text}: expected shares such as 0.125,0.25,0.5,1") from error
