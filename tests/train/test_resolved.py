"""A plan on a network: which blocks train, and how many parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from budwood.models.build import Classifier
from budwood.train.freezing import freeze
from budwood.train.history import EpochRow, History
from budwood.train.resolved import ResolvedStage, resolve_stages
from budwood.train.stage_input import FitResult
from budwood.train.stages import Stage, TrainSpec


def result(model: Classifier, *, first: int, epochs: int) -> FitResult:
    rows = tuple(
        EpochRow(
            stage="s",
            epoch=first + i,
            lr=1.0,
            loss=1.0,
            val_loss=1.0,
            val_accuracy=0.5,
            seconds=2.0,
            images_per_second=1.0,
            best=True,
        )
        for i in range(epochs)
    )
    return FitResult(model=model, history=History(rows=rows), best_epoch=first, val_loss=1.0, val_accuracy=0.5)


@pytest.mark.parametrize(
    "stage",
    [Stage(), Stage(trains=2), Stage(trains="all"), Stage(frozen="90/296"), Stage(trains="blocks.1")],
    ids=lambda stage: stage.title,
)
def test_parameters_are_those_that_the_loop_trains(stage: Stage, tiny: Callable[..., Classifier]) -> None:
    model = tiny()
    (found,) = resolve_stages(TrainSpec(stages=(stage,)), model=model, fits=[result(model, first=1, epochs=2)])
    freeze(model, stage)
    assert found.trained_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found.num_parameters == sum(p.numel() for p in model.parameters())
    assert (found.first_block == "") == stage.is_head
    assert (found.trained_blocks == found.num_blocks) == (stage.trains == "all")


def test_epochs_belong_to_their_stage_and_a_solved_head_has_none(tiny: Callable[..., Classifier]) -> None:
    model = tiny()
    spec = TrainSpec(stages=(Stage(), Stage(trains=1), Stage(trains="all")))
    fits = [result(model, first=1, epochs=3), result(model, first=4, epochs=2)]
    found = resolve_stages(spec, model=model, fits=fits)
    assert [each.solved for each in found] == [True, False, False]
    assert [each.epochs_run for each in found] == [0, 3, 2]
    assert [each.best_epoch for each in found] == [0, 1, 4]
    assert [each.seconds for each in found] == [0, 6, 4]
    assert tuple(ResolvedStage.from_dict(each.to_dict()) for each in found) == found


def test_results_that_do_not_belong_to_the_plan_are_refused(tiny: Callable[..., Classifier]) -> None:
    model = tiny()
    with pytest.raises(ValueError, match="1 stages gave 2 results"):
        resolve_stages(TrainSpec(), model=model, fits=[result(model, first=1, epochs=1)] * 2)
