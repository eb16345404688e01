"""What the curves say: each fault is named on curves that show it, and on no others."""

from __future__ import annotations

import numpy as np
import pytest

from budwood.train.diagnosis import Diagnosis, diagnose
from budwood.train.history import EpochRow, History

CLASSES = ("cherry", "strawberry", "tomato")
TARGETS = np.arange(90) % 3


def row(epoch: int, *, val_loss: float, val: float, train: float, running: float | None = None) -> EpochRow:
    return EpochRow(
        stage="fine-tuning",
        epoch=epoch,
        lr=1e-3,
        loss=val_loss,
        accuracy=train if running is None else running,
        val_loss=val_loss,
        val_accuracy=val,
        train_loss=val_loss,
        train_accuracy=train,
        seconds=1,
        images_per_second=1,
        best=False,
    )


def kinds(rows: list[EpochRow], predicted: np.ndarray = TARGETS) -> dict[str, Diagnosis]:
    return {each.kind: each for each in diagnose(History(rows=tuple(rows)), predicted, TARGETS, classes=CLASSES)}


def test_one_answer_for_all_is_called_collapsed_with_its_class() -> None:
    found = kinds([], np.full(90, 2))
    assert "collapsed" in found
    assert '90 of 90 validation pictures were answered "tomato", which 30' in found["collapsed"].text
    assert "learning rate" in found["collapsed"].text


def test_a_class_that_is_never_answered_is_named() -> None:
    found = kinds([], np.where(TARGETS == 1, 0, TARGETS))
    assert set(found) == {"unanswered"}
    assert '"strawberry" (30)' in found["unanswered"].text


def test_a_rising_validation_loss_beside_known_training_pictures_is_overfitting() -> None:
    rows = [row(e, val_loss=0.5 + 0.1 * abs(e - 3), val=0.8, train=0.99) for e in range(1, 9)]
    assert "overfit" in kinds(rows)
    assert "after epoch 3" in kinds(rows)["overfit"].text


def test_training_pictures_that_are_not_learnt_are_underfitting() -> None:
    rows = [row(e, val_loss=1.0, val=0.45, train=0.46) for e in range(1, 6)]
    assert "underfit" in kinds(rows)
    assert "46%" in kinds(rows)["underfit"].text


def test_a_loss_that_still_falls_asks_for_more_epochs() -> None:
    rows = [row(e, val_loss=1 / e, val=0.9, train=0.92) for e in range(1, 6)]
    assert "unfinished" in kinds(rows)


@pytest.mark.parametrize(("swing", "words"), [(0.02, "noise"), (0.4, "swings by 40.0 points")])
def test_late_swings_are_held_against_what_chance_allows(swing: float, words: str) -> None:
    rows = [row(e, val_loss=0.5, val=0.8 - swing * (e % 2), train=0.85) for e in range(1, 11)]
    assert words in kinds(rows)["noise"].text


def test_validation_above_training_is_explained_by_measuring_alike() -> None:
    rows = [row(e, val_loss=0.3, val=0.9, train=0.95, running=0.7) for e in range(1, 4)]
    assert "measured alike, the training pictures reach 95%" in kinds(rows)["curves"].text
    assert "curves" not in kinds([row(e, val_loss=0.3, val=0.9, train=0.95) for e in range(1, 4)])


def test_good_training_is_not_scolded() -> None:
    rows = [row(e, val_loss=0.3, val=0.9 + 0.001 * e, train=0.93) for e in range(1, 9)]
    assert set(kinds(rows)) <= {"noise"}
    assert kinds([]) == {}
