"""``budwood audit``: what is wrong with the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress
from budwood.cli.reading import Model, Reading, read_and_audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from budwood.data.records import Catalog, Finding

_ROWS = {"error": 8, "warning": 6, "info": 3}  # findings of one check that the terminal shows; pages show more


def run(
    photos: options.Photos,
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page with all that was found.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all findings as JSON.")] = None,
    model: Model = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when anything worse than info is found.")
    ] = False,
) -> None:
    """Check the pictures: unreadable, copies, near-duplicates, odd sizes, light, colour, sharpness, class counts.

    budwood audit photos/                        what the files themselves tell, in seconds
    budwood audit photos/ --model --html a.html  with a network's opinion on labels, as a page
    """
    from budwood.files import ensure_writable, refuse_inside

    for file, option in ((json_file, "--json"), (html, "--html")):
        if file:
            refuse_inside(file, photos, option=option)
            ensure_writable(file.parent)
    with progress() as listen:
        reading = read_and_audit(photos, model=model, listen=listen)
    _print(reading.catalog, reading.result.findings)
    if json_file:
        _write_json(json_file, reading)
    if html:
        _write_page(html, photos, reading)
    if not model:
        typer.echo("wrong labels, outliers and shortcuts need a network's opinion: add --model")
    if strict and any(f.severity != "info" for f in reading.result.findings):
        raise typer.Exit(1)


def _write_json(file: Path, reading: Reading) -> None:
    from dataclasses import asdict

    from budwood.files import write_json

    groups = [list(group) for group in reading.result.groups]
    write_json(file, {"findings": [asdict(f) for f in reading.result.findings], "groups": groups})


def _write_page(file: Path, photos: Path, reading: Reading) -> None:
    from datetime import datetime

    from budwood import __version__
    from budwood.errors import DataError, IntegrityError
    from budwood.files import escape_name, write_text
    from budwood.opening import command_line
    from budwood.report.audit_page import render_audit
    from budwood.report.thumbnails import thumbnail

    records = {record.path: record for record in reading.catalog.records}

    def picture(path: str) -> bytes | None:
        try:
            return thumbnail(reading.store.fetch(reading.catalog, records[path]))
        except (DataError, IntegrityError, OSError, KeyError):
            return None  # gone or unreadable: the page shows the caption and says so

    page = render_audit(
        reading.catalog,
        reading.result,
        pictures=picture,
        title=escape_name(photos.resolve().name),
        photos=escape_name(str(photos)),
        opinion=reading.opinion,
        command=command_line(),
        when=f"{datetime.now():%Y-%m-%d %H:%M}",
        version=__version__,
    )
    write_text(file, page)
    typer.echo(f"page    {file}")


def _print(catalog: Catalog, findings: Sequence[Finding]) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    counts = ", ".join(f"{name} {count}" for name, count in catalog.usable().counts().items())
    console.print(Text(f"{len(catalog)} pictures, {len(catalog.classes)} classes: {counts}"))
    if catalog.ignored:
        console.print(Text(f"{len(catalog.ignored)} files were passed over, first {catalog.ignored[0]}", style="dim"))
    table = Table("severity", "check", "what was found", "pictures")
    of_check, shown = Counter((f.severity, f.check) for f in findings), Counter[tuple[str, str]]()
    for finding in findings:
        key = (finding.severity, finding.check)
        shown[key] += 1
        most = _ROWS[finding.severity]
        if shown[key] > most:
            continue
        paths = ", ".join(finding.paths[:3]) + (f" and {len(finding.paths) - 3} more" if len(finding.paths) > 3 else "")
        colour = {"error": "red", "warning": "yellow"}.get(finding.severity, "")
        more = of_check[key] - most if shown[key] == most else 0
        evidence = f"{finding.evidence} (and {more} more findings of {finding.check})" if more else finding.evidence
        table.add_row(Text(finding.severity, style=colour), Text(finding.check), Text(evidence), Text(paths))
    console.print(table)
