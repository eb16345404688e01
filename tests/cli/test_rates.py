"""The range test and the sheet of a recipe on pictures: what they leave, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budwood.errors import SettingsError
from budwood.preview import show_augment
from budwood.rates import rate_test
from budwood.recipe import load_recipe


def test_a_range_test_rises_and_stops_where_the_loss_explodes(photos: Path) -> None:
    recipe = load_recipe("transfer", tiny=True, overrides=["augment.cutmix=0"])
    found = rate_test(photos, recipe=recipe, low=1e-4, high=1e4, steps=30, threads=1)
    assert found.rates[0] == pytest.approx(1e-4)
    assert (np.diff(found.rates) > 0).all()
    assert found.diverged_at is not None
    assert len(found.rates) < 30
    again = rate_test(photos, recipe=recipe, low=1e-4, high=1e4, steps=30, threads=1)
    np.testing.assert_array_equal(again.losses, found.losses)


def test_a_head_stage_on_kept_features_can_be_tested_too(photos: Path) -> None:
    recipe = load_recipe("probe", tiny=True, overrides=['model.top=["dense 8"]'])
    found = rate_test(photos, recipe=recipe, low=1e-4, high=1.0, steps=12, threads=1)
    assert np.isfinite(found.losses).all()


def test_a_stage_without_steps_is_refused_with_those_that_have_some(photos: Path) -> None:
    with pytest.raises(SettingsError, match="no stage 0 that takes gradient steps; those of this recipe: 1"):
        rate_test(photos, recipe=load_recipe("transfer", tiny=True), stage=0, threads=1)
    with pytest.raises(SettingsError, match="those of this recipe: none"):
        rate_test(photos, recipe=load_recipe("probe", tiny=True), threads=1)


def test_the_rates_command_draws_and_suggests(photos: Path, tmp_path: Path, call: Callable) -> None:
    out = tmp_path / "rates.png"
    said = call("rates", photos, "--tiny", "--threads", "1", "--steps", "12", "--out", out)
    assert said.code == 0, said.text
    assert "learning rate" in said.text
    assert out.read_bytes().startswith(b"\x89PNG")
    call("rates", photos, "--tiny", "--out", photos / "x.png").refused(2, "never written to")


def test_each_way_of_augmenting_gets_its_own_sheet(photos: Path, tmp_path: Path) -> None:
    stages = 'train.stages=[{ trains = "all" }, { trains = "all", augment = { grayscale = 1.0, rotation = "auto" } }]'
    recipe = load_recipe("transfer", tiny=True, overrides=[stages])
    files = show_augment(photos, recipe, tmp_path / "sheet.png")
    assert [file.name for file in files] == ["sheet-1.png", "sheet-2.png"]
    assert files[0].read_bytes() != files[1].read_bytes()
    with Image.open(files[1]) as sheet:
        assert sheet.width > sheet.height // 4


def test_a_class_that_is_not_there_is_refused_before_training(photos: Path, tmp_path: Path, call: Callable) -> None:
    setting = "augment.classes.Dahlai.rotation=90"
    refused = call("fit", photos, "--tiny", "--threads", "1", "--out", tmp_path / "run", "--set", setting)
    refused.refused(2, 'no class "Dahlai"')
