"""What several seeds did on the same pictures, or the models of folds: how sure, when both might have been others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, wilson

FEW_SEEDS = 4  # up to so many the intervals are known to be a little short (docs/coverage.md)


def few_seeds_note() -> str:
    """What has to stand beside an interval over few seeds."""
    return (
        "Few seeds know little of their own luck: simulated, the 95 % intervals of three seeds held the truth in 92 to"
        " 98 of 100 cases. Five seeds or more are steadier."
    )


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


def folds_interval(right: NDArray[np.bool_], folds: NDArray[np.int64], *, level: float = 0.95) -> Interval:
    """An interval for the accuracy that cross-validation tells, where pictures and the folds' models had their luck.

    Wilson's interval over all answers takes them for independent, but those of one fold share one model. So the
    accuracies of the folds have Student's interval, too, and the wider end counts: what folds vary beyond the luck of
    their pictures is too badly known from five of them to be added by itself. The models share most of their training
    pictures, which no cross-validation can measure (Y. Bengio, Y. Grandvalet, No unbiased estimator of the variance of
    k-fold cross-validation, JMLR 5, 2004): the interval stays an approximation.

    Args:
        right: whether each of N pictures was named right. folds: which fold's model answered it.

    Returns:
        Never narrower than Wilson's interval for all answers.
    """
    from scipy.stats import t

    total, names = len(right), np.unique(folds)
    plain = wilson(int(right.sum()), total, level)
    share = float(right.mean()) if total else 0.0
    if len(names) < 2 or not 0 < share < 1:
        return plain
    sizes = np.array([(folds == name).sum() for name in names])
    accuracies = np.array([right[folds == name].mean() for name in names])
    between = float((sizes * np.square(accuracies - share)).sum()) / (len(names) - 1)  # of one picture's share
    half = float(t.ppf(0.5 + level / 2, len(names) - 1)) * math.sqrt(between / total)
    return Interval(low=max(0.0, min(plain.low, share - half)), high=min(1.0, max(plain.high, share + half)))
