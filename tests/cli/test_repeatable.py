"""The same settings give the same bytes, whatever the number of workers and whether the cache was filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def first(photos: Path, steady: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run with fixed weights, made with an empty cache."""
    from budwood.cli.main import run

    out = tmp_path_factory.mktemp("first") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUDWOOD_CACHE", str(tmp_path_factory.mktemp("empty-cache")))
        assert run(["fit", str(photos), *steady, "--out", str(out)]) == 0
    return out


def weights(run: Path) -> bytes:
    return (run / "bundle" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="again", marks=pytest.mark.slow),
        pytest.param(("--set", "train.workers=2"), id="two workers"),
    ],
)
def test_the_same_seed_gives_the_same_split_and_weights(
    options: tuple[str, ...], first: Path, call: Callable, photos: Path, steady: tuple[str, ...], tmp_path: Path
) -> None:
    outcome = call("fit", photos, *steady, *options, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.text
    assert (tmp_path / "run" / "split.json").read_bytes() == (first / "split.json").read_bytes()
    assert weights(tmp_path / "run") == weights(first)
    again, before = ((run / "predictions" / "test.csv").read_bytes() for run in (tmp_path / "run", first))
    assert again == before


def test_the_runs_own_recipe_makes_the_run_again(first: Path, call: Callable, photos: Path, tmp_path: Path) -> None:
    outcome = call("fit", photos, "--recipe", first / "recipe.toml", "--threads", "1", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.text
    assert (tmp_path / "run" / "recipe.toml").read_bytes() == (first / "recipe.toml").read_bytes()
    assert weights(tmp_path / "run") == weights(first)


def test_another_seed_gives_another_split_and_other_weights(
    first: Path, call: Callable, photos: Path, steady: tuple[str, ...], tmp_path: Path
) -> None:
    assert call("fit", photos, *steady, "--seed", "8", "--out", tmp_path / "run").code == 0
    assert (tmp_path / "run" / "split.json").read_bytes() != (first / "split.json").read_bytes()
    assert weights(tmp_path / "run") != weights(first)


@pytest.mark.slow
def test_an_untrained_network_is_the_same_for_the_same_seed(
    transfer_run: Path, call: Callable, photos: Path, tmp_path: Path
) -> None:
    options = ("--recipe", "transfer", "--tiny", "--threads", "1")
    assert call("fit", photos, *options, "--out", tmp_path / "run").code == 0
    assert weights(tmp_path / "run") == weights(transfer_run)
