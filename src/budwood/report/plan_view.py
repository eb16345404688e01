"""The stages of a plan as rows of words for the report: every setting filled in, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from budwood.report.schedule_plot import planned_rates
from budwood.report.templating import count
from budwood.report.training_data import PlanRow, StageSpan, sentence
from budwood.train.resolved import ResolvedStage
from budwood.train.schedules import SCHEDULES, ScheduleSpec
from budwood.train.stages import Stage, StageSettings, TrainSpec


def plan_rows(
    spec: TrainSpec,
    resolved: Sequence[ResolvedStage],
    spans: Sequence[StageSpan],
    *,
    head: Mapping[str, Any] | None,
    num_train: int,
) -> tuple[PlanRow, ...]:
    """One row a stage.

    Args:
        resolved: the stages on the run's network; empty where that was not kept (runs of earlier versions).
        spans: the epochs that were run. head: how the head was solved in the first stage, from training.json.
    """
    known = resolved if len(resolved) == len(spec.stages) else [None] * len(spec.stages)
    ran = {span.number: span for span in spans}
    rows = []
    for number, (stage, found) in enumerate(zip(spec.stages, known, strict=True), start=1):
        if number == 1 and head:
            rows.append(_solved(stage, found, head))
        else:
            rows.append(_trained(stage, found, ran.get(number), spec.settings(stage), num_train=num_train))
    return tuple(rows)


def _solved(stage: Stage, found: ResolvedStage | None, head: Mapping[str, Any]) -> PlanRow:
    return PlanRow(
        title=sentence(stage.title),
        trains=_trains(stage, found),
        parameters=_parameters(found),
        epochs=f"solved exactly, penalty {head['penalties'][head['chosen']]:g}",
        augment=count(head["num_views"], "fixed view"),
    )


def _trained(
    stage: Stage, found: ResolvedStage | None, span: StageSpan | None, settings: StageSettings, *, num_train: int
) -> PlanRow:
    planned = planned_rates(
        settings.schedule,
        label=stage.title,
        base=settings.head_lr if stage.is_head else settings.lr,
        num_epochs=settings.epochs,
        steps_per_epoch=max(1, math.ceil(num_train / settings.batch_size)),
    )
    return PlanRow(
        title=sentence(stage.title),
        trains=_trains(stage, found),
        parameters=_parameters(found),
        epochs=_epochs(settings, span),
        optimizer=settings.optimizer,
        rates=_rates(stage, settings),
        schedule=_schedule(settings.schedule),
        planned=planned,
        batch_size=str(settings.batch_size),
        augment=_pairs(stage.augment) if stage.augment else "as the recipe says",
    )


def _trains(stage: Stage, found: ResolvedStage | None) -> str:
    if stage.is_head:
        return "the head"
    if found is None:
        return stage.title
    if found.trained_blocks == 0:
        return f"the head: none of {found.num_blocks} blocks is left to train"
    if found.trained_blocks == found.num_blocks:
        return f"all {found.num_blocks} blocks and the head"
    blocks = found.first_block if found.trained_blocks == 1 else f"{found.first_block} to {found.last_block}"
    return f"{found.trained_blocks} of {found.num_blocks} blocks and the head: {blocks}"


def _parameters(found: ResolvedStage | None) -> str:
    if found is None:
        return ""
    if found.trained_parameters == found.num_parameters:
        return f"all {_number(found.num_parameters)}"
    share = 100 * found.trained_parameters / max(1, found.num_parameters)
    return f"{_number(found.trained_parameters)} of {_number(found.num_parameters)} ({share:.2g} %)"


def _number(count: int) -> str:
    return f"{count / 1e6:.2f} million" if count >= 100_000 else f"{count:,}".replace(",", "\u202f")


def _epochs(settings: StageSettings, span: StageSpan | None) -> str:
    if span is None:
        return f"{settings.epochs} planned"
    run = span.last - span.first + 1
    early = ", stopped early" if run < settings.epochs else ""
    kept = f"; kept: epoch {span.best}" if span.best is not None else ""
    return f"{run} of {settings.epochs}{early}{kept}"


def _rates(stage: Stage, settings: StageSettings) -> str:
    if stage.is_head:
        return f"{settings.head_lr:g}"
    decay = f", times {settings.layer_decay:g} with each block towards the input" if settings.layer_decay < 1 else ""
    return f"{settings.lr:g}{decay}; head {settings.head_lr:g}"


def _schedule(spec: ScheduleSpec) -> str:
    usual = SCHEDULES[spec.kind].defaults
    own = {key: value for key, value in spec.model_dump().items() if key in usual and value != usual[key]}
    name = spec.kind.replace("_", " ")
    return f"{name} ({_pairs(own)})" if own else name


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    if isinstance(value, list | tuple):
        return " to ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
