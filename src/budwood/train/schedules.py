"""Learning-rate schedules as settings: the kinds, their parameters, and the ``step -> factor`` function of each.

The functions themselves are in `rate_shapes.py`. All lengths are in epochs, so that a schedule means the same at any
batch size. A factor depends on the step alone (that of ``plateau`` on the validation losses so far), so a run that goes
on after a stop needs no state of its schedule. The momentum of the optimiser is left as it is, in ``one_cycle`` and the
cyclical kinds too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from budwood.errors import SettingsError
from budwood.train.rate_shapes import Schedule, constant, cosine, cyclical, exponential, one_cycle, steps_down

ScheduleName = Literal[
    "constant", "exponential", "step", "cosine", "one_cycle", "triangular", "triangular2", "exp_range", "plateau"
]


class ScheduleSpec(BaseModel):
    """A kind of schedule and its parameters; each kind takes some of them and refuses the others.

    What a kind takes, and from which defaults, is in `SCHEDULES`; docs/schedules.md shows a plot of each.

    warmup: share of the steps in which the rate rises linearly to its base. floor: lowest factor.
    gamma: what is left of the rate after ``every`` epochs (exponential) or a milestone (step), or of the height of a
        cycle after an epoch (exp_range). staircase: fall only at the end of ``every`` epochs.
    milestones: epochs after which the rate falls; None: half and three quarters of the way (He et al. 2016).
    pct_start: share of the steps up to the peak. div: peak over first rate. final_div: first over last rate.
    low: lowest factor of a cycle. step_size: epochs from the lowest to the highest. per: whether the rate changes with
        each step or only between epochs.
    factor, patience, threshold: the rate is multiplied by ``factor`` when the validation loss has not fallen by the
        share ``threshold`` for more than ``patience`` epochs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ScheduleName = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    floor: float = Field(default=0.0, ge=0, le=1)
    gamma: float = Field(default=0.9, gt=0, le=1)
    every: float = Field(default=1.0, gt=0)
    staircase: bool = False
    milestones: tuple[float, ...] | None = None
    pct_start: float = Field(default=0.3, ge=0, lt=1)
    div: float = Field(default=25.0, ge=1)
    final_div: float = Field(default=1e4, ge=1)
    low: float = Field(default=0.25, ge=0, le=1)
    step_size: float = Field(default=2.0, gt=0)
    per: Literal["step", "epoch"] = "step"
    factor: float = Field(default=0.2, gt=0, lt=1)
    patience: int = Field(default=3, ge=0)
    threshold: float = Field(default=1e-4, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _of_its_kind(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        name = values.get("kind", "cosine")
        if not isinstance(name, str) or name not in SCHEDULES:
            raise ValueError(f'there is no schedule "{name}"; the kinds are {", ".join(SCHEDULES)}')
        takes = SCHEDULES[name].defaults
        foreign = [key for key in values if key in cls.model_fields and key not in takes and key != "kind"]
        if foreign:
            raise ValueError(
                f'schedule "{name}" does not take {_words(foreign)}; it takes {_words(takes) or "nothing"}'
            )
        return {**takes, **values}

    @model_validator(mode="after")
    def _rising_milestones(self) -> ScheduleSpec:
        if self.milestones is not None:
            if not self.milestones:
                raise ValueError("milestones needs at least one epoch; without the key: half and three quarters of all")
            if self.milestones[0] <= 0 or list(self.milestones) != sorted(set(self.milestones)):
                raise ValueError("milestones are epochs above 0, each later than the one before")
        return self

    @model_serializer(mode="wrap")
    def _own_parameters(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own = {"kind", *SCHEDULES[self.kind].defaults}
        return {key: value for key, value in handler(self).items() if key in own}


def _words(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(names)


def _as_table(value: Any) -> Any:
    if not isinstance(value, str | Mapping | ScheduleSpec):
        raise ValueError('a schedule is a kind, such as "cosine", or a table with its kind and parameters')
    return {"kind": value} if isinstance(value, str) else value


# In a recipe: a kind alone, or a table with its parameters.
AnySchedule = Annotated[ScheduleSpec, BeforeValidator(_as_table)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a stage is, in steps of the optimiser."""

    steps: int
    per_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleKind:
    """One kind: what it does in a line, the parameters that it takes with their defaults, and how it is made."""

    words: str
    make: Callable[[ScheduleSpec, Length], Schedule]
    defaults: Mapping[str, Any] = field(default_factory=dict)


def make_schedule(spec: ScheduleSpec, *, total_steps: int, steps_per_epoch: int) -> Schedule:
    """The factor on the base rate as a function of the step, counted from 0 at the beginning of a stage.

    It may be asked in any order and for steps beyond the last. For ``plateau`` it is 1: what falls is `plateau_factor`.

    Args:
        total_steps: steps of the optimiser in the whole stage.
        steps_per_epoch: steps in one pass over the training part.

    Raises:
        ValueError: a stage without a step.
    """
    if total_steps < 1 or steps_per_epoch < 1:
        raise ValueError(f"a stage has at least one step, found {total_steps} in all and {steps_per_epoch} an epoch")
    return SCHEDULES[spec.kind].make(spec, Length(steps=total_steps, per_epoch=steps_per_epoch))


def plateau_factor(val_losses: Sequence[float], spec: ScheduleSpec) -> float:
    """The factor after epochs with these validation losses, oldest first; 1 for all kinds but ``plateau``.

    It follows from the whole history each time, by the rule of Keras and PyTorch: an epoch counts as better when its
    loss is lower than the best by more than the share ``threshold``; after more than ``patience`` others in a row the
    factor falls, and the count begins anew.

    Raises:
        SettingsError: a loss is NaN, that is to say no validation part was measured.
    """
    if spec.kind != "plateau":
        return 1.0
    factor, best, waited = 1.0, math.inf, 0
    for loss in val_losses:
        if math.isnan(loss):
            raise SettingsError(
                'the schedule "plateau" follows the validation loss, and an epoch has none; '
                "keep a validation part (a refit has none), or take another schedule, such as cosine"
            )
        if loss < best * (1 - spec.threshold):
            best, waited = loss, 0
            continue
        waited += 1
        if waited > spec.patience:
            factor, waited = max(factor * spec.factor, spec.floor), 0
    return factor


def _milestones(spec: ScheduleSpec, length: Length) -> Schedule:
    if spec.milestones is None:
        return steps_down([length.steps / 2, length.steps * 3 / 4], gamma=spec.gamma)
    return steps_down([epoch * length.per_epoch for epoch in spec.milestones], gamma=spec.gamma)


def _cycles(spec: ScheduleSpec, length: Length) -> Schedule:
    heights: dict[str, Callable[[int, float], float]] = {
        "triangular": lambda cycle, epochs: 1.0,
        "triangular2": lambda cycle, epochs: 0.5**cycle,
        "exp_range": lambda cycle, epochs: spec.gamma**epochs,
    }
    height = heights[spec.kind]
    return cyclical(length.per_epoch, low=spec.low, step_size=spec.step_size, per=spec.per, height=height)


_CYCLE: dict[str, Any] = {"low": 0.25, "step_size": 2.0, "per": "step"}

SCHEDULES: dict[str, ScheduleKind] = {
    "constant": ScheduleKind(words="the base rate throughout", make=lambda spec, length: constant()),
    "exponential": ScheduleKind(
        words="a fixed share of the rate is left after each epoch",
        defaults={"gamma": 0.9, "every": 1.0, "staircase": False, "floor": 0.0},
        make=lambda spec, length: exponential(
            length.per_epoch, gamma=spec.gamma, every=spec.every, staircase=spec.staircase, floor=spec.floor
        ),
    ),
    "step": ScheduleKind(
        words="a fixed share of the rate is left after each milestone",
        defaults={"milestones": None, "gamma": 0.1},
        make=_milestones,
    ),
    "cosine": ScheduleKind(
        words="a short warm-up, then half a cosine down",
        defaults={"warmup": 0.05, "floor": 0.0},
        make=lambda spec, length: cosine(length.steps, warmup=spec.warmup, floor=spec.floor),
    ),
    "one_cycle": ScheduleKind(
        words="a long rise to the base rate, then far below where it began",
        defaults={"pct_start": 0.3, "div": 25.0, "final_div": 1e4},
        make=lambda spec, length: one_cycle(
            length.steps, pct_start=spec.pct_start, div=spec.div, final_div=spec.final_div
        ),
    ),
    "triangular": ScheduleKind(
        words="up and down between a low and the base rate, again and again", defaults=_CYCLE, make=_cycles
    ),
    "triangular2": ScheduleKind(
        words="as triangular, each cycle half as high as the one before", defaults=_CYCLE, make=_cycles
    ),
    "exp_range": ScheduleKind(
        words="as triangular, the height falling with every epoch", defaults={**_CYCLE, "gamma": 0.95}, make=_cycles
    ),
    "plateau": ScheduleKind(
        words="the base rate, lowered when the validation loss no longer falls",
        defaults={"factor": 0.2, "patience": 3, "threshold": 1e-4, "floor": 0.0},
        make=lambda spec, length: constant(),
    ),
}
