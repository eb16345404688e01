"""A recipe: defaults, file, overrides, shorthands in this order; its own text gives it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from budwood.errors import SettingsError, UsageError
from budwood.recipe import TINY_BACKBONE, PredictSpec, Recipe, load_recipe, parse_recipe, shrink
from budwood.recipes import own_recipes, read_recipe


def test_the_defaults_are_a_valid_recipe_and_come_back_from_their_text() -> None:
    assert parse_recipe(Recipe().to_toml(), source="defaults") == Recipe()


@pytest.mark.parametrize("tiny", [False, True], ids=["full", "tiny"])
# The reports' recipes: tests/test_seed_recipes.py.
@pytest.mark.parametrize("name", sorted(own_recipes()))
def test_a_recipes_text_gives_the_recipe_again(name: str, tiny: bool, tmp_path: Path) -> None:
    recipe = load_recipe(name, tiny=tiny, seed=5, overrides=["model.dropout=0.1", "augment.cutmix=0.5"])
    assert parse_recipe(recipe.to_toml(), source="text") == recipe
    (tmp_path / "again.toml").write_text(recipe.to_toml())
    assert load_recipe(str(tmp_path / "again.toml")) == recipe


def test_an_override_wins_over_the_file_and_a_shorthand_over_both(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seed = 1\n[train]\nlr = 0.5\nbatch_size = 4\n")
    recipe = load_recipe(str(file), overrides=["train.lr=0.25", "seed=2"], seed=3, folds=4, refit=True)
    assert (recipe.train.lr, recipe.train.batch_size) == (0.25, 4)
    assert (recipe.seed, recipe.split.folds, recipe.refit) == (3, 4, True)
    assert recipe.name == "mine"


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().seed = 3


def test_tiny_shows_that_a_recipe_runs_in_seconds() -> None:
    full = load_recipe("transfer")
    tiny = load_recipe("transfer", tiny=True)
    assert (tiny.model.backbone, tiny.model.pretrained, tiny.model.size) == (TINY_BACKBONE, False, 32)
    assert [stage.trains for stage in tiny.train.stages] == [stage.trains for stage in full.train.stages]
    assert all(stage.epochs == 1 for stage in tiny.train.stages)
    assert tiny.train.batch_size <= 8
    assert tiny.tiny
    assert shrink(tiny) == tiny


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(["model.weights=a.pth", "model.pretrained=false"], "drop one of them", id="weights, untrained"),
        pytest.param(["predict.views=9"], "from 1 to 8", id="too many views"),
        pytest.param(["predict.views=0"], "from 1 to 8", id="no view"),
        pytest.param(["train.stages=[]"], "at least one stage", id="no stage"),
        pytest.param(
            ['train.stages=[{ trains = "all" }, { trains = "head", solve = true }]'],
            "only the first stage can solve",
            id="head is solved late",
        ),
        pytest.param(
            ['model.top=["dense 8"]', 'train.stages=[{ trains = "head", solve = true }]'],
            "only a linear head can be solved",
            id="a top is solved",
        ),
        pytest.param(['train.stages=[{ augment = { flips = "both" } }]'], 'did you mean "flip"', id="stage augment"),
        pytest.param(["train.batch_size=1"], "greater than or equal to 2", id="batch of one"),
        pytest.param(["seed=2147483648"], "less than 2147483648", id="seed too large"),
        pytest.param(["split.folds=2"], "greater than or equal to 3", id="two folds"),
        pytest.param(["train.precision=half"], "'auto', 'float32' or 'bfloat16'", id="unknown precision"),
    ],
)
def test_a_contradiction_is_refused_in_words(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_recipe("transfer", overrides=overrides)


def test_an_unknown_recipe_names_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match='did you mean "probe"') as caught:
        read_recipe("prob")
    assert all(name in str(caught.value) for name in own_recipes())


def test_a_recipe_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(str(tmp_path / "a.toml"))


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_recipe(str(tmp_path))


@pytest.mark.parametrize("views", ["auto", 1, 8])
def test_views_are_auto_or_a_number(views: object) -> None:
    assert PredictSpec(views=views).views == views


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="name is empty"):
        parse_recipe('name = ""', source="mine")


@pytest.mark.parametrize(("name", "words"), [("a3-ensemble3", "joins 3 recipes"), ("a3-cgan", 'system = "synthesis"')])
def test_what_is_no_single_classifier_is_refused_where_one_is_needed(name: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_recipe(name).refuse_other_systems("a sweep")
