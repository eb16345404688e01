"""`fit_members`: the recipes that an ensemble recipe names, trained one after the other on one split, then joined.

Every member is a run of its own in ``members/`` of the ensemble's folder, with its own report; the first one's split is
the split of all.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from budwood.config import parse_toml, validate
from budwood.ensembling import join
from budwood.errors import Interrupted, SettingsError, UsageError
from budwood.members import open_members
from budwood.models.backbones import check_name
from budwood.models.hub import refuse_unreachable
from budwood.order import Order
from budwood.pipeline import fit
from budwood.recipe import Recipe, shrink
from budwood.recipes import read_recipe
from budwood.runs import Run, RunDir
from budwood.test_lock import Looking

# What is an ensemble's own; everything else in its recipe is handed on to the members.
_OWN = frozenset({"name", "description", "ensemble"})


def fit_members(order: Order) -> Run:
    """Train the members of an ensemble recipe on one split, join them, and score the ensemble.

    Members and ensemble are one look at the test part: how they are joined does not hang on it, and nobody chooses.

    Args:
        order: its recipe names the members, and its settings hold for every one of them.

    Raises:
        UsageError: a setting is wrong. DataError: the pictures cannot be used. Interrupted: stopped.
    """
    recipe, backbones = order.recipe, order.recipe.ensemble.backbones
    members = member_recipes(recipe)
    for member in members:  # before the first is trained for an hour
        check_name(member.model.backbone)
        refuse_unreachable(member.model_dump(mode="json"))
    if done := order.finished():
        return done
    folders = [
        RunDir(order.path).members / f"{number}-{backbones[number - 1] if backbones else Path(member.name).stem}"
        for number, member in enumerate(members, start=1)
    ]
    looking = Looking(
        run=order.path,
        kind="ensemble",
        recipe=recipe.name,
        seed=recipe.seed,
        settings=recipe.to_toml(),
        members=tuple(folder.name for folder in folders),
    )
    with order.opened() as (run, journal):
        for number, (member, folder) in enumerate(zip(members, folders, strict=True), start=1):
            journal.write("running", step=f"member {number} of {len(members)}: {member.name}")
            split_file = order.split_file if number == 1 else RunDir(folders[0]).split
            try:
                fit(
                    replace(order, recipe=member, path=folder, split_file=split_file, overwrite=False),
                    looking=looking,
                )
            except Interrupted as stopped:  # it is the ensemble that was stopped, and that can be gone on with
                raise KeyboardInterrupt from stopped
        join(run, journal, open_members(folders), recipe=recipe, looking=looking, listen=order.listen)
    return Run(order.path)


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
