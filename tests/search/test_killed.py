"""SIGKILL at random instants of a search: no arm is lost, none is run twice, and it asks what it would have asked."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")

TRIALS = 12
SEARCH = """
import sys, time
from pathlib import Path
import numpy as np
from budwood.evaluation.predictions import Predictions
from budwood.search.arms import ArmAnswer, SweepFolder, Training
from budwood.search.grid import Hopeless
from budwood.search.space import Space
from budwood.search.trials import run_trials

space = Space.parse(["lr=log:1e-5..1e-1", "head=a,b,c"])
store = SweepFolder(Path(sys.argv[1]))
TRIALS = int(sys.argv[2])

def evaluate(settings, *, folder, report):
    with open(store.path.with_suffix(".log"), "a") as log:
        log.write("begun\\n")
    score = 1 - abs(np.log10(settings["lr"]) + 3) / 4
    for epoch in range(3):
        time.sleep(0.02)
        if report(epoch, score * (1 + epoch) / 3):
            raise Hopeless
    said = (np.arange(100) >= 100 * score).astype(int)
    answers = Predictions(probs=np.eye(2, dtype=np.float32)[said], targets=np.zeros(100, dtype=np.int64),
                          paths=tuple(map(str, range(100))), classes=("x", "y"))
    return ArmAnswer(predictions={0: answers},
                     trainings=(Training(seed=0, fold=0, accuracy=score, log_loss=0.0, seconds=0.1),))

with store.opened({"over": space.to_json()}, resume=True):
    run_trials(space, evaluate, trials=TRIALS, seed=0, store=store)
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    with folder.with_suffix(".errors").open("ab") as errors:
        return subprocess.Popen([sys.executable, "-c", SEARCH, str(folder), str(TRIALS)], stderr=errors)


def arms(folder: Path) -> list[tuple[object, object]]:
    """Settings and outcome of every arm, in order."""
    return [
        (json.loads((arm / "settings.json").read_text()), json.loads((arm / "outcome.json").read_text()))
        for arm in sorted((folder / "arms").iterdir())
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, object]]:
    folder = tmp_path_factory.mktemp("search") / "whole"
    assert start(folder).wait() == 0
    return arms(folder)


def killed_until_done(folder: Path, *, seed: int) -> int:
    """Kill the search again and again, each time a little later; returns how often it was killed."""
    chance, kills = random.Random(seed), 0
    while True:
        process = start(folder)
        before = len(list(folder.glob("arms/*/outcome.json")))
        wished = before + chance.randint(0, 3)
        while process.poll() is None and len(list(folder.glob("arms/*/outcome.json"))) <= wished:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.1)
        if process.poll() is not None:
            assert process.returncode == 0, folder.with_suffix(".errors").read_text()
            return kills
        process.kill()
        process.wait()
        kills += 1


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_a_search_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    unbroken: list[tuple[object, object]], tmp_path: Path, seed: int
) -> None:
    folder = tmp_path / "search"
    kills = killed_until_done(folder, seed=seed)
    assert kills >= 2
    assert arms(folder) == unbroken
    begun = (tmp_path / "search.log").read_text().count("begun")
    assert begun <= TRIALS + kills  # only what was under way is begun again
    assert not list(folder.rglob(".*.tmp"))
