"""The packaged recipes: TOML files beside this one, found by name. Their meaning is `budwood.recipe`'s matter."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from budwood.errors import UsageError


def packaged_recipes() -> dict[str, str]:
    """Name -> TOML text of the recipes that come with Budwood, in alphabetical order."""
    found: dict[str, str] = {}
    for entry in sorted(resources.files("budwood.recipes").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            found[entry.name.removesuffix(".toml")] = entry.read_text(encoding="utf-8")
    return found


def read_recipe(name_or_file: str) -> tuple[str, str]:
    """(name, TOML text) of a packaged recipe or of a file.

    Raises:
        UsageError: there is no such recipe or file.
    """
    packaged = packaged_recipes()
    if name_or_file in packaged:
        return name_or_file, packaged[name_or_file]
    path = Path(name_or_file).expanduser()
    if path.is_file():
        try:
            return path.stem, path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the recipe {path} cannot be read: {error}") from error
    near = difflib.get_close_matches(name_or_file, packaged, n=1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    raise UsageError(
        f'no recipe is called "{name_or_file}" and there is no such file: {hint}'
        f"known are {', '.join(packaged)} (see `budwood recipes`), or give the path of a .toml file"
    )
