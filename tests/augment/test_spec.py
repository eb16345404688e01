"""Settings of augmentation: what is refused, what `auto` becomes, how classes and stages differ."""

from __future__ import annotations

from typing import Any

import pytest

from budwood.augment.spec import AugmentSpec
from budwood.config import validate
from budwood.errors import SettingsError
from budwood.recipe import Recipe, parse_recipe


@pytest.mark.parametrize(
    ("turn_free", "mirror_free", "rotation", "flip"),
    [
        (True, True, 180, "both"),
        (True, False, 180, "none"),
        (False, True, 10, "horizontal"),
        (False, False, 10, "none"),
    ],
)
def test_auto_is_decided_by_what_was_measured(turn_free: bool, mirror_free: bool, rotation: float, flip: str) -> None:
    spec = AugmentSpec().resolved(turn_free=turn_free, mirror_free=mirror_free)
    assert (spec.rotation, spec.flip) == (rotation, flip)
    given = AugmentSpec(rotation=33, flip="horizontal")
    assert given.resolved(turn_free=turn_free, mirror_free=mirror_free) == given


def test_auto_of_a_class_is_decided_and_what_it_left_out_stays_the_others() -> None:
    spec = AugmentSpec(rotation=5, flip="none", classes={"a": {"rotation": "auto"}, "b": {"shift": 0.3}})
    decided = spec.resolved(turn_free=True, mirror_free=True)
    assert (decided.for_class("a").rotation, decided.for_class("a").flip) == (180, "none")
    assert (decided.for_class("b").rotation, decided.for_class("b").shift) == (5, 0.3)
    assert decided.for_class("c") == decided


@pytest.mark.parametrize(
    "values",
    [
        {"rotation": -1},
        {"rotation": 181},
        {"flip": "vertical"},
        {"scale": (0, 1)},
        {"scale": (1.2, 0.8)},
        {"shift": 0.6},
        {"shear": 50},
        {"brightness": 1},
        {"hue": 0.6},
        {"grayscale": 1.1},
        {"blur_sigma": (0, 1)},
        {"blur_sigma": (2, 1)},
        {"jpeg_quality": (0, 50)},
        {"jpeg_quality": (50, 101)},
        {"cutout_area": (0.1, 0.95)},
        {"gridmask_area": (-0.1, 0.2)},
        {"cutmix": 0.7, "mixup": 0.7},
        {"cutmix_area": (0.5, 1.2)},
        {"mixup_beta": 0},
        {"sharpen": 1},
        {"classes": {"a": {"rotation": 200}}},
        {"classes": {"a": {"cutmix": 0.5}}},  # a mix concerns pictures of two classes
    ],
    ids=str,
)
def test_impossible_spec_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        AugmentSpec(**values)


def test_error_in_a_class_names_the_place_and_the_nearest_key() -> None:
    wrong = {"augment": {"classes": {"Species1": {"rotaton": 5}}}}
    with pytest.raises(
        SettingsError, match=r'augment.classes: class "Species1" has the unknown key "rotaton".*"rotation"'
    ):
        validate(Recipe, wrong, source="recipe x")
    with pytest.raises(SettingsError, match=r'"cutmix" concerns whole batches, so class "a" cannot have its own'):
        validate(Recipe, {"augment": {"classes": {"a": {"cutmix": 0}}}}, source="recipe x")
    with pytest.raises(SettingsError, match=r"augment.classes.a.shift: .*less than or equal to 0.5"):
        validate(Recipe, {"augment": {"classes": {"a": {"shift": 2}}}}, source="recipe x")
    with pytest.raises(SettingsError, match=r"augment.jpeg_quality: takes the smallest and the largest value"):
        validate(Recipe, {"augment": {"jpeg_quality": [90, 30]}}, source="recipe x")


def test_settings_of_a_class_survive_a_recipe_file_as_they_were_given() -> None:
    recipe = Recipe(augment=AugmentSpec(shift=0.3, classes={"a b": {"rotation": 20.0, "jpeg_quality": (40, 50)}}))
    again = parse_recipe(recipe.to_toml(), source="a run")
    assert again == recipe
    # Defaults that the class never set must not come back as its own.
    assert again.augment.for_class("a b").shift == 0.3


def test_overrides_change_single_keys_and_add_to_those_of_a_class() -> None:
    spec = AugmentSpec(shift=0.3, classes={"a": {"rotation": 20}, "b": {"flip": "none"}})
    new = spec.with_overrides({"cutmix": 0, "classes": {"a": {"hue": 0.1}, "c": {"blur": 1}}})
    assert (new.cutmix, new.shift) == (0, 0.3)
    assert (new.for_class("a").rotation, new.for_class("a").hue, new.for_class("a").shift) == (20, 0.1, 0.3)
    assert (new.for_class("b").flip, new.for_class("c").blur) == ("none", 1)
    assert spec.with_overrides({}) == spec
    assert spec.cutmix == 0.5


@pytest.mark.parametrize(
    "values",
    [{"cutmx": 0}, {"scale": 1}, {"cutmix": 0.8, "mixup": 0.8}, {"classes": {"a": 3}}, {"classes": 3}],
    ids=str,
)
def test_wrong_override_is_an_error_in_the_users_words(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="stage 2: "):
        AugmentSpec(classes={"a": {"hue": 0.1}}).with_overrides(values, source="stage 2")


def test_settings_of_a_class_that_is_not_there_are_refused() -> None:
    spec = AugmentSpec(classes={"Speces1": {"rotation": 5}})
    with pytest.raises(SettingsError, match=r'no class "Speces1"; did you mean "Species1"\?'):
        spec.check_classes(["Species1", "Species2"])
    with pytest.raises(SettingsError, match=r'the classes are "oak", "elm"$'):
        spec.check_classes(["oak", "elm"])
    AugmentSpec(classes={"oak": {"rotation": 5}}).check_classes(["oak", "elm"])
