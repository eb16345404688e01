"""What commands that train do before torch is imported: missing weights are told at once. No picture is read."""

from __future__ import annotations

from collections.abc import Sequence


def make_ready(recipe: str, overrides: Sequence[str], *, tiny: bool) -> None:
    """Refuse a recipe whose weights cannot be had, and set up the allocator.

    Raises:
        UsageError: there is no such recipe. SettingsError: an override is none.
        BackboneError: the weights are neither here nor within reach.
    """
    from budwood import machine
    from budwood.config import apply_overrides, parse_toml
    from budwood.models.hub import refuse_unreachable
    from budwood.recipes import read_recipe

    name, text = read_recipe(recipe)
    settings = apply_overrides(parse_toml(text, source=f"recipe {name}"), overrides)
    refuse_unreachable({**settings, "tiny": tiny or settings.get("tiny")})
    machine.tune_allocator()
