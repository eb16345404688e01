"""Trials by Optuna: seeded, pruned, and after a kill the same as without one."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budwood.errors import DivergedError, IntegrityError, Interrupted, UsageError
from budwood.evaluation.predictions import Predictions
from budwood.search.arms import Arm, ArmAnswer, SweepFolder, Training
from budwood.search.grid import Hopeless, Report
from budwood.search.space import Space
from budwood.search.trials import run_trials

pytest.importorskip("optuna")

SPACE = Space.parse(["lr=log:1e-5..1e-1", "blocks=1..6", "head=[[],[64],[256,64]]"])
IDENTITY = {"over": SPACE.to_json()}
PICTURES = 200


def quality(settings: Mapping[str, Any]) -> float:
    """Best at lr 1e-3, with more blocks and the middle head."""
    return (
        0.9
        - 0.1 * abs(np.log10(settings["lr"]) + 3)
        - 0.02 * (6 - settings["blocks"])
        - 0.05 * (settings["head"] != [64])
    )


def evaluate(settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
    """Answer as well as `quality` says, in three epochs."""
    score = quality(settings)
    for epoch in range(3):
        if report(epoch, score * (0.7 + 0.1 * epoch)):
            raise Hopeless
    targets = np.zeros(PICTURES, dtype=np.int64)
    said = (np.arange(PICTURES) >= round(score * PICTURES)).astype(np.int64)
    predictions = Predictions(
        probs=np.eye(2, dtype=np.float32)[said],
        targets=targets,
        paths=tuple(map(str, range(PICTURES))),
        classes=("x", "y"),
    )
    return ArmAnswer(
        predictions={0: predictions},
        trainings=(Training(seed=0, fold=0, accuracy=score, log_loss=1 - score, seconds=1.0),),
    )


def run(folder: Path, *, trials: int, seed: int = 0, resume: bool = False, evaluate: Any = evaluate) -> list[Arm]:
    store = SweepFolder(folder)
    with store.opened(IDENTITY, resume=resume):
        return list(run_trials(SPACE, evaluate, trials=trials, seed=seed, store=store))


def asked(arms: list[Arm]) -> list[dict[str, Any]]:
    return [arm.settings for arm in arms]


def test_equal_seeds_ask_the_same_and_other_seeds_do_not(tmp_path: Path) -> None:
    first, again = (run(tmp_path / name, trials=10) for name in ("a", "b"))
    assert asked(first) == asked(again)
    assert [arm.state for arm in first] == [arm.state for arm in again]
    assert asked(run(tmp_path / "c", trials=3, seed=1)) != asked(first)[:3]


def test_values_lie_in_the_space(tmp_path: Path) -> None:
    for settings in asked(run(tmp_path / "a", trials=12)):
        assert 1e-5 <= settings["lr"] <= 1e-1
        assert settings["blocks"] in range(1, 7)
        assert settings["head"] in ([], [64], [256, 64])


def test_hopeless_trials_are_stopped_early_and_the_best_ones_never(tmp_path: Path) -> None:
    arms = run(tmp_path / "a", trials=16)
    stopped = [arm for arm in arms if arm.state == "stopped"]
    finished = [arm.answer.score for arm in arms if arm.answer]
    assert stopped
    assert not any(arm.number < 5 for arm in stopped)
    assert all(quality(arm.settings) < max(finished) for arm in stopped)
    assert all(len(arm.reports) < 3 for arm in stopped)
    assert "less than half" in stopped[0].reason


def test_without_pruning_every_trial_ends(tmp_path: Path) -> None:
    store = SweepFolder(tmp_path / "a")
    with store.opened(IDENTITY, resume=False):
        arms = run_trials(SPACE, evaluate, trials=12, seed=0, store=store, prune=False)
    assert {arm.state for arm in arms} == {"finished"}


@pytest.mark.parametrize("at", [9, pytest.param(0, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path: Path, at: int) -> None:
    whole = run(tmp_path / "whole", trials=11)
    calls = 0

    def interrupted(settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            raise Interrupted("stop")
        return evaluate(settings, folder=folder, report=report)

    with pytest.raises(Interrupted):
        run(tmp_path / "broken", trials=11, evaluate=interrupted)
    calls = 0
    went_on = run(tmp_path / "broken", trials=11, resume=True, evaluate=_counting(evaluate, counted := []))
    assert asked(went_on) == asked(whole)
    assert [arm.state for arm in went_on] == [arm.state for arm in whole]
    assert len(counted) == 11 - at


def test_a_trial_that_ended_but_was_not_told_to_the_journal_is_not_run_again(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", trials=10)
    run(tmp_path / "broken", trials=9)
    # as if the process had been killed between the arm's last file and the journal's next line
    journal = tmp_path / "broken" / "journal.log"
    lines = journal.read_text().splitlines(keepends=True)
    told = max(i for i, line in enumerate(lines) if '"op_code": 6' in line or '"op_code":6' in line)
    journal.write_text("".join(lines[:told]))
    counted: list[dict[str, Any]] = []
    went_on = run(tmp_path / "broken", trials=10, resume=True, evaluate=_counting(evaluate, counted))
    assert asked(went_on) == asked(whole)
    assert counted == asked(whole)[9:]


def _counting(inner: Any, counted: list[dict[str, Any]]) -> Any:
    def counting(settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
        counted.append(dict(settings))
        return inner(settings, folder=folder, report=report)  # type: ignore[no-any-return]

    return counting


def test_more_trials_can_be_added_to_a_search_that_ended(tmp_path: Path) -> None:
    run(tmp_path / "a", trials=4)
    counted: list[dict[str, Any]] = []
    arms = run(tmp_path / "a", trials=6, resume=True, evaluate=_counting(evaluate, counted))
    assert len(arms) == 6
    assert len(counted) == 2


def test_a_diverged_trial_counts_and_the_search_goes_on(tmp_path: Path) -> None:
    def diverging(settings: Mapping[str, Any], *, folder: Path, report: Report) -> ArmAnswer:
        if settings["lr"] > 1e-2:
            raise DivergedError("the loss became nan")
        return evaluate(settings, folder=folder, report=report)

    arms = run(tmp_path / "a", trials=12, evaluate=diverging)
    assert {arm.state for arm in arms} >= {"failed", "finished"}
    assert len(arms) == 12


def test_a_stale_lock_of_a_killed_process_does_not_hold_the_search_up(tmp_path: Path) -> None:
    run(tmp_path / "a", trials=2)
    lock = tmp_path / "a" / "journal.log.lock"
    lock.write_text("")
    assert len(run(tmp_path / "a", trials=3, resume=True)) == 3
    assert not lock.exists()


def test_a_missing_arm_is_said(tmp_path: Path) -> None:
    run(tmp_path / "a", trials=2)
    (tmp_path / "a" / "arms" / "001" / "outcome.json").unlink()
    with pytest.raises(IntegrityError, match="001 is missing"):
        run(tmp_path / "a", trials=3, resume=True)


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_optuna(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "optuna", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_optuna)
    with pytest.raises(UsageError, match=r"budwood\[sweep\]"):
        run(tmp_path / "a", trials=2)
