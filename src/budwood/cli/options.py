"""Command-line options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Photos = Annotated[
    Path,
    typer.Argument(
        help="A folder with one folder per class (or train, val and test folders of them), a .csv or .tsv table, an"
        " .npz of arrays, or a .zip or .tar archive.",
        show_default=False,
    ),
]
RecipeName = Annotated[str, typer.Option("--recipe", "-r", help="A packaged recipe, or a .toml file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: --set train.lr=3e-4 (may be repeated).")
]
Seed = Annotated[int | None, typer.Option(help="The seed of everything random.", show_default="the recipe's")]
Folds = Annotated[int | None, typer.Option(help="K-fold cross-validation: every picture is tested once.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; measured at start unless given.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")]
