"""The shapes of learning-rate schedules: plain functions ``step -> factor`` in 0..1, times the base rate.

Steps are counted from 0; a shape may be asked in any order and beyond its end. Settings are in `schedules.py`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Literal

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """Always the base rate."""
    return lambda step: 1.0


def exponential(
    per_epoch: int, *, gamma: float, every: float = 1.0, staircase: bool = False, floor: float = 0.0
) -> Schedule:
    """``gamma`` to the power of the epochs passed over ``every``; in whole powers only with ``staircase``."""

    def factor(step: int) -> float:
        passed = step / (every * per_epoch)
        # The end of a stair must not be missed by a rounding: 55 / (2.2 * 25) is below 1.
        return max(floor, gamma ** (math.floor(passed + 1e-9) if staircase else passed))

    return factor


def steps_down(milestones: Sequence[float], *, gamma: float) -> Schedule:
    """Multiply by ``gamma`` at each of the rising ``milestones``, which are steps here."""
    borders = [round(milestone) for milestone in milestones]
    return lambda step: gamma ** bisect_right(borders, step)


def cosine(total: int, *, warmup: float = 0.05, floor: float = 0.0) -> Schedule:
    """Linear warm-up over the share ``warmup`` of ``total`` steps, then half a cosine down to ``floor``.

    Loshchilov and Hutter 2017, without restarts.
    """
    rise = max(1, round(total * warmup)) if warmup else 0

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        done = min(1.0, (step - rise) / max(1, total - rise))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return factor


def one_cycle(total: int, *, pct_start: float = 0.3, div: float = 25.0, final_div: float = 1e4) -> Schedule:
    """Up from 1/``div`` to 1 and down to 1/(``div`` ``final_div``), in two halves of a cosine (Smith and Topin 2018).

    A stage that is too short to rise begins at the peak.
    """
    peak, last = max(0.0, pct_start * total - 1), total - 1
    first, end = 1 / div, 1 / (div * final_div)

    def between(start: float, stop: float, share: float) -> float:
        return stop + (start - stop) * 0.5 * (1 + math.cos(math.pi * share))

    def factor(step: int) -> float:
        if step <= peak:
            return between(first, 1.0, step / peak) if peak else 1.0
        return between(1.0, end, min(1.0, (step - peak) / (last - peak)) if last > peak else 1.0)

    return factor


def cyclical(
    per_epoch: int,
    *,
    low: float,
    step_size: float,
    per: Literal["step", "epoch"] = "step",
    height: Callable[[int, float], float] = lambda cycle, epochs: 1.0,
) -> Schedule:
    """Up and down between ``low`` and 1 in straight lines of ``step_size`` epochs each (Smith 2017).

    Args:
        height: (cycle from 0, epochs passed) -> what is left of the distance between ``low`` and 1.
    """

    def factor(step: int) -> float:
        epochs = step / per_epoch if per == "step" else float(step // per_epoch)
        cycle = math.floor(epochs / (2 * step_size))
        from_peak = abs(epochs / step_size - 2 * cycle - 1)
        return low + (1 - low) * max(0.0, 1 - from_peak) * height(cycle, epochs)

    return factor
