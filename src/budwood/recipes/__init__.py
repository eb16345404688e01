"""The packaged recipes: TOML files beside this one and in ``seeds/``, by name; what they mean is `budwood.recipe`'s.

``seeds/`` holds the experiments of the five student reports that Budwood began with (docs/seeds.md). What the report
found stands in the file's header, in a line that begins with ``# Reported:``.
"""

from __future__ import annotations

import difflib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from budwood.errors import UsageError

_REPORTED = "# Reported: "


def packaged_recipes() -> dict[str, str]:
    """Name -> TOML text of all recipes that come with Budwood: its own, then the seeds', each in alphabetical order."""
    return own_recipes() | seed_recipes()


def own_recipes() -> dict[str, str]:
    """Name -> TOML text of the recipes that are meant for one's own pictures."""
    return _texts(resources.files("budwood.recipes"))


def seed_recipes() -> dict[str, str]:
    """Name -> TOML text of the recipes that repeat an experiment of a report."""
    return _texts(resources.files("budwood.recipes") / "seeds")


def reported_figure(text: str) -> str:
    """What the report found, with the kind of its figure; empty for a recipe that repeats none."""
    return next((line.removeprefix(_REPORTED) for line in text.splitlines() if line.startswith(_REPORTED)), "")


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
        f'no recipe is called "{name_or_file}" and there is no such file: {hint}known are {", ".join(own_recipes())}'
        f" and {len(seed_recipes())} from reports (see `budwood recipes`), or give the path of a .toml file"
    )


def _texts(folder: Traversable) -> dict[str, str]:
    files = {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
    return {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}
