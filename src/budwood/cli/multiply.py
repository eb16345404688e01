"""``budwood multiply``: a folder with more training pictures, made after the split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budwood.cli import options
from budwood.cli.progress import progress

if TYPE_CHECKING:
    from budwood.multiplication import Multiplied


def run(
    photos: options.Photos,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make: new or empty, outside the photos.")],
    times: Annotated[int | None, typer.Option("--times", help="So many times as many training pictures.")] = None,
    to: Annotated[int | None, typer.Option("--to", help="So many training pictures in all.")] = None,
    balanced: Annotated[bool, typer.Option("--balanced", help="Equally many training pictures of each class.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed gives another split and other copies.")] = 0,
    split_file: Annotated[
        Path | None,
        typer.Option("--split", exists=True, dir_okay=False, help="Use this split file (from `budwood split`)."),
    ] = None,
    flips: Annotated[
        str, typer.Option("--flips", help="both, horizontal, or none where left and right or up and down matter.")
    ] = "both",
    rotation: Annotated[float, typer.Option(min=0, max=180, help="Largest turn in degrees, either way.")] = 15,
) -> None:
    """Write train, val and test folders in which the training pictures are joined by flipped and turned copies.

    budwood multiply photos/ --times 8 --out photos-x8
    budwood multiply photos/ --to 10000 --balanced --out photos-10k
    """
    from budwood.augment.copies import CopySpec
    from budwood.config import validate
    from budwood.multiplication import multiply

    spec = validate(CopySpec, {"flips": flips, "rotation": rotation}, source="multiply")
    with progress() as listen:
        made = multiply(
            photos,
            out=out,
            times=times,
            to=to,
            balanced=balanced,
            seed=seed,
            split_file=split_file,
            spec=spec,
            listen=listen,
        )
    _print(made)


def _print(made: Multiplied) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("class", "train", "of originals", "most of one", "val", "test")
    for k, name in enumerate(made.classes):
        row = (made.after["train"][k], made.before["train"][k], made.most_copies[k])
        table.add_row(Text(name), *map(str, row), *(str(made.after[part][k]) for part in ("val", "test")))
    table.add_section()
    totals = {part: sum(counts) for part, counts in made.after.items()}
    originals = sum(made.before["train"])
    table.add_row("all", str(totals["train"]), str(originals), "", str(totals["val"]), str(totals["test"]))
    console = Console()
    console.print(table)
    if made.left_out:
        typer.echo(f"{made.left_out} pictures are in no part and were left out")
    typer.echo(f"copies hold nothing new: scores still speak of {originals} training pictures")
    console.print(Text(f"written to {made.folder}; use it with: budwood fit {made.table}"))
