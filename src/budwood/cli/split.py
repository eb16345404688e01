"""``budwood split``: make a leak-free split, or check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from budwood.cli import options
from budwood.cli.progress import progress

_SIDE = 320


def run(
    photos: options.Photos,
    out: Annotated[Path, typer.Option("--out", "-o", help="The split file to write.")] = Path("split.json"),
    check: Annotated[
        Path | None,
        typer.Option("--check", exists=True, dir_okay=False, help="Only check this split file for leaks."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    overrides: options.Overrides = None,
) -> None:
    """Divide the pictures into train, val and test; near-duplicates stay together, classes keep their shares."""
    from budwood.cache import pictures_folder
    from budwood.config import apply_overrides, validate
    from budwood.data.audit import audit
    from budwood.data.scan import scan
    from budwood.data.split import SplitSpec, check_split, read_split, split, write_split
    from budwood.data.store import PictureStore
    from budwood.errors import SettingsError
    from budwood.files import ensure_writable, refuse_inside

    settings = apply_overrides({}, [text.removeprefix("split.") for text in overrides or ()])
    spec = validate(SplitSpec, settings, source="split")
    if spec.folds is not None:
        raise SettingsError("a split file holds one train, val and test; folds are made by: budwood fit --folds K")
    if not check:
        refuse_inside(out, photos)
        ensure_writable(out.parent)
    with progress() as listen:
        store = PictureStore(pictures_folder(photos, side=_SIDE), side=_SIDE)
        scanned = scan(photos, store=store, listen=listen)
        groups = audit(scanned, store, listen=listen).groups
    catalog = scanned.usable()
    if check:
        made = read_split(check, catalog)
        check_split(made, catalog, groups)
        typer.echo(f"{check} is a split of these pictures and leaks nothing")
    else:
        made = split(catalog, groups=groups, spec=spec, seed=seed)
        write_split(made, catalog, out)
        typer.echo(f"written to {out}; use it with: budwood fit {photos} --split {out}")
    _print(catalog, made)


def _print(catalog: Any, made: Any) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("class", *made.parts)
    counts = {part: Counter(catalog.records[i].label for i in rows) for part, rows in made.parts.items()}
    for name in catalog.classes:
        table.add_row(Text(name), *(str(counts[part][name]) for part in made.parts))
    table.add_section()
    table.add_row("all", *(str(len(rows)) for rows in made.parts.values()))
    Console().print(table)
    tied = [group for group in made.groups if len(group) > 1]
    typer.echo(f"{len(tied)} groups of near-duplicates ({sum(map(len, tied))} pictures) were kept in one part each")
