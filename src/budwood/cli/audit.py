"""``budwood audit``: what is wrong with the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from budwood.cli import options
from budwood.cli.progress import progress

_SIDE = 320


def run(
    photos: options.Photos,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all findings as JSON.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when anything worse than info is found.")
    ] = False,
) -> None:
    """Check a folder: unreadable files, duplicates, near-duplicates, odd sizes, light, class counts."""
    from budwood.cache import pictures_folder
    from budwood.data.audit import audit
    from budwood.data.scan import scan
    from budwood.data.store import PictureStore
    from budwood.files import ensure_writable, refuse_inside

    if json_file:
        refuse_inside(json_file, photos, option="--json")
        ensure_writable(json_file.parent)
    with progress() as listen:
        store = PictureStore(pictures_folder(photos, side=_SIDE), side=_SIDE)
        catalog = scan(photos, store=store, listen=listen)
        result = audit(catalog, store, listen=listen)
    _print(catalog, result)
    if json_file:
        from dataclasses import asdict

        from budwood.files import write_json

        groups = [list(group) for group in result.groups]
        write_json(json_file, {"findings": [asdict(f) for f in result.findings], "groups": groups})
    if strict and any(f.severity != "info" for f in result.findings):
        raise typer.Exit(1)


def _print(catalog: Any, result: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    counts = ", ".join(f"{name} {count}" for name, count in catalog.usable().counts().items())
    console.print(Text(f"{len(catalog)} pictures, {len(catalog.classes)} classes: {counts}"))
    if catalog.ignored:
        console.print(Text(f"{len(catalog.ignored)} files were passed over, first {catalog.ignored[0]}", style="dim"))
    table = Table("severity", "check", "what was found", "pictures")
    for finding in result.findings:
        paths = ", ".join(finding.paths[:3]) + (f" and {len(finding.paths) - 3} more" if len(finding.paths) > 3 else "")
        colour = {"error": "red", "warning": "yellow"}.get(finding.severity, "")
        table.add_row(
            Text(finding.severity, style=colour), *(Text(t) for t in (finding.check, finding.evidence, paths))
        )
    console.print(table)
