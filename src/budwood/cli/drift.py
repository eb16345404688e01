"""``budwood drift``: are new pictures like those that a model was judged on?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress


def run(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run (a bundle with --against).", show_default=False)
    ],
    photos: Annotated[
        list[Path], typer.Argument(help="New pictures: files, folders, archives; no labels needed.", show_default=False)
    ],
    against: Annotated[
        Path | None,
        typer.Option(help="Compare with these pictures, in folders called like the classes, instead of the run's own."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="A page with the most unusual pictures.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="All numbers, as JSON.")] = None,
    pictures: Annotated[int, typer.Option(min=20, help="Of more, as many are drawn.")] = 600,
    seed: Annotated[int, typer.Option(help="Of the drawing and the folds.")] = 0,
    threads: options.Threads = None,
) -> None:
    """Are new pictures like those that the model was judged on, in what do they differ, what may it be worth on them?

    budwood drift runs/first season2/ --html drift.html
    """
    from budwood import machine

    tuned = machine.tune_allocator()  # before torch is imported
    from budwood.cli.explain import about_this_page
    from budwood.drifting import drift
    from budwood.files import ensure_writable, refuse_inside, write_json, write_text
    from budwood.report.data import Picture
    from budwood.report.drift_page import render_drift
    from budwood.report.thumbnails import thumbnail

    for place in (html, json):
        if place:
            for given in photos:
                refuse_inside(place, given)
            ensure_writable(place.parent)
    machine.probe(threads=threads, tuned_allocator=tuned)
    with progress() as listen:
        found = drift(folder, photos, against=against, pictures=pictures, seed=seed, listen=listen)
    result, described = found.drift, found.described
    typer.echo(result.lead)
    for forecast in result.forecasts:
        told = "cannot be told" if forecast.value is None else f"about {100 * forecast.value:.0f} %"
        if forecast.interval:
            told += f" ({100 * forecast.interval.low:.0f}-{100 * forecast.interval.high:.0f} %)"
        typer.echo(f"accuracy on them, estimated {forecast.name}: {told}; {forecast.note}")
    if result.new_accuracy is not None and result.new_interval:
        span = f"{100 * result.new_interval.low:.0f}-{100 * result.new_interval.high:.0f} %"
        typer.echo(f"accuracy on them, counted by their folders: {100 * result.new_accuracy:.1f} % ({span})")
    if json:
        write_json(json, found.to_dict())
        typer.echo(f"numbers in {json}")
    if html:
        unusual = [
            Picture(path=described.pictures.paths[row], image=thumbnail(described.pixels[row]))
            for row, _ in result.unusual
        ]
        title = ", ".join(path.name for path in photos[:3])
        write_text(html, render_drift(result, unusual, title=title, model=str(folder), **about_this_page()))
        typer.echo(f"page in {html}")
