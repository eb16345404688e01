"""Learning-rate schedules as plain functions of the step: ``step -> factor`` in 0..1, times the base rate."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


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
