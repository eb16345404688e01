"""Does it pay to keep activations at a border? A forecast from the work before and after it, in words for the report.

The forecast is made from counted work (`count_work`), which is the same on every machine and in every run, so that a
resumed or repeated run decides alike; `measure_work` takes the time instead and is for benchmarks and curious people.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from budwood.models.cut import Cut
from budwood.models.trace import evaluating
from budwood.train.boundary import needed_bytes

_WORTH = 1.1  # a smaller gain is lost in reading, writing and a forecast's error
_FLOPS_PER_VALUE = 50.0  # what a layer's output costs beside its products; fits lite0, resnet18, vit_tiny (docs)
_TRAINING = 3.0  # forward and backward against forward
_MOST_OF_DISK = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work on one picture, in any unit: before the border, after it forward only, after it with the gradients."""

    prefix: float
    tail_forward: float
    tail_training: float

    @property
    def prefix_share(self) -> float:
        """The part of a training step that lies before the border, 0-1."""
        return self.prefix / (self.prefix + self.tail_training)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheVerdict:
    """Whether activations are to be kept, why, how many times faster the stage is forecast to be, and the bytes."""

    use: bool
    reason: str
    predicted_ratio: float
    bytes: int


def predict_saving(
    work: Work,
    *,
    shape: Sequence[int],
    pictures: int,
    epochs: int,
    views: int,
    budget: int,
    val_pictures: int = 0,
    trainings: int = 1,
    dtype: str = "float16",
) -> CacheVerdict:
    """Forecast a stage with kept activations against the same stage that runs the frozen start every epoch.

    Args:
        shape: one activation. pictures: of the training part. views: kept of each.
        epochs: that the stage takes at most.
        budget: the bytes that may be used.
        val_pictures: scored after each epoch, one view kept.
        trainings: how many trainings share the activations (folds, seeds, arms of a sweep).
    """
    rounds = epochs * trainings
    after = rounds * (pictures * work.tail_training + val_pictures * work.tail_forward)
    without = after + rounds * (pictures + val_pictures) * work.prefix
    once = (pictures * views + val_pictures) * work.prefix
    ratio = without / (after + once) if after + once else 1.0
    size = needed_bytes(shape, pictures=pictures, views=views, dtype=dtype)
    size += needed_bytes(shape, pictures=val_pictures, views=1, dtype=dtype)
    each = needed_bytes(shape, pictures=1, views=1, dtype=dtype) / 1024
    facts = f"{_number(rounds, 'epoch')}, {_number(views, 'view')} of {each:.0f} KiB x {pictures} = {size / 1e9:.2f} GB"
    share = f"{100 * work.prefix_share:.0f} % of a step is frozen"
    if size > budget:
        reason = f"not used: {facts}, of which {budget / 1e9:.2f} GB may be taken"
    elif ratio < _WORTH:
        reason = f"not used: {facts}, {share}: {ratio:.2f} times as fast by forecast, which is not worth it"
    else:
        reason = f"used: {facts}, {share}: {ratio:.2f} times as fast by forecast"
    return CacheVerdict(use=size <= budget and ratio >= _WORTH, reason=reason, predicted_ratio=ratio, bytes=size)


def allowed_bytes(folder: Path, *, budget: int) -> int:
    """The budget, or most of what is free on the disk of ``folder`` where that is less."""
    place = folder
    while not place.exists():
        place = place.parent
    return min(budget, int(_MOST_OF_DISK * shutil.disk_usage(place).free))


@torch.no_grad()
def count_work(parts: Cut, example: Tensor) -> Work:
    """The work on one picture by counting: products and sums, and the values that layers put out.

    Args:
        example: images ``[B, 3, S, S]``; the first is used.
    """
    image = example[:1]
    activation = parts.prefix(image)
    with evaluating(parts.model):
        prefix = _counted(parts.start, image)
        tail = _counted(parts.tail, activation)
    return Work(prefix=prefix, tail_forward=tail, tail_training=_TRAINING * tail)


def measure_work(parts: Cut, images: Tensor, *, repeats: int = 3) -> Work:
    """The work on one picture in seconds, the best of ``repeats`` in turn, on a copy of the model."""
    parts = parts.on(copy.deepcopy(parts.model))  # BatchNorm's statistics and the gradients stay as they are
    activation = parts.prefix(images)

    def forward() -> None:
        with torch.no_grad():
            parts.tail(activation)

    def training() -> None:
        parts.tail(activation).sum().backward()

    ways: dict[str, Callable[[], Any]] = {
        "prefix": lambda: parts.prefix(images),
        "tail_forward": forward,
        "tail_training": training,
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    return Work(**{name: seconds / len(images) for name, seconds in best.items()})


def _counted(part: nn.Module, inputs: Tensor) -> float:
    """Floating-point operations of a forward, and ``_FLOPS_PER_VALUE`` for each value that a layer puts out."""
    values = 0

    def count(_: nn.Module, __: Any, output: Any) -> None:
        nonlocal values
        # A stand-in of what lies before the border is one number, however large its shape.
        values += output.numel() if isinstance(output, Tensor) and any(output.stride()) else 0

    leaves = [module for module in part.modules() if next(module.children(), None) is None]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        with FlopCounterMode(display=False) as counter:
            part(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return float(counter.get_total_flops()) + _FLOPS_PER_VALUE * values


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
