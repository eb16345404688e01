"""The learning-rate range test (Smith 2017): one step at each of many rising rates, until the loss explodes.

It knows no network: it calls a function that makes a step at a rate. The steps change whatever they train, so the
caller works on a copy, or puts the weights back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from budwood.errors import SettingsError

Rule = Literal["steepest fall", "a tenth of the lowest loss's rate", "none: the loss did not fall"]
_FORGET = 0.8  # of the running loss that is watched while the test runs, in each step
_MIN_STEPS = 10
# In standard deviations of a batch's loss. Of 1,000 tests on noise alone 8 seemed to fall, and of 1,000 that fell by
# three deviations all did.
_LEAST_FALL = 2.0
# Where nothing is learnt yet, noise has slopes as steep as learning has. Wider smoothing and looking only where a fifth
# of the fall is done keep the suggestions of 1,000 noisy tests within 1.5 decades; without, every tenth was far off.
_SLOPE_SMOOTHING = 2.5  # times that of the losses
_WELL_DOWN = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTest:
    """What a range test saw, and the rate that it suggests.

    rates, losses: of the ``[M]`` steps that were made, as measured, all finite. smoothed: the losses without the noise
        of single batches. steepest, lowest: rates where the smoothed loss falls most, and where it is lowest.
    suggestion: the lower of ``steepest`` and a tenth of ``lowest``, and by which ``rule``; None if the loss never fell.
    diverged_at: the rate at which the loss exploded; None if it did not up to the highest.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    steepest: float | None
    lowest: float | None
    suggestion: float | None
    rule: Rule
    diverged_at: float | None


def range_test(
    run_step: Callable[[float], float],
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    smoothing: float = 2.0,
    explosion: float = 4.0,
) -> RangeTest:
    """Make up to ``steps`` steps at rates that rise from ``low`` to ``high`` by equal factors.

    The test ends early when the loss is infinite or NaN, or when its running mean is ``explosion`` times the lowest so
    far and higher than at the start.

    Args:
        run_step: makes one training step at the rate given and returns the loss of its batch, before the step.
        smoothing: standard deviation, in steps, of the Gaussian that smooths the losses, 1 or more. It looks to both
            sides: a running mean would show every turn at a rate that is too high.

    Raises:
        SettingsError: the rates or the number of steps make no test.
        ValueError: the very first loss is not finite.
    """
    if not 0 < low < high or steps < _MIN_STEPS or smoothing < 1:
        raise SettingsError(
            f"a range test rises from a low rate above 0 to a higher one in {_MIN_STEPS} steps or more, smoothed over "
            f"at least 1; found {low:g} to {high:g} in {steps}, smoothed over {smoothing:g}"
        )
    rates = np.geomspace(low, high, steps)
    losses, diverged_at = _run(run_step, rates, explosion=explosion)
    if not len(losses):
        raise ValueError("the first loss is not finite, before any rate could do harm")
    rates = rates[: len(losses)]
    bounded = _bounded(losses)
    smoothed = np.asarray(gaussian_filter1d(bounded, smoothing, mode="nearest"))
    slopes = np.asarray(gaussian_filter1d(bounded, _SLOPE_SMOOTHING * smoothing, order=1, mode="nearest"))
    steepest, lowest = _marks(rates, losses, smoothed=smoothed, slopes=slopes)
    suggestion, rule = _choice(steepest, lowest)
    return RangeTest(
        rates=rates,
        losses=losses,
        smoothed=smoothed,
        steepest=steepest,
        lowest=lowest,
        suggestion=suggestion,
        rule=rule,
        diverged_at=diverged_at,
    )


def _run(
    run_step: Callable[[float], float], rates: NDArray[np.float64], *, explosion: float
) -> tuple[NDArray[np.float64], float | None]:
    """Finite losses ``[M]`` up to the end or the explosion, and the rate of the latter."""
    losses: list[float] = []
    running, weight = 0.0, 0.0
    start = best = math.inf
    for rate in rates.tolist():
        loss = float(run_step(rate))
        if not math.isfinite(loss):
            return np.array(losses), rate
        losses.append(loss)
        running = _FORGET * running + (1 - _FORGET) * loss
        weight = _FORGET * weight + (1 - _FORGET)
        mean = running / weight  # as if the first losses had always been so (Kingma and Ba 2015, bias correction)
        start = loss if math.isinf(start) else start
        best = min(best, mean)
        if len(losses) > _MIN_STEPS and mean > explosion * best and mean > start:
            return np.array(losses), rate
    return np.array(losses), None


def _bounded(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """What follows the lowest loss counts no more than the worst before it.

    One exploded loss would lift its smoothed neighbours over the true minimum.
    """
    worst_before = float(losses[: int(losses.argmin()) + 1].max())
    return np.minimum(losses, worst_before)


def _marks(
    rates: NDArray[np.float64],
    losses: NDArray[np.float64],
    *,
    smoothed: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> tuple[float | None, float | None]:
    """The rates of the steepest fall and of the lowest loss; None where nothing fell beyond the noise of batches."""
    lowest = int(smoothed.argmin())
    if lowest == 0:
        return None, None
    noise = float(np.std(np.diff(losses[: lowest + 1]))) / math.sqrt(2)
    start = float(losses[:_MIN_STEPS].mean())  # a single loss at the edge is noisier than the smoothed ones
    fall = start - float(smoothed[lowest])
    if fall <= _LEAST_FALL * noise:
        return None, None
    # Rates rise by equal factors, so a slope over steps is one over the logarithm of the rate.
    well_down = start - smoothed[: lowest + 1] >= _WELL_DOWN * fall
    steepest = int(np.where(well_down, slopes[: lowest + 1], np.inf).argmin())
    return float(rates[steepest]), float(rates[lowest])


def _choice(steepest: float | None, lowest: float | None) -> tuple[float | None, Rule]:
    if steepest is None or lowest is None:
        return None, "none: the loss did not fall"
    if steepest <= lowest / 10:
        return steepest, "steepest fall"
    return lowest / 10, "a tenth of the lowest loss's rate"
