"""Which views a bundle averages: as written, as harmless, or as the validation part chose; and what it records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from budwood.allowed_views import choose_views
from budwood.data.audit import AuditResult
from budwood.data.loader import PixelSet
from budwood.data.scan import scan
from budwood.data.split import split
from budwood.data.store import PictureStore
from budwood.errors import SettingsError
from budwood.evaluation.views import MENUS, View
from budwood.events import Warned, silent
from budwood.export.bundle import load
from budwood.models.build import Classifier, open_backbone, store_side
from budwood.prepare import Dataset, open_pixels, part_of, working_preprocess
from budwood.recipe import Recipe, load_recipe, parse_recipe
from budwood.systems import fit
from budwood.train.device import Device
from budwood.train.features import FeatureSource
from budwood.training import Trainer
from budwood.view_choice import menu_of, tuned_views, view_tables

Bench = tuple[Trainer, PixelSet, Classifier]


@pytest.fixture(scope="module")
def bench(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A trainer with an untrained network, the training part, and a model whose head is solved."""
    recipe = load_recipe("probe", tiny=True, overrides=["predict.views=tuned"])
    backbone = open_backbone(recipe.model)
    store = PictureStore(tmp_path_factory.mktemp("store"), side=store_side(recipe.model, backbone.preprocess))
    catalog = scan(photos, store=store)
    dataset = Dataset(scanned=catalog, catalog=catalog, store=store, audit=AuditResult(findings=(), groups=()))
    preprocess = working_preprocess(dataset, recipe, backbone)
    pixels = open_pixels(dataset, preprocess, listen=silent)
    parts = {part: part_of(pixels, rows) for part, rows in split(catalog, groups=()).parts.items()}
    source = FeatureSource(
        module=backbone.module,
        num_features=backbone.num_features,
        preprocess=preprocess,
        identity="untrained for views",
        bf16=False,
    )
    views = choose_views(recipe, dataset, parts["train"], source, listen=silent)
    trainer = Trainer(
        recipe=recipe, dataset=dataset, backbone=backbone, source=source, views=views, device=Device(), listen=silent
    )
    return trainer, parts["train"], trainer.train(parts["train"], parts["val"]).model


def test_answers_from_kept_features_are_those_of_the_whole_network(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, part, model = bench
    menu = (View(), View(turn=6), View(turn=1, scale=1.1), View(turn=3))
    quick = view_tables(trainer, model, part, menu=menu)
    monkeypatch.setattr("budwood.train.stages.Stage.is_head", False)  # as if the backbone had been trained
    slow = view_tables(trainer, model, part, menu=menu)
    np.testing.assert_allclose(quick, slow, atol=5e-3)  # features are kept in half precision
    np.testing.assert_array_equal(quick[2], slow[2])


def test_the_menu_holds_no_turn_that_changes_what_a_picture_is() -> None:
    assert {view.turn for view in menu_of((0, 4))} == {0, 4}
    assert len(menu_of((0,))) == len({*MENUS["scales"], *MENUS["crops5"]})


def test_tuned_views_replace_those_of_the_bundle_and_nothing_else(bench: Bench) -> None:
    trainer, part, model = bench
    views, found = tuned_views(trainer, model, part)
    assert views.predict[0] == 0
    assert len(views.predict) == len(found.views)
    assert (views.train, views.harmless) == (trainer.views.train, trainer.views.harmless)
    assert found.tried == len(menu_of(trainer.views.harmless))


def test_a_tuned_run_ships_the_views_that_validation_chose(photos: Path, tmp_path: Path) -> None:
    run = fit(photos, recipe="probe", overrides=["predict.views=tuned"], tiny=True, threads=1, out=tmp_path / "run")
    bundle = load(run.bundle)
    chosen = run.metrics["view_choice"]
    assert [view if isinstance(view, int) else {} for view in bundle.facts.views] == [
        view if isinstance(view, int) else {} for view in chosen["views"]
    ]
    assert ("tta" in run.metrics) == (len(bundle.facts.views) > 1)


@pytest.mark.parametrize(
    ("asked", "predict"),
    [
        ("auto", (0,)),
        ("3", (0,)),
        ("flips", (0, 4, 6, 2)),
        ("[0, 5]", (0, 5)),
        ('[0, {scale = 1.1, right = 0.05}, "mirror"]', (0, View(scale=1.1, right=0.05), 4)),
    ],
)
def test_a_recipe_may_name_views(bench: Bench, asked: str, predict: tuple[int | View, ...]) -> None:
    trainer, part, _ = bench
    recipe = load_recipe("probe", tiny=True, overrides=[f"predict.views={asked}"])
    assert parse_recipe(recipe.to_toml(), source="again") == recipe
    found = choose_views(recipe, trainer.dataset, part, trainer.source, listen=silent)
    assert found.predict == predict
    assert found.turns == tuple(view for view in predict if isinstance(view, int))


def test_views_that_change_what_pictures_are_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, part, _ = bench
    heard: list[str] = []
    recipe = load_recipe("probe", overrides=["predict.views=turns"])
    monkeypatch.setattr("budwood.allowed_views._measure_orientation", lambda *given, **named: None)

    def listen(event: object) -> None:
        heard.extend([event.text] if isinstance(event, Warned) else [])

    choose_views(recipe, trainer.dataset, part, trainer.source, listen=listen)
    assert len(heard) == 1
    assert "turned or mirrored, though that changes what these pictures are (views 1, 2, 3)" in heard[0]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("predict.views=flip", 'no views called "flip"'),
        ("predict.views=[]", "views is empty"),
        ("predict.views=[9]", "whole number from 0 to 7"),
        ("predict.views=[{scale = 9.0}]", "scale is a number from 0.5 to 2"),
        ("predict.views=[{zoom = 1.1}]", "a view is a turn from 0 to 7"),
        ("predict.average=median", "probabilities"),
    ],
)
def test_views_that_there_are_not_are_a_settings_error(override: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_recipe("probe", overrides=[override])


def test_the_recipe_of_the_report_names_eight_views() -> None:
    recipe: Recipe = load_recipe("a3-tta")
    assert len(recipe.predict.named_views()) == 8
    assert recipe.predict.average == "probabilities"
