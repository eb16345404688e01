"""``budwood verify``: is every byte of a bundle or run what was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path, typer.Argument(help="A bundle, or the folder of a run.", show_default=False)],
) -> None:
    """Compare a bundle's or a run's files with their sha256; exit code 1 when anything was changed."""
    from budwood.errors import UsageError
    from budwood.files import MANIFEST_NAME, check_manifest
    from budwood.runs import LOCK_NAME, RunDir

    is_run = RunDir(folder).status.is_file()
    if not is_run and not any((folder / name).exists() for name in (MANIFEST_NAME, "bundle.json")):
        raise UsageError(f"{folder} is neither a bundle nor a run; give RUN or RUN/bundle")
    if is_run and not (folder / MANIFEST_NAME).is_file():
        state = RunDir(folder).read_status().get("state")
        if state != "done":
            typer.echo(
                f"{folder} is a run that is {state}: it was never sealed, so there is nothing to verify",
                err=True,
            )
            raise typer.Exit(1)
    problems = check_manifest(folder, skip=[LOCK_NAME])
    for bundle in ("bundle", "bundle-scored"):
        if (folder / bundle).is_dir():
            problems += [f"{bundle}/{problem}" for problem in check_manifest(folder / bundle)]
    for problem in dict.fromkeys(problems):
        typer.echo(f"{folder}: {problem}")
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{folder}: every file is what was written")
