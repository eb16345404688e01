"""``budwood split``: make a leak-free split, or folds; check one; or show what a leaking one costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress
from budwood.cli.reading import read_and_audit

if TYPE_CHECKING:
    from budwood.data.leaks import Leak
    from budwood.data.records import Catalog
    from budwood.data.split import Split, SplitSpec
    from budwood.leakage import LeakageCost

_OWN = "own"
_SHOWN = 20  # leaks in the table


def run(
    photos: options.Photos,
    out: Annotated[Path, typer.Option("--out", "-o", help="The split file to write.")] = Path("split.json"),
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="FILE|own", help="Only check this split file, or the pictures' own parts."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=3, help="Write K files, split-1.json and so on; each picture is tested once.")
    ] = None,
    cost: Annotated[
        bool, typer.Option("--cost", help="Only show what a random split would promise too much; takes a minute.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    overrides: options.Overrides = None,
) -> None:
    """Divide the pictures into train, val and test; near-duplicates stay together, classes keep their shares."""
    from budwood.data.split import split, split_folds, write_split
    from budwood.errors import UsageError
    from budwood.files import ensure_writable, refuse_inside

    if sum((check is not None, folds is not None, cost)) > 1:
        raise UsageError("--check, --folds and --cost are three different jobs: give one of them")
    if cost:
        _show_cost(photos)
        return
    spec = _settings(overrides, folds)
    if check is None:
        refuse_inside(out, photos)
        ensure_writable(out.parent)
    elif check != _OWN and not Path(check).is_file():
        raise UsageError(f"the split file {check} does not exist; make one with: budwood split {photos}")
    with progress() as listen:
        reading = read_and_audit(photos, listen=listen)
        catalog, groups = reading.catalog.usable(), reading.result.groups
        doubtful = reading.result.doubtful
        if check is None:
            if spec.folds is None:
                made = {out: split(catalog, groups=groups, doubtful=doubtful, spec=spec, seed=seed, listen=listen)}
            else:
                splits = split_folds(catalog, groups=groups, doubtful=doubtful, spec=spec, seed=seed)
                made = {out.with_stem(f"{out.stem}-{k}"): one for k, one in enumerate(splits, start=1)}
    if check is not None:
        _check(catalog, groups, check, spec)
        return
    for file, one in made.items():
        write_split(one, catalog, file)
        typer.echo(f"written to {file}; use it with: budwood fit {photos} --split {file}")
        _print(catalog, one, spec)


def _settings(overrides: Sequence[str] | None, folds: int | None) -> SplitSpec:
    from budwood.config import apply_overrides, validate
    from budwood.data.split import SplitSpec

    settings = apply_overrides({}, [text.removeprefix("split.") for text in overrides or ()])
    if folds is not None:
        settings["folds"] = folds
    return validate(SplitSpec, settings, source="split")


def _check(catalog: Catalog, groups: Sequence[Sequence[str]], which: str, spec: SplitSpec) -> None:
    """Check a split file or the pictures' own parts; every leak is shown before the refusal."""
    from budwood.data.leaks import find_leaks
    from budwood.data.own_parts import given_parts
    from budwood.data.split import check_parts, check_split, own_split, read_split

    if which == _OWN:
        made = given_parts(catalog)
    else:
        made = read_split(Path(which), catalog)
        check_parts(made, catalog)
    _print_leaks(find_leaks(made, catalog, groups))
    if which == _OWN:
        own_split(catalog, groups=groups, spec=spec.model_copy(update={"leaks": "refuse"}))
        typer.echo("the pictures' own parts leak nothing")
    else:
        check_split(made, catalog, groups)
        typer.echo(f"{which} is a split of these pictures and leaks nothing")
    _print(catalog, made, None)


def _print_leaks(leaks: Sequence[Leak]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not leaks:
        return
    table = Table("what", "pictures that belong together, and their parts")
    for leak in leaks[:_SHOWN]:
        where = ", ".join(f"{path} ({part})" for path, part in zip(leak.paths[:6], leak.parts, strict=False))
        more = f" and {len(leak.paths) - 6} more" if len(leak.paths) > 6 else ""
        table.add_row(Text(leak.why), Text(where + more))
    if len(leaks) > _SHOWN:
        table.add_row("", f"and {len(leaks) - _SHOWN} more groups")
    Console().print(table)


def _print(catalog: Catalog, made: Split, spec: SplitSpec | None) -> None:
    """Exact counts of each class in each part, the groups kept together, and the worst miss of a wished share."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from budwood.data.split import largest_deviation

    table = Table("class", *made.parts)
    counts = {part: Counter(catalog.records[i].label for i in rows) for part, rows in made.parts.items()}
    for name in catalog.classes:
        table.add_row(Text(name), *(str(counts[part][name]) for part in made.parts))
    table.add_section()
    table.add_row("all", *(str(len(rows)) for rows in made.parts.values()))
    console = Console()
    console.print(table)
    tied = sum(map(len, made.groups))
    typer.echo(
        f"{len(made.groups)} groups of near-duplicates or look-alikes ({tied} pictures) were kept in one part each"
    )
    if made.left_out:
        typer.echo(f"{len(made.left_out)} pictures are in no part")
    if spec is not None:
        worst = largest_deviation(made, catalog, spec)
        text = f"farthest from the wished share: {worst.label} in {worst.part}, {worst.found} for {worst.wished:.1f}"
        console.print(Text(text))


def _show_cost(photos: Path) -> None:
    from budwood import machine

    machine.tune_allocator()  # before torch is imported
    from budwood.leakage import measure_leakage
    from budwood.recipe import load_recipe

    with progress() as listen:
        found = measure_leakage(photos, load_recipe("probe"), listen=listen)
    _print_cost(found)


def _print_cost(found: LeakageCost) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("the mistake", "its score", "without it", "too good by (95 % interval)", "test pictures with a copy")
    for row in (found.random, found.augmented):
        if row is not None:
            by = f"{row.difference:+.3f} ({row.interval.low:+.3f} to {row.interval.high:+.3f})"
            copies = f"{row.with_copy:.0f} of {row.num_test:.0f}"
            table.add_row(row.mistake, f"{row.leaking:.3f}", f"{row.guarded:.3f}", by, copies)
    console.print(table)
    typer.echo(
        f"{found.num_pictures} pictures, {found.num_groups} groups that belong together; a linear head on frozen"
        f" features, mean of {found.num_seeds} splits"
    )
    if found.augmented is None:
        typer.echo("copies made before the split are not shown: turning or mirroring changes what these pictures are")
