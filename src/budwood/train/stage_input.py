"""`StageInput` and `FitResult`: what one stage of gradient steps takes, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from budwood.augment.transforms import AugmentSpec
from budwood.models.build import Classifier
from budwood.train.balanced_steps import Balancing
from budwood.train.device import Device
from budwood.train.feed import Feed
from budwood.train.history import History
from budwood.train.stages import Stage, StageSettings, TrainSpec

# (model with its frozen part) -> (the rest of the model, its train and val inputs)
Shorten = Callable[[Classifier], tuple[nn.Module, Feed, Feed | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """The model with its best weights, the epochs, the validation score that chose them, and what went on."""

    model: Classifier
    history: History
    best_epoch: int
    val_loss: float
    val_accuracy: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StageInput:
    """What a gradient stage works on besides the model: parts, settings.

    ``shorten`` replaces the model by its trained part and the pictures by kept activations, where that pays.
    ``known_losses`` stand for the validation losses of a stage that has no validation part (a refit).
    ``stop_after`` epochs training ends although the schedule goes on: a refit does what the scored model's best did.
    """

    train: Feed
    val: Feed | None
    augment: AugmentSpec
    spec: TrainSpec
    stage: Stage
    device: Device
    seed: int
    balancing: Balancing
    stage_number: int = 0
    shorten: Shorten | None = None
    first_epoch: int = 0
    stop_after: int | None = None
    known_losses: tuple[float, ...] = ()

    @property
    def settings(self) -> StageSettings:
        """What the stage trains by."""
        return self.spec.settings(self.stage)

    @property
    def epoch_pictures(self) -> int:
        """Pictures that pass the network in one epoch: those trained on, repeats counted, and those judged."""
        judged = len(self.val.labels) if self.val else 0
        return self.balancing.epoch_size(self.train.labels) + judged
