"""Intervals of areas under ROC and precision-recall curves, of one class and of a mean over classes.

They need numbers of pictures and the classes' correlation only; the curves themselves are in `rank_curves.py`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Estimate, Interval, normal_quantile, score_interval


def auc_interval(area: float, *, positives: int, negatives: int, level: float = 0.95) -> Interval:
    """Newcombe's score interval for an area under the ROC curve; never a point, even where nothing overlaps.

    Reference: R. G. Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney statistic,
    part 2, Statistics in Medicine 25 (2006), method 5.
    """
    one = np.ones(1)
    return mean_auc_interval(
        area, positives=positives * one, negatives=negatives * one, weights=one, together=one[None], level=level
    )


def mean_auc_interval(
    area: float,
    *,
    positives: NDArray[np.float64],
    negatives: NDArray[np.float64],
    weights: NDArray[np.float64],
    together: NDArray[np.float64],
    level: float = 0.95,
) -> Interval:
    """`auc_interval` for a weighted mean of the areas of K classes: the same formula, with the variance of the mean.

    The variance is asked for at each area that might be true, as if all classes had it; so it does not vanish where
    the few pictures of a class are in perfect order by luck.

    Args:
        positives, negatives, weights: ``[K]``. together: ``[K, K]``, how the classes' areas correlate.
    """
    from scipy.optimize import brentq

    z, imagined = normal_quantile(level), (positives + negatives) / 2 - 1

    def beyond(x: float) -> float:
        spread = (1 + imagined * (1 - x) / (2 - x) + imagined * x / (1 + x)) / (positives * negatives)
        errors = weights * np.sqrt(spread)
        return (x - area) ** 2 - z * z * x * (1 - x) * float(errors @ together @ errors)

    # At the two borders the formula is 0 by itself; the end that is looked for lies inside.
    inside = min(max(area, 1e-9), 1 - 1e-9)
    low = float(brentq(beyond, 0.0, inside)) if area > 1e-9 else 0.0
    high = float(brentq(beyond, inside, 1.0)) if area < 1 - 1e-9 else 1.0
    return Interval(low=min(low, area), high=max(high, area))


def average_precision_interval(value: float, *, positives: int, level: float = 0.95) -> Interval:
    """As for a share of the class's pictures: on the safe side, mostly wider than it need be.

    Reference: K. Boyd, K. H. Eng, C. D. Page, Area under the precision-recall curve: point estimates and confidence
    intervals, ECML PKDD 2013 (their binomial interval, with Wilson's ends).
    """
    return score_interval(min(max(value, 0.0), 1.0), positives, quantile=normal_quantile(level))


def joined_mean(areas: list[Estimate], weights: NDArray[np.float64], together: NDArray[np.float64]) -> Estimate:
    """The weighted mean of areas, whose interval joins theirs: the method of variance estimates recovery.

    Args:
        weights: ``[K]``. together: ``[K, K]``, how the classes' areas correlate.

    Reference: G. Y. Zou, On the estimation of additive interaction by use of the four-by-two table and beyond,
    American Journal of Epidemiology 168 (2008).
    """
    value = float(weights @ np.array([a.value for a in areas]))
    below = weights * np.array([a.value - a.interval.low for a in areas])
    above = weights * np.array([a.interval.high - a.value for a in areas])
    low = value - math.sqrt(max(float(below @ together @ below), 0.0))
    high = value + math.sqrt(max(float(above @ together @ above), 0.0))
    return Estimate(value=value, interval=Interval(low=max(0.0, low), high=min(1.0, high)))
