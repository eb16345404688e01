"""Settings that are wrong: exit code 2, the wrong key or value, and the nearest right one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

RECIPES = [
    pytest.param("name = = 1", ("not valid TOML", "line 1"), id="malformed"),
    pytest.param("[train]\nlrr = 1e-3", ('unknown key "train.lrr"', 'did you mean "train.lr"'), id="unknown key"),
    pytest.param("[model]\nsize = 'big'", ("model.size", "valid integer", "'big'"), id="wrong type"),
    pytest.param("[train]\nmonitor = 'loss'", ("train.monitor", "'loss'", "'val_loss'"), id="closed choice"),
    pytest.param("[train]\nstages = []", ("train", "at least one stage"), id="no stage"),
    pytest.param(
        "[model]\npretrained = false\nweights = 'x.pth'", ("model.weights", "model.pretrained"), id="contradiction"
    ),
]
OVERRIDES = [
    pytest.param("train.lrr=1e-3", ('unknown key "train.lrr"', '"train.lr"'), id="unknown key"),
    pytest.param("trian.lr=1e-3", ('unknown key "trian"', '"train'), id="unknown table"),
    pytest.param("train.stages.0.epoch=3", ('"train.stages.0.epoch"', "epochs"), id="unknown key in a list"),
    pytest.param("train.lr=fast", ("train.lr", "valid number", "'fast'"), id="wrong type"),
    pytest.param("train.lr", ("key=value", '"train.lr"', "for example"), id="no equals sign"),
    pytest.param("train.stages.9.epochs=3", ('"9"', "position from 0 to 0"), id="no such stage"),
    pytest.param("name.first=x", ('"name" is a single value',), id="key below a value"),
    pytest.param("seed=-1", ("seed", "greater than or equal to 0", "-1"), id="out of range"),
    pytest.param("split.test=0.9", ("split.test", "less than 0.5", "0.9"), id="share too large"),
]
USAGE = [
    pytest.param((), "Missing argument", id="no photos"),
    pytest.param(("photos", "--nosuch"), "No such option", id="unknown option"),
    pytest.param(("photos", "--threads", "0"), "--threads", id="no threads"),
    pytest.param(("photos", "--seed", "soon"), "--seed", id="a seed that is no number"),
    pytest.param(("photos", "--split", "no.json"), "no.json", id="a split file that is missing"),
]


@pytest.mark.parametrize(("text", "words"), RECIPES)
def test_a_wrong_recipe_file_names_key_and_remedy(
    text: str, words: tuple[str, ...], call: Callable, photos: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "bad.toml"
    recipe.write_text(text)
    call("fit", photos, "--recipe", recipe).refused(2, "bad", *words)


@pytest.mark.parametrize(("override", "words"), OVERRIDES)
def test_a_wrong_override_names_key_and_remedy(
    override: str, words: tuple[str, ...], call: Callable, photos: Path
) -> None:
    call("fit", photos, "--set", override).refused(2, *words)


@pytest.mark.parametrize(("arguments", "word"), USAGE)
def test_wrong_usage_ends_with_2_and_points_to_help(arguments: tuple[str, ...], word: str, call: Callable) -> None:
    call("fit", *arguments).refused(2, word, "--help")


def test_an_unknown_command_ends_with_2(call: Callable) -> None:
    call("fitt", "photos").refused(2, "fitt", "--help")


@pytest.mark.parametrize("command", ["fit", "demo", "recipes"])
def test_an_unknown_recipe_names_the_nearest(command: str, call: Callable, photos: Path) -> None:
    arguments = {"fit": (photos, "--recipe"), "demo": ("--recipe",), "recipes": ()}[command]
    call(command, *arguments, "trasfer").refused(2, '"trasfer"', 'did you mean "transfer"', "budwood recipes")
    assert not Path("demo").exists()


def test_an_unknown_backbone_names_the_nearest_before_anything_is_written(call: Callable, photos: Path) -> None:
    outcome = call("fit", photos, "--set", "model.backbone=resnt18")
    outcome.refused(2, '"resnt18"', "resnet18", "lite0", "budwood models")
    assert not Path("runs").exists()
    call("models", "nosuchnet").refused(2, "nosuchnet", "shorter")


def test_a_missing_weights_file_is_named(call: Callable, photos: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.safetensors"
    outcome = call("fit", photos, "--threads", "1", "--set", f"model.weights={gone}")
    outcome.refused(2, str(gone), "does not exist", "model.weights")


def test_weights_of_another_network_are_refused(call: Callable, photos: Path, local_weights: Path) -> None:
    outcome = call("fit", photos, "--threads", "1", "--set", f"model.weights={local_weights}")
    outcome.refused(2, str(local_weights), "tensors are missing", "architecture")


def test_a_wrong_split_setting_names_the_nearest(call: Callable, photos: Path) -> None:
    call("split", photos, "--set", "split.tets=0.2").refused(2, '"tets"', '"test"')
    assert not Path("split.json").exists()
