"""``budwood recipes``: the packaged recipes."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's text, to copy and change.")] = None,
) -> None:
    """List the packaged recipes, or print one."""
    import tomllib

    from rich.console import Console
    from rich.table import Table

    from budwood.recipes import packaged_recipes, read_recipe

    if name is not None:
        typer.echo(read_recipe(name)[1], nl=False)
        return
    table = Table("recipe", "what it does")
    for found, text in packaged_recipes().items():
        table.add_row(found, tomllib.loads(text).get("description", ""))
    console = Console()
    console.print(table)
    console.print("budwood recipes NAME prints one; save it, change it, and give the file: --recipe FILE.toml")
