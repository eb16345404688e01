"""`fit_members`: the recipes that an ensemble recipe names, trained one after the other on one split, then joined.

Every member is a run of its own in ``members/`` of the ensemble's folder, with its own report; the first one's split is
the split of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budwood.config import parse_toml, validate
from budwood.ensembling import join
from budwood.errors import Interrupted, SettingsError, UsageError
from budwood.events import Listener, Warned, silent
from budwood.members import open_members
from budwood.models.backbones import check_name
from budwood.models.hub import refuse_unreachable
from budwood.opening import command_line, new_run_path, opened_run
from budwood.pipeline import fit
from budwood.recipe import Recipe, load_recipe, shrink
from budwood.recipes import read_recipe
from budwood.runs import Run, RunDir

# What is an ensemble's own; everything else in its recipe is handed on to the members.
_OWN = frozenset({"name", "description", "ensemble"})


def fit_members(
    photos: str | Path,
    *,
    recipe: str | Recipe,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    tiny: bool = False,
    clean: bool = False,
    threads: int | None = None,
    split_file: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    listen: Listener = silent,
) -> Run:
    """Train the members of an ensemble recipe on one split, join them, and score the ensemble.

    Args:
        photos, recipe, out, overrides, seed, tiny, clean, threads, split_file, overwrite, resume, listen: as for
            `pipeline.fit`. A recipe's settings, and ``overrides``, hold for every member.

    Raises:
        UsageError: the call or a setting is wrong. DataError: the pictures cannot be used. Interrupted: stopped.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe, overrides=overrides, seed=seed, tiny=tiny, clean=clean)
    elif overrides or seed is not None or tiny or clean:
        raise SettingsError("a Recipe already holds seed, tiny, clean and all settings: change them in it")
    members, backbones = member_recipes(recipe), recipe.ensemble.backbones
    for member in members:  # before the first is trained for an hour
        check_name(member.model.backbone)
        refuse_unreachable(member.model_dump(mode="json"))
    photos = Path(photos).expanduser()
    if resume and out is None:
        raise UsageError("resume needs the run's folder: give it with --out")
    path = Path(out).expanduser() if out is not None else new_run_path(recipe.name)
    if resume and RunDir(path).is_complete():
        listen(Warned(text=f"{path} holds a run that is done: nothing was left to do"))
        return Run(path)
    with opened_run(path, photos=photos, overwrite=overwrite, resume=resume, command=command_line()) as (run, journal):
        folders: list[Path] = []
        for number, member in enumerate(members, start=1):
            folder = run.members / f"{number}-{backbones[number - 1] if backbones else Path(member.name).stem}"
            journal.write("running", step=f"member {number} of {len(members)}: {member.name}")
            try:
                fit(
                    photos,
                    recipe=member,
                    out=folder,
                    threads=threads,
                    split_file=split_file if not folders else RunDir(folders[0]).split,
                    resume=resume,
                    listen=listen,
                )
            except Interrupted as stopped:  # it is the ensemble that was stopped, and that can be gone on with
                raise KeyboardInterrupt from stopped
            folders.append(folder)
        join(run, journal, open_members(folders), recipe=recipe, listen=listen)
    run.seal()
    return Run(path)


def member_recipes(recipe: Recipe) -> tuple[Recipe, ...]:
    """The recipes of an ensemble's members, with what the ensemble's own recipe says put over them.

    A recipe that is named again (with the same backbone) gets the next seed: two equal members would be one.

    Raises:
        UsageError: a member is no recipe, or is an ensemble itself. SettingsError: a setting does not fit a member.
    """
    names, backbones = recipe.ensemble.members, recipe.ensemble.backbones
    if not names:
        raise SettingsError(f"recipe {recipe.name} names no members: give ensemble.members = [...]")
    given = recipe.model_dump(mode="json", exclude_unset=True, exclude=set(_OWN))
    found: list[Recipe] = []
    for number, name_or_file in enumerate(names):
        name, text = read_recipe(name_or_file)
        values = merged(parse_toml(text, source=f"recipe {name}"), given)
        if backbones:
            values = merged(values, {"model": {"backbone": backbones[number]}})
        twins = sum(
            (names[i], backbones[i] if backbones else "") == (name_or_file, backbones[number] if backbones else "")
            for i in range(number)
        )
        values = {**values, "name": values.get("name", name), "seed": recipe.seed + twins, "tiny": recipe.tiny}
        member = validate(Recipe, values, source=f"member {name} of recipe {recipe.name}")
        if member.ensemble.members:
            raise UsageError(f"member {name} of recipe {recipe.name} is an ensemble itself; name its members instead")
        if member.system != "classifier":
            raise UsageError(
                f"member {name} of recipe {recipe.name} is no classifier, but {member.system}; leave it out"
            )
        found.append(shrink(member) if member.tiny else member)
    return tuple(found)


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``values`` with what ``over`` says, table by table; lists are replaced as a whole."""
    out = dict(values)
    for key, value in over.items():
        old = out.get(key)
        out[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return out
