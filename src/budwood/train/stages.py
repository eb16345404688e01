"""`TrainSpec`, its `Stage`s, and which parameters each stage trains at which learning rate."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from budwood.models.blocks import frozen_parameters
from budwood.models.build import Classifier


class Stage(BaseModel):
    """One stage of training.

    trains: ``"head"`` solves the linear head exactly on cached features of the frozen backbone; ``"all"``, or a number
        k for the last k blocks, fine-tunes by gradient steps (the head is always trained with them).
    epochs: passes over the training part (not used by ``"head"``).
    lr, head_lr: override the run's rates in this stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trains: Literal["head", "all"] | int = "head"
    epochs: int = Field(default=24, ge=1)
    lr: float | None = Field(default=None, gt=0)
    head_lr: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _positive_blocks(self) -> Stage:
        if isinstance(self.trains, int) and self.trains < 1:
            raise ValueError('trains takes "head", "all" or a number of blocks from 1 up')
        return self

    @property
    def title(self) -> str:
        """The stage in words."""
        names = {"head": "head on frozen features", "all": "fine-tuning of the whole network"}
        if isinstance(self.trains, int):
            return f"fine-tuning of the last {self.trains} blocks"
        return names[self.trains]


class TrainSpec(BaseModel):
    """How a model is trained: the ordered stages and what they share.

    lr is the backbone's rate, head_lr the head's; patience counts epochs without a lower validation loss before a stage
    stops (its best weights are restored in any case); ema is the decay of the averaged weights, which are the ones that
    are validated and shipped (0: off); views are how many flips and turns the frozen features are made of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: tuple[Stage, ...] = (Stage(),)
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=1e-3, gt=0)
    head_lr: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    ema: float = Field(default=0.998, ge=0, lt=1)
    patience: int = Field(default=8, ge=1)
    clip: float = Field(default=5.0, gt=0)
    views: int = Field(default=4, ge=1, le=8)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int = Field(default=0, ge=0, le=32)

    @model_validator(mode="after")
    def _head_first(self) -> TrainSpec:
        if not self.stages:
            raise ValueError("a plan needs at least one stage")
        if any(stage.trains == "head" for stage in self.stages[1:]):
            raise ValueError('a stage that trains "head" can only be the first: later ones have no cached features')
        return self

    @property
    def num_epochs(self) -> int:
        """Epochs of all fine-tuning stages."""
        return sum(stage.epochs for stage in self.stages if stage.trains != "head")


def freeze(model: Classifier, stage: Stage) -> None:
    """Set which parameters of ``model`` train in ``stage``; frozen ones need no gradient."""
    trained_blocks = None if stage.trains == "all" else 0 if stage.trains == "head" else stage.trains
    frozen = frozen_parameters(model.backbone, trained_blocks=trained_blocks)
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for parameter in model.head.parameters():
        parameter.requires_grad_(True)


def train_mode(model: Classifier) -> None:
    """Training mode, but frozen modules in eval: their BatchNorm keeps its statistics, their dropout is off."""
    model.train()
    for module in model.backbone.modules():
        own = list(module.parameters(recurse=True))
        if own and not any(p.requires_grad for p in own):
            module.eval()


def parameter_groups(model: Classifier, spec: TrainSpec, stage: Stage) -> list[dict[str, object]]:
    """AdamW groups: backbone and head at their rates; no decay on biases and normalisation (1-d parameters)."""
    head = {id(p) for p in model.head.parameters()}
    rates = {True: stage.head_lr or spec.head_lr, False: stage.lr or spec.lr}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in head, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "part": "head" if is_head else "backbone",
            "lr": rates[is_head],
            "base_lr": rates[is_head],
            "weight_decay": spec.weight_decay if decayed else 0.0,
        }
        for (is_head, decayed), parameters in groups.items()
    ]
