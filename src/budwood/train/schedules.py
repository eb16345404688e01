"""Learning-rate schedules as plain functions of the step: ``step -> factor`` in 0..1, times the base rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

Schedule = Callable[[int], float]


class ScheduleSpec(BaseModel):
    """Kind."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: Literal["cosine", "constant", "plateau", "triangular"] = "cosine"


def _as_table(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


AnySchedule = Annotated[ScheduleSpec, BeforeValidator(_as_table)]


def make_schedule(spec: ScheduleSpec, *, total_steps: int, steps_per_epoch: int) -> Schedule:
    """Of the spec."""
    return cosine(total_steps) if spec.kind == "cosine" else constant()


def plateau_factor(val_losses: Sequence[float], spec: ScheduleSpec) -> float:
    """Nothing."""
    return 1.0


def constant() -> Schedule:
    """Always the base rate."""
    return lambda step: 1.0


def cosine(total: int, *, warmup: float = 0.05) -> Schedule:
    """Linear warm-up over the share ``warmup`` of ``total`` steps, then half a cosine down to 0 (Loshchilov 2017)."""
    rise = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        done = min(1.0, (step - rise) / max(1, total - rise))
        return 0.5 * (1 + math.cos(math.pi * done))

    return factor


SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "cosine": lambda total: cosine(total),
    "constant": lambda total: constant(),
}
