"""From history and training.json to rows of words: what a reader learns of a plan and of what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from budwood.evaluation.predictions import Predictions
from budwood.report.training_data import Curves, HeadSelection, TrainingView
from budwood.report.training_view import sayings, training_view
from budwood.train.history import EpochRow, History
from budwood.train.resolved import ResolvedStage
from budwood.train.stages import Stage, TrainSpec

HEAD = {
    "penalties": [0.01, 0.1],
    "accuracies": [0.5, 0.6],
    "deviations": [0.1, 0.1],
    "chosen": 1,
    "num_folds": 5,
    "num_views": 1,
}
SPEC = TrainSpec(
    stages=(
        Stage(),
        Stage(trains=2, epochs=6, lr=2e-4, augment={"rotation": 20.0, "scale": [0.9, 1.1]}),
        Stage(trains="all", epochs=4, schedule={"kind": "step", "gamma": 0.5}, layer_decay=0.8, batch_size=16),
    )
)
HEAD_ROW = ResolvedStage(
    title=SPEC.stages[0].title,
    solved=True,
    first_block="",
    last_block="",
    trained_blocks=0,
    num_blocks=5,
    trained_parameters=2056,
    num_parameters=1_000_000,
)
TWO = replace(
    HEAD_ROW, title=SPEC.stages[1].title, solved=False, first_block="blocks.3", last_block="head_conv", trained_blocks=2
)
TWO = replace(TWO, trained_parameters=400_000, epochs_run=3, best_epoch=2)
ALL = replace(
    TWO, title=SPEC.stages[2].title, trained_blocks=5, trained_parameters=1_000_000, epochs_run=4, best_epoch=7
)


def history(make_row: Callable[..., EpochRow]) -> History:
    return History(rows=tuple(make_row(e, stage=SPEC.stages[1 if e <= 3 else 2].title) for e in range(1, 8)))


def view(shown: History, **training: object) -> TrainingView:
    usual = {"head": HEAD, "best_epochs": [2, 7], "plan": [s.to_dict() for s in (HEAD_ROW, TWO, ALL)]}
    values = {key: value for key, value in {**usual, **training}.items() if value != "left out"}
    return training_view(SPEC, history=shown, training=values, counts={"train": 80, "val": 20}, val=None)


def test_every_setting_of_a_stage_is_filled_in(make_row: Callable[..., EpochRow]) -> None:
    head, two, every = view(history(make_row)).plan
    assert (head.trains, head.epochs, head.augment) == ("the head", "solved exactly, penalty 0.1", "1 fixed view")
    assert head.optimizer == head.schedule == head.rates == ""
    assert head.planned is None
    assert two.trains == "2 of 5 blocks and the head: blocks.3 to head_conv"
    assert two.parameters == "0.40 million of 1.00 million (40 %)"
    assert two.epochs == "3 of 6, stopped early; kept: epoch 2"
    assert two.rates == "0.0002; head 0.003"
    assert two.augment == "rotation 20, scale 0.9 to 1.1"
    assert every.trains == "all 5 blocks and the head"
    assert every.parameters == "all 1.00 million"
    assert every.epochs == "4 of 4; kept: epoch 7"
    assert every.rates == "0.001, times 0.8 with each block towards the input; head 0.003"
    assert every.schedule == "step (gamma 0.5)"
    assert (every.optimizer, every.batch_size, every.augment) == ("adamw", "16", "as the recipe says")
    assert every.planned is not None
    assert max(every.planned.rates) == 1e-3


def test_run_of_an_earlier_version_shows_what_is_known(make_row: Callable[..., EpochRow]) -> None:
    found = view(history(make_row), plan="left out")
    assert [row.trains for row in found.plan] == ["the head", SPEC.stages[1].title, SPEC.stages[2].title]
    assert {row.parameters for row in found.plan} == {""}
    assert [row.epochs for row in found.plan[1:]] == ["3 of 6, stopped early; kept: epoch 2", "4 of 4; kept: epoch 7"]
    assert found.says == found.caches == ()


def test_stages_of_one_title_are_told_apart_by_the_plan(make_row: Callable[..., EpochRow]) -> None:
    rows = History(rows=tuple(make_row(e, stage="fine-tuning of the whole network") for e in range(1, 8)))
    (_, curves) = view(rows).phases
    assert isinstance(curves, Curves)
    assert [(s.number, s.first, s.last, s.best) for s in curves.stages] == [(2, 1, 3, 2), (3, 4, 7, 7)]
    (_, together) = view(rows, plan="left out").phases
    assert isinstance(together, Curves)
    assert [(s.first, s.last, s.best) for s in together.stages] == [(1, 7, 7)]


def test_head_that_was_solved_has_no_curves() -> None:
    found = training_view(
        TrainSpec(), history=History(), training={"head": HEAD, "best_epochs": []}, counts={}, val=None
    )
    assert [type(phase) for phase in found.phases] == [HeadSelection]
    assert len(found.plan) == 1


def answers(predicted: list[int], targets: list[int]) -> Predictions:
    probs = np.eye(3, dtype=np.float32)[predicted]
    paths = tuple(f"{i}.png" for i in range(len(targets)))
    return Predictions(probs=probs, targets=np.array(targets), paths=paths, classes=("<b>", "[red]", "c"))


def test_gravest_comes_first(make_row: Callable[..., EpochRow]) -> None:
    notes = ["memory ran out: batches pass in pieces", "in epoch 2 the loss became nan; the epoch begins again"]
    found = sayings(history(make_row), answers([2] * 12, [0, 1, 2] * 4), notes=notes)
    words = [each.word for each in found]
    assert words[:2] == ["collapsed", "on the way"]
    assert words.index("memory") > words.index("on the way")
    assert [each.severity for each in found] == sorted(
        (each.severity for each in found), key=["error", "warning", "info"].index
    )


def test_a_saying_is_a_sentence_that_does_not_repeat_its_word(make_row: Callable[..., EpochRow]) -> None:
    rows = [make_row(e, val_loss=0.5 + 0.1 * abs(e - 3), val_accuracy=0.7, train_accuracy=0.99) for e in range(1, 9)]
    found = sayings(History(rows=tuple(rows)), answers([0, 1, 2] * 9, [0, 1, 2] * 9), notes=())
    over = next(each for each in found if each.word == "overfitting")
    assert over.text.startswith("After epoch 3 the validation loss rose")
    assert over.text.endswith(".")


def test_answers_that_were_not_kept_leave_the_notes() -> None:
    assert [each.text for each in sayings(History(), None, notes=["it began again"])] == ["It began again."]


@pytest.mark.parametrize(
    ("use", "predicted", "real"),
    [
        pytest.param({"use": True, "predicted_ratio": 2.0, "real_ratio": 1.8}, 2.0, 1.8, id="kept"),
        pytest.param({"use": False, "predicted_ratio": 0.9, "real_ratio": None}, 0.9, None, id="not worth it"),
        pytest.param({"use": False, "predicted_ratio": 1.0, "real_ratio": None}, None, None, id="impossible"),
    ],
)
def test_kept_activations_tell_forecast_and_truth(
    use: dict, predicted: float | None, real: float | None, make_row: Callable[..., EpochRow]
) -> None:
    prefix = "used" if use["use"] else "not used"
    cache = {"stage": "fine-tuning", "reason": f"{prefix}: 20 epochs", "bytes": 5, "seconds": 1.5, **use}
    (row,) = view(history(make_row), caches=[cache]).caches
    assert (row.stage, row.reason, row.predicted, row.real) == ("Fine-tuning", "20 epochs.", predicted, real)
    assert row.kept == use["use"]
