"""A plan as data: `TrainSpec` with its ordered `Stage`s, and `StageSettings`, one stage with every default filled in.

Which parameters a stage trains is worked out on a network in `freezing.py`; nothing here knows one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from budwood.train.optimizers import OptimizerName
from budwood.train.schedules import AnySchedule, ScheduleSpec

Monitor = Literal["val_loss", "val_accuracy"]
# TOML has no null that could stand for "as lr".
HeadRate = Annotated[float, Field(gt=0)] | Literal["lr"]


class Stage(BaseModel):
    """One stage of training. What is left out is taken from `TrainSpec`.

    trains: ``"head"``; ``"all"``; a number k for the last k blocks; or a block's name (`budwood models NAME`) for it
        and all after it. The head is always trained with them.
    frozen: instead of ``trains``, the share of the layers that stays frozen, counted from the input, such as
        ``"90/296"``: the nearest border between two blocks.
    solve: whether a stage that trains the head solves it exactly on cached features of the frozen backbone (a linear
        head in the first stage only) or takes gradient steps on them; None solves where that is possible.
    epochs: passes over the training part (not used where the head is solved).
    lr, head_lr: rates of the backbone and of all above it, ``"lr"`` for as lr; where only the head trains, lr is the
        head's.
    augment: settings of ``[augment]`` that differ in this stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trains: Literal["head", "all"] | int | str = "head"
    frozen: str = ""
    solve: bool | None = None
    epochs: int = Field(default=24, ge=1)
    lr: float | None = Field(default=None, gt=0)
    head_lr: HeadRate | None = None
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    optimizer: OptimizerName | None = None
    schedule: AnySchedule | None = None
    batch_size: int | None = Field(default=None, ge=2)
    patience: int | None = Field(default=None, ge=1)
    augment: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _possible(self) -> Stage:
        if isinstance(self.trains, int) and self.trains < 1:
            raise ValueError('trains takes "head", "all", a number of blocks from 1 up, or a block\'s name')
        if self.frozen and self.trains != "head":
            raise ValueError("trains and frozen both say what is trained: give one of them")
        if self.frozen:
            frozen, _, layers = self.frozen.partition("/")
            if not (frozen.isdigit() and layers.isdigit() and int(frozen) <= int(layers) > 0):
                raise ValueError('frozen takes "frozen layers/all layers", such as "90/296"')
        if self.solve and not self.is_head:
            raise ValueError("solve is for a stage that trains the head only")
        return self

    @property
    def is_head(self) -> bool:
        """Whether the head alone is trained."""
        return not self.frozen and self.trains == "head"

    @property
    def title(self) -> str:
        """The stage in words."""
        if self.frozen:
            return f"fine-tuning with {self.frozen} layers frozen"
        if isinstance(self.trains, int):
            return f"fine-tuning of the last {self.trains} blocks"
        names = {"head": "head on frozen features", "all": "fine-tuning of the whole network"}
        return names.get(self.trains, f"fine-tuning from {self.trains}")


class TrainSpec(BaseModel):
    """How a model is trained: the ordered stages and what they share.

    lr: the backbone's rate; head_lr: that of all above it, or ``"lr"`` for the same; layer_decay: each block's rate is
        the next deeper one's times this. monitor: what early stopping and the choice of the best epoch go by; patience:
        epochs without a better one before a stage stops (its best weights are restored in any case).
    weight_decay: None takes what suits the optimiser.
    ema: decay of the averaged weights, which are the ones that are validated and shipped (0: off).
    views: how many flips and turns the frozen features are made of. cache: whether activations at the border of a
        frozen start are kept for a stage (``"auto"``: where that pays); cache_views: in how many augmented versions.
    checkpoint_seconds: the most that a kill may cost, in time between two checkpoints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: tuple[Stage, ...] = (Stage(),)
    batch_size: int = Field(default=32, ge=2)
    optimizer: OptimizerName = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    lr: float = Field(default=1e-3, gt=0)
    head_lr: HeadRate = 3e-3
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float | None = Field(default=None, ge=0)
    schedule: AnySchedule = ScheduleSpec(kind="cosine")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    ema: float = Field(default=0.998, ge=0, lt=1)
    monitor: Monitor = "val_loss"
    patience: int = Field(default=8, ge=1)
    clip: float = Field(default=5.0, gt=0)
    views: int = Field(default=4, ge=1, le=8)
    cache: Literal["auto", "on", "off"] = "auto"
    cache_views: int = Field(default=8, ge=1, le=32)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int = Field(default=0, ge=0, le=32)
    checkpoint_seconds: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _possible(self) -> TrainSpec:
        if not self.stages:
            raise ValueError("a plan needs at least one stage")
        if any(stage.solve for stage in self.stages[1:]):
            raise ValueError("only the first stage can solve the head: a later one has no features to solve it on")
        return self

    @property
    def num_epochs(self) -> int:
        """Epochs of all stages that take gradient steps, were the head solved in the first."""
        return sum(stage.epochs for stage in self.stages if not stage.is_head)

    def settings(self, stage: Stage) -> StageSettings:
        """``stage`` with what it leaves out."""
        lr = stage.lr or self.lr
        head_lr = stage.head_lr or (stage.lr if stage.is_head else None) or self.head_lr
        return StageSettings(
            epochs=stage.epochs,
            lr=lr,
            head_lr=lr if head_lr == "lr" else head_lr,
            layer_decay=stage.layer_decay or self.layer_decay,
            optimizer=stage.optimizer or self.optimizer,
            schedule=stage.schedule or self.schedule,
            batch_size=stage.batch_size or self.batch_size,
            patience=stage.patience or self.patience,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """What one stage trains by, nothing left out."""

    epochs: int
    lr: float
    head_lr: float
    layer_decay: float
    optimizer: OptimizerName
    schedule: ScheduleSpec
    batch_size: int
    patience: int
