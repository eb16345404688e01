"""``budwood explain``: why a model answers as it does, on its own validation pictures or on new ones."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress

if TYPE_CHECKING:
    from budwood.explaining_pictures import ExplainedPictures


def run(
    bundle: Annotated[Path, typer.Argument(help="The folder of a run, or a bundle.", show_default=False)],
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(help="Pictures: files, folders, archives. Without any, the run's own.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page about PICTURES.")] = Path("why.html"),
    doubts: Annotated[
        Path | None, typer.Option("--doubts", help="A .csv file: PICTURES that deserve a look, first things first.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Pictures with maps on the page.")] = 48,
    threads: options.Threads = None,
) -> None:
    """Why it answers so: maps of where it looks, what it still knows with parts covered, and what it doubts.

    budwood explain runs/first                      covers, shuffles, maps; into the run's report
    budwood explain runs/first new/ --out why.html  a page about new pictures, the doubtful ones first
    """
    from budwood import machine
    from budwood.errors import UsageError

    tuned = machine.tune_allocator()  # before torch is imported
    if not pictures:
        if doubts:
            raise UsageError("--doubts lists new pictures: name them, or use budwood review PHOTOS --run RUN")
        return _own(bundle, threads=threads, tuned=tuned)
    from budwood.explaining_pictures import explain_pictures
    from budwood.files import ensure_writable, refuse_inside, write_text
    from budwood.report.why_page import render_why

    for place in (out, *([doubts] if doubts else [])):
        for given in pictures:
            refuse_inside(place, given)
        ensure_writable(place.parent)
    machine.probe(threads=threads, tuned_allocator=tuned)
    with progress() as listen:
        found = explain_pictures(bundle, pictures, limit=limit, listen=listen)
    page = render_why(
        found.shown,
        total=len(found.names),
        num_doubted=len(found.doubts),
        title=", ".join(path.name for path in pictures[:3]),
        model=str(bundle),
        places=found.places,
        **about_this_page(),
    )
    write_text(out, page)
    if doubts:
        write_text(doubts, doubts_csv(found))
    for failed in found.unreadable:
        typer.echo(f"could not read {failed.path}: {failed.reason}", err=True)
    typer.echo(f"{len(found.doubts)} of {len(found.names)} pictures deserve a look; the page is {out}")


def _own(folder: Path, *, threads: int | None, tuned: bool) -> None:
    """Explain a run by its own validation pictures, and make its report again."""
    from budwood import machine
    from budwood.cache import pictures_folder
    from budwood.data.store import PictureStore
    from budwood.errors import UsageError
    from budwood.explaining import explain_saved_run
    from budwood.files import read_json
    from budwood.page import write_report
    from budwood.recipe import parse_recipe
    from budwood.runs import RunDir

    run_dir = RunDir(folder)
    if not run_dir.status.is_file() or run_dir.read_status().get("state") != "done":
        raise UsageError(f"{folder} is no run that is done; give one, or a bundle together with pictures")
    side = int(read_json(run_dir.training)["preprocess"]["store_side"])
    photos = Path(read_json(run_dir.environment)["photos"])
    store = PictureStore(pictures_folder(photos, side=side), side=side)
    spec = parse_recipe(run_dir.recipe.read_text(encoding="utf-8"), source=str(run_dir.recipe)).explain
    machine.probe(threads=threads, tuned_allocator=tuned)
    with progress() as listen:
        controls = explain_saved_run(run_dir, store, spec=spec, listen=listen)
    write_report(run_dir, store)
    run_dir.seal()
    if controls:
        typer.echo(controls.lead)
    typer.echo(run_dir.report)


def doubts_csv(found: ExplainedPictures) -> str:
    """The doubtful pictures as a table: path, score, reasons, what is said, and the class that it would give."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "score", "reasons", "evidence", "suggestion"])
    for doubt in found.doubts:
        writer.writerow(
            [found.names[doubt.row], doubt.score, "; ".join(doubt.reasons), doubt.sentence, doubt.suggestion]
        )
    return out.getvalue()


def about_this_page() -> dict[str, str]:
    """How, when and with what a page is made."""
    from datetime import datetime

    from budwood.machine import versions
    from budwood.opening import command_line

    return {
        "command": command_line(),
        "when": f"{datetime.now():%Y-%m-%d %H:%M}",
        "version": versions()["budwood"],
    }
