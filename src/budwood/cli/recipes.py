"""``budwood recipes``: the packaged recipes."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's text, to copy and change.")] = None,
) -> None:
    """List the packaged recipes and those of the reports that Budwood began with, or print one."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from budwood.config import parse_toml
    from budwood.recipes import own_recipes, read_recipe, reported_figure, seed_recipes

    if name is not None:
        typer.echo(read_recipe(name)[1], nl=False)
        return
    console = Console()
    own = Table("recipe", "what it does")
    for found, text in own_recipes().items():
        own.add_row(found, Text(parse_toml(text, source=found).get("description", "")))
    console.print(own)
    seeds = Table()
    seeds.add_column("recipe of a report", no_wrap=True)  # names are there to be copied
    seeds.add_column("what it does")
    seeds.add_column("what the report found")
    for found, text in seed_recipes().items():
        description = parse_toml(text, source=found).get("description", "")
        seeds.add_row(found, Text(description), Text(reported_figure(text)))
    console.print(seeds)
    typer.echo("budwood recipes NAME prints one; save it, change it, and give the file: --recipe FILE.toml")
    typer.echo("a recipe that is called a sweep above is run by budwood sweep, the others by budwood fit")
