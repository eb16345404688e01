"""A grid's arms: each run once, kept whole, found again after a kill, told apart from other sweeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budwood.errors import BackboneError, DivergedError, IntegrityError, Interrupted, OutputError, UsageError
from budwood.evaluation.predictions import Predictions
from budwood.search.arms import Arm, ArmAnswer, SweepFolder, Training
from budwood.search.grid import Hopeless, Report, run_grid
from budwood.search.space import Space

IDENTITY = {"over": ["a=1,2", "b=x,y"], "seeds": [0]}
SPACE = Space.parse(IDENTITY["over"])


def answer_of(settings: Mapping[str, Any], *, share: float = 0.5, seeds: tuple[int, ...] = (0,)) -> ArmAnswer:
    """Answers to ten pictures, ``share`` of them right."""
    targets = np.arange(10) % 2
    said = np.where(np.arange(10) < round(10 * share), targets, 1 - targets)
    predictions = Predictions(
        probs=np.eye(2, dtype=np.float32)[said],
        targets=targets,
        paths=tuple(f"{i}.png" for i in range(10)),
        classes=("x", "y"),
    )
    trainings = tuple(Training(seed=seed, fold=0, accuracy=share, log_loss=0.5, seconds=1.0) for seed in seeds)
    return ArmAnswer(predictions=dict.fromkeys(seeds, predictions), trainings=trainings, history="epoch\n1\n")


class Recorder:
    """An `Evaluate` that keeps what it was asked, and does at the n-th call what it was told."""

    def __init__(self, at: int = -1, error: BaseException | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.at, self.error = at, error

    def __call__(self, settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
        self.asked.append(dict(settings))
        folder.mkdir(exist_ok=True)
        (folder / "kept").write_text("here")
        if self.error and len(self.asked) - 1 == self.at:
            raise self.error
        return answer_of(settings)


@pytest.fixture
def store(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


def test_every_combination_is_asked_once_in_order(store: SweepFolder) -> None:
    recorder, heard = Recorder(), list[Arm]()
    with store.opened(IDENTITY, resume=False):
        arms = run_grid(SPACE, recorder, store=store, ended=heard.append)
    assert recorder.asked == list(SPACE.arms())
    assert [arm.settings for arm in arms] == list(SPACE.arms())
    assert tuple(heard) == arms
    assert all(arm.state == "finished" for arm in arms)


def test_a_stopped_grid_goes_on_with_the_arm_that_had_not_ended(store: SweepFolder) -> None:
    with store.opened(IDENTITY, resume=False), pytest.raises(Interrupted):
        run_grid(SPACE, Recorder(at=2, error=Interrupted("stop")), store=store)
    assert [arm.number for arm in store.arms()] == [0, 1]
    again = Recorder()
    with store.opened(IDENTITY, resume=True):
        assert [file.parts[-3:] for file in store.path.rglob("kept")] == [("002", "under-way", "kept")]
        arms = run_grid(SPACE, again, store=store)
    assert again.asked == list(SPACE.arms())[2:]
    assert [arm.number for arm in arms] == [0, 1, 2, 3]


def test_an_arm_is_read_back_as_it_ended(store: SweepFolder) -> None:
    with store.opened(IDENTITY, resume=False):
        arms = run_grid(SPACE, Recorder(), store=store)
    for arm, read in zip(arms, SweepFolder(store.path).arms(), strict=True):
        assert arm.answer is not None
        assert read.answer is not None
        assert (read.number, read.settings, read.state) == (arm.number, arm.settings, arm.state)
        assert read.answer.trainings == arm.answer.trainings
        assert read.answer.history == arm.answer.history
        np.testing.assert_array_equal(read.answer.predictions[0].probs, arm.answer.predictions[0].probs)
        assert read.answer.score == arm.answer.score == 0.5


@pytest.mark.parametrize(
    ("error", "state"),
    [(DivergedError("the loss became nan"), "failed"), (Hopeless(), "stopped"), (UsageError("no"), "failed")],
)
def test_an_arm_that_cannot_be_trained_does_not_end_the_sweep_and_is_not_run_again(
    store: SweepFolder, error: Exception, state: str
) -> None:
    with store.opened(IDENTITY, resume=False):
        arms = run_grid(SPACE, Recorder(at=1, error=error), store=store)
    assert [arm.state for arm in arms] == ["finished", state, "finished", "finished"]
    assert str(error) in arms[1].reason
    again = Recorder()
    with store.opened(IDENTITY, resume=True):
        assert run_grid(SPACE, again, store=store)[1] == arms[1]
    assert again.asked == []


def test_an_arm_whose_backbone_could_not_be_had_is_tried_again(store: SweepFolder) -> None:
    with store.opened(IDENTITY, resume=False):
        run_grid(SPACE, Recorder(at=1, error=BackboneError("no network")), store=store)
    again = Recorder()
    with store.opened(IDENTITY, resume=True):
        arms = run_grid(SPACE, again, store=store)
    assert again.asked == [SPACE.arms()[1]]
    assert arms[1].state == "finished"


def test_a_sweep_without_any_answer_says_why(store: SweepFolder) -> None:
    def diverge(settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
        raise DivergedError("the loss became nan in epoch 1")

    with store.opened(IDENTITY, resume=False), pytest.raises(UsageError, match=r"not one of 4 .* nan in epoch 1"):
        run_grid(SPACE, diverge, store=store)


def test_another_sweep_is_not_gone_on_with_and_the_difference_is_named(store: SweepFolder) -> None:
    with store.opened(IDENTITY, resume=False):
        run_grid(SPACE, Recorder(), store=store)
    with pytest.raises(OutputError, match="another seeds"), store.opened({**IDENTITY, "seeds": [1]}, resume=True):
        pass
    with pytest.raises(OutputError, match="--resume"), store.opened(IDENTITY, resume=False):
        pass


def test_a_folder_with_other_files_is_not_taken(store: SweepFolder) -> None:
    store.path.mkdir()
    (store.path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.tex"), store.opened(IDENTITY, resume=False):
        pass
    assert [entry.name for entry in store.path.iterdir()] == ["thesis.tex"]


def test_a_folder_is_held_by_one_process(store: SweepFolder) -> None:
    with (
        store.opened(IDENTITY, resume=False),
        pytest.raises(OutputError, match="in use"),
        SweepFolder(store.path).opened(IDENTITY, resume=True),
    ):
        pass
    assert not (store.path / ".lock").exists()


@pytest.mark.parametrize("name", ["predictions-0.csv", "history.csv", "outcome.json"])
def test_a_changed_file_of_an_arm_is_not_believed(store: SweepFolder, name: str) -> None:
    with store.opened(IDENTITY, resume=False):
        run_grid(SPACE, Recorder(), store=store)
    file = store.arm_folder(1) / name
    file.write_text(file.read_text()[:-4])
    with pytest.raises(IntegrityError, match=str(store.arm_folder(1))):
        store.arms()


def test_what_an_attempt_with_other_settings_left_is_removed(store: SweepFolder) -> None:
    with store.opened(IDENTITY, resume=False):
        folder = store.begin(0, {"a": 1})
        folder.mkdir()
        (folder / "checkpoint").write_text("of a = 1")
        assert (store.begin(0, {"a": 1}) / "checkpoint").is_file()
        assert not (store.begin(0, {"a": 2}) / "checkpoint").exists()
        assert json.loads((store.arm_folder(0) / "settings.json").read_text()) == {"a": 2}
