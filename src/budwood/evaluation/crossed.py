"""The mean of what several seeds did on the same pictures: how sure it is when both might have been others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedLuck:
    """How much the mean of one seed's values varies from seed to seed: a variance with its degrees of freedom."""

    variance: float
    degrees: int


def crossed_interval(values: NDArray[np.float64], *, pooled: SeedLuck | None = None, level: float = 0.95) -> Interval:
    """An interval for the mean of ``[S, N]`` values of S seeds on N pictures, where both might have been others.

    The variances of the means over seeds and over pictures are added, which counts what the two share twice and so is
    a little wide; the quantile is Student's with Satterthwaite's degrees of freedom.

    Args:
        values: one row a seed.
        pooled: the luck of seeds as many arms show it; three seeds of one arm say little of it. The larger one counts.
        level: such as 0.95.

    Reference: A. B. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007).
    """
    from scipy.stats import t

    mean, spread, freedom = crossed_error(values, pooled)
    half = float(t.ppf(0.5 + level / 2, freedom)) * spread if spread else 0.0
    return Interval(low=mean - half, high=mean + half)


def crossed_error(values: NDArray[np.float64], pooled: SeedLuck | None) -> tuple[float, float, float]:
    """Mean, standard error and degrees of freedom of what `crossed_interval` is made of."""
    seeds, pictures = values.shape
    parts = [(float(values.mean(axis=0).var(ddof=1)) / pictures, pictures - 1)] if pictures > 1 else []
    if seeds > 1:
        own = float(values.mean(axis=1).var(ddof=1))
        luck = pooled or SeedLuck(variance=own, degrees=seeds - 1)
        parts.append((max(own, luck.variance) / seeds, luck.degrees))
    total = sum(variance for variance, _ in parts)
    if not total:
        return float(values.mean()), 0.0, 1.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    return float(values.mean()), math.sqrt(total), freedom
