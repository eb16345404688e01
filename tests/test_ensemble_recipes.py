"""The recipes of the reports' ensembles and test-time views: what is particular to each, and that they run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from budwood.member_training import member_recipes
from budwood.recipe import load_recipe
from budwood.recipes import reported_figure, seed_recipes
from budwood.systems import fit

ROOT = Path(__file__).parents[1]
ENSEMBLES = ("a2-ensemble7", "a3-ensemble3")


def test_a2s_ensemble_is_the_majority_vote_of_its_seven_best() -> None:
    recipe = load_recipe("a2-ensemble7")
    assert recipe.ensemble.method == "vote"
    networks = [member.model.backbone for member in member_recipes(recipe)]
    assert networks[:5] == ["legacy_xception", "vgg16", "vgg19", "resnetv2_50", "tf_efficientnet_b7"]
    assert networks[5:] == ["homemade", "vanilla"]


def test_a3s_ensemble_is_the_mean_of_three_networks_trained_as_its_best() -> None:
    recipe = load_recipe("a3-ensemble3")
    assert recipe.ensemble.method == "mean"
    members = member_recipes(recipe)
    assert [member.model.backbone for member in members] == ["resnet50", "vgg16", "mobilenetv2_100"]
    best = load_recipe("a3-resnet50-best")
    assert members[0].model_dump(exclude={"sweep"}) == best.model_dump(exclude={"sweep"})
    assert {member.seed for member in members} == {0}


def test_members_are_their_own_recipes_but_for_what_the_ensemble_says() -> None:
    for name in ENSEMBLES:
        recipe = load_recipe(name)
        for member, own in zip(member_recipes(recipe), recipe.ensemble.members, strict=True):
            alone = load_recipe(own)
            assert member.train == alone.train
            assert member.augment == alone.augment


def test_a3s_views_are_eight_of_its_best_model() -> None:
    recipe, best = load_recipe("a3-tta"), load_recipe("a3-resnet50-best")
    apart = {"name", "description", "predict"}
    assert recipe.model_dump(exclude=apart) == best.model_dump(exclude=apart)
    assert recipe.predict.views == "flips+shifts"


@pytest.mark.parametrize("name", [*ENSEMBLES, "a3-tta"])
def test_the_header_and_the_document_say_what_was_reported(name: str) -> None:
    text = seed_recipes()[name]
    header = text.split(f'\nname = "{name}"\n')[0]
    parts = (f"# budwood fit PHOTOS --recipe {name}\n", f"# Report {name[:2].upper()}", "# Comparable: ", "# Differs: ")
    for part in (*parts, "# Weights: ", "# Run time"):
        assert part in header
    document = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{name}` \|.*\| {re.escape(reported_figure(text))} \|", document, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_recipe_runs_from_pictures_to_report(name: str, photos: Path, tmp_path: Path) -> None:
    recipe = load_recipe(name, tiny=True)
    run = fit(photos, recipe=recipe, out=tmp_path / "run", threads=1)
    assert len(run.metrics["ensemble"]["members"]) == len(recipe.ensemble.members)
    assert run.report.is_file()
    assert run.folder.verify() == []
