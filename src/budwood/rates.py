"""The learning-rate range test of a recipe's stage on one's own pictures: which rate is worth trying first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from budwood import cache, machine
from budwood.data.inputs.sources import check_source
from budwood.errors import SettingsError
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent
from budwood.models.build import open_backbone, store_side
from budwood.prepare import make_splits, part_of, read_photos
from budwood.recipe import Recipe
from budwood.train.device import Device
from budwood.train.engine import Engine, NotFiniteError
from budwood.train.feed import Batch, drawn_batches
from budwood.train.freezing import refuse_unknown_blocks, train_mode
from budwood.train.range_test import RangeTest, range_test
from budwood.train.schedules import ScheduleSpec
from budwood.train.state import Progress
from budwood.training import Trainer, open_trainer

_STEP = "range test"


def rate_test(
    photos: str | Path,
    *,
    recipe: Recipe,
    stage: int | None = None,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    threads: int | None = None,
    listen: Listener = silent,
) -> RangeTest:
    """Train one stage of ``recipe`` for some steps at rising rates, from its first weights, and see the loss.

    Args:
        photos: see `fit`; only the training part is used.
        stage: which stage of the plan, from 0; None takes the first that takes gradient steps. It begins from the
            weights before the whole plan, not from those that earlier stages would make.
        low, high, steps: the rates of the backbone; those of the head keep their ratio to it.
        threads: CPU threads; None measures.
        listen: hears of the step ``range test``.

    Raises:
        SettingsError: there is no such stage, or it takes no gradient steps.
    """
    photos = Path(photos).expanduser()
    check_source(photos)
    recipe.refuse_other_systems("the range test")
    torch.manual_seed(recipe.seed)
    backbone = open_backbone(recipe.model)
    refuse_unknown_blocks(recipe.train, backbone)
    found = machine.probe(threads=threads, tuned_allocator=machine.tune_allocator())
    bf16 = {"auto": found.bf16, "bfloat16": True, "float32": False}[recipe.train.precision]
    dataset = read_photos(photos, recipe, side=store_side(recipe.model, backbone.preprocess), listen=listen)
    dataset, splits = make_splits(dataset, recipe, None, listen=listen)
    flat = _without_schedule(recipe)
    trainer, pixels = open_trainer(flat, dataset, splits[0], backbone, device=Device(bf16=bf16), listen=listen)
    number = _chosen_stage(trainer, stage)
    data = trainer.stage_input(number, part_of(pixels, splits[0].parts["train"]), None, [], told=[])
    engine = Engine(trainer.untrained(), data)
    clock = time.perf_counter()
    listen(StepStarted(step=_STEP, total=steps, unit="steps"))
    result = range_test(_stepping(engine, listen), low=low, high=high, steps=steps)
    listen(StepFinished(step=_STEP, seconds=time.perf_counter() - clock, note=f"{len(result.rates)} steps"))
    cache.prune()
    return result


def _without_schedule(recipe: Recipe) -> Recipe:
    """The recipe at constant rates, whatever it plans: the test moves them itself."""
    flat = ScheduleSpec(kind="constant")
    stages = tuple(stage.model_copy(update={"schedule": None}) for stage in recipe.train.stages)
    return recipe.model_copy(
        update={"train": recipe.train.model_copy(update={"schedule": flat, "stages": stages, "ema": 0.0})}
    )


def _chosen_stage(trainer: Trainer, stage: int | None) -> int:
    stages = trainer.recipe.train.stages
    first = 1 if trainer.solves_head else 0
    number = first if stage is None else stage
    if not first <= number < len(stages):
        steps = ", ".join(str(i) for i in range(first, len(stages))) or "none"
        raise SettingsError(f"there is no stage {number} that takes gradient steps; those of this recipe: {steps}")
    return number


def _stepping(engine: Engine, listen: Listener) -> Callable[[float], float]:
    """One training step at the rate asked for; the loss of its batch before the step."""
    train_mode(engine.network)
    stream = _endless(engine)
    only_head = all(group["part"] == "head" for group in engine.optimizer.param_groups)
    base = engine.settings.head_lr if only_head else engine.settings.lr

    def step(rate: float) -> float:
        epoch, batch = next(stream)
        listen(StepAdvanced(step=_STEP))
        try:
            stepped = engine.step(batch, Progress(epoch=epoch, rate=rate / base))
        except NotFiniteError:
            return float("inf")
        return stepped.loss_sum / len(batch.inputs)

    return step


def _endless(engine: Engine) -> Iterator[tuple[int, Batch]]:
    data, epoch = engine.data, 0
    while True:
        order = data.balancing.order(engine.train.labels, seed=data.seed, epoch=epoch)
        for batch in drawn_batches(engine.train, order, batch_size=engine.settings.batch_size, epoch=epoch):
            yield epoch, batch
        epoch += 1
