"""A run that is killed at any instant, taken up as often as it takes, ends with the bits of the unbroken run."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from budwood.files import sha256_file

# Three systems whose state differs: averaged weights and mixing after a solved head; a dense top trained by momentum on
# kept features, then the last block; a net from scratch with repeats of rare classes.
RECIPES = {
    "averaged": """
        [train]
        stages = [{ trains = "head" }, { trains = "all", epochs = 40 }]
        ema = 0.9
        patience = 100
    """,
    "top": """
        [model]
        top = ["dense 16", "batchnorm", "dropout 0.2"]
        [augment]
        cutmix = 0.0
        [train]
        stages = [{ trains = "head", epochs = 12, optimizer = "sgd", lr = 0.01 }, { trains = 1, epochs = 10 }]
        schedule = { kind = "triangular", step_size = 2 }
        ema = 0.0
        patience = 100
    """,
    "scratch": """
        [balance]
        method = "oversampling"
        [train]
        stages = [{ trains = "all", epochs = 50, optimizer = "rmsprop", lr = 1e-3, schedule = "plateau" }]
        monitor = "val_accuracy"
        patience = 100
    """,
}
SMALL = """
seed = 3
[model]
backbone = "{backbone}"
pretrained = false
size = 32
[head]
penalties = [0.01, 0.1]
folds = 2
[train]
batch_size = 4
views = 2
precision = "float32"
checkpoint_seconds = 0.02
"""
BACKBONES = {"averaged": "test_efficientnet", "top": "test_efficientnet", "scratch": "vanilla"}


# Starts the run, or goes on with it, and kills it after so many seconds; gives the exit code.
Live = Callable[..., int]


def write_recipe(name: str, folder: Path) -> Path:
    """The recipe as a file: what is common, then what is its own, table by table."""
    import tomllib

    import tomli_w

    values = tomllib.loads(SMALL.format(backbone=BACKBONES[name]))
    for table, keys in tomllib.loads(RECIPES[name]).items():
        values[table] = {**values.get(table, {}), **keys}
    file = folder / f"{name}.toml"
    file.write_text(tomli_w.dumps({"name": name, **values}))
    return file


def arguments(photos: Path, recipe: Path, out: Path) -> list[str]:
    """What follows ``budwood``."""
    return ["fit", str(photos), "--recipe", str(recipe), "--out", str(out), "--threads", "1", "--resume"]


def surroundings(cache: Path) -> dict[str, str]:
    """Variables of a run with a cache and a place for scratch files of its own."""
    scratch = cache.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    return {"OMP_NUM_THREADS": "1", "BUDWOOD_CACHE": str(cache), "TMPDIR": str(scratch)}


def in_a_new_interpreter(photos: Path, recipe: Path, out: Path, *, cache: Path, kill_after: float | None = None) -> int:
    """As a person would start it."""
    command = [sys.executable, "-m", "budwood.cli.main", *arguments(photos, recipe, out)]
    environment = {**os.environ, **surroundings(cache)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=out.parent) as process:
        try:
            _, err = process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        else:
            assert process.returncode == 0, err
    return process.returncode


@pytest.fixture
def forked(budwood_process: Callable[..., Any]) -> Live:
    """The same without the seconds that imports take, in which a kill would tell nothing."""

    def live(photos: Path, recipe: Path, out: Path, *, cache: Path, kill_after: float | None = None) -> int:
        process = budwood_process(*arguments(photos, recipe, out), cwd=out.parent, **surroundings(cache))
        if process.ended(within=200 if kill_after is None else kill_after) is None:
            process.kill()
        code = process.ended(within=60)
        assert code in (0, -signal.SIGKILL), process.said.read_text()
        return code

    return live


def leftovers(*folders: Path) -> list[str]:
    """Files that no finished process leaves."""
    found = [file for folder in folders for file in folder.rglob("*")]
    odd = (".tmp", ".checkpoint", ".partial")
    begins = (".probe-", "budwood-", "checkpoints")
    return [str(f) for f in found if f.name.endswith(odd) or f.name.startswith(begins)]


def rows(out: Path) -> list[dict[str, str]]:
    """The epochs without what a clock says."""
    with (out / "history.csv").open() as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in csv.DictReader(file)
        ]


def kill_until_done(photos: Path, name: str, folder: Path, *, live: Live, kills: int, seed: int) -> int:
    """Compare a run that is killed at random instants with an unbroken one; returns the number of kills.

    The unbroken one has an interpreter of its own, in which sets have another order.
    """
    recipe = write_recipe(name, folder)
    whole = folder / "whole"
    assert in_a_new_interpreter(photos, recipe, whole, cache=folder / "cache0") == 0
    began = time.monotonic()
    assert live(photos, recipe, folder / "timed", cache=folder / "cache1") == 0
    seconds = time.monotonic() - began
    draw, done = random.Random(seed), 0
    for number in range(1000):
        out, cache = folder / f"run{number}", folder / f"cache{number + 2}"
        while code := live(photos, recipe, out, cache=cache, kill_after=draw.uniform(0.1, seconds)):
            assert code == -signal.SIGKILL
            done += 1
        assert sha256_file(out / "bundle/model.safetensors") == sha256_file(whole / "bundle/model.safetensors")
        assert rows(out) == rows(whole)
        assert leftovers(out, cache, cache.with_name("scratch")) == []
        if done >= kills:
            return done
    raise AssertionError("too few kills")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["top"])
@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_to_the_same_weights(name: str, photos: Path, tmp_path: Path, forked: Live) -> None:
    assert kill_until_done(photos, name, tmp_path, live=forked, kills=2, seed=1) >= 2


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", RECIPES)
def test_two_hundred_kills_lose_nothing(name: str, photos: Path, tmp_path: Path, forked: Live) -> None:
    assert kill_until_done(photos, name, tmp_path, live=forked, kills=67, seed=7) >= 67


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", RECIPES)
def test_kills_while_python_still_starts_lose_nothing(name: str, photos: Path, tmp_path: Path) -> None:
    assert kill_until_done(photos, name, tmp_path, live=in_a_new_interpreter, kills=5, seed=8) >= 5
