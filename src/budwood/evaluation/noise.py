"""The noise floor: how far two trainings differ that differ by the seed alone. No smaller difference means anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.crossed import SeedLuck
from budwood.evaluation.intervals import normal_quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """Of one score: the deviation between trainings, with its degrees of freedom.

    floor: two trainings that differ by the seed alone differ by less than this in 95 of 100 cases.
    """

    score: str
    deviation: float
    degrees: int
    floor: float

    @property
    def luck(self) -> SeedLuck:
        """The same as a variance."""
        return SeedLuck(variance=self.deviation**2, degrees=self.degrees)


def noise_floor(score: str, arms: Sequence[NDArray[np.float64]], *, level: float = 0.95) -> NoiseFloor | None:
    """Pool the luck of seeds over arms.

    A prediction interval for the difference of two new trainings, ``t * sqrt(2) * deviation``: Student's quantile pays
    for how little three seeds say of a deviation.

    Args:
        arms: for each way of training its scores, one a seed.

    Returns:
        None where no arm has two seeds.

    Reference: X. Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021.
    """
    normal_quantile(level)  # refuses a level outside 0..1
    several = [np.asarray(arm, dtype=np.float64) for arm in arms if len(arm) > 1]
    degrees = sum(len(arm) - 1 for arm in several)
    if not degrees:
        return None
    from scipy.stats import t

    variance = sum(float(np.square(arm - arm.mean()).sum()) for arm in several) / degrees
    floor = float(t.ppf(0.5 + level / 2, degrees)) * math.sqrt(2 * variance)
    return NoiseFloor(score=score, deviation=math.sqrt(variance), degrees=degrees, floor=floor)
