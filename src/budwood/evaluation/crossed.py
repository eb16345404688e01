"""What several seeds did on the same pictures, or the models of folds: how sure, when both might have been others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, normal_quantile, wilson

FEW_SEEDS = 4  # up to so many Student's quantile is 3 or more


def few_seeds_note() -> str:
    """What has to stand beside an interval over few seeds."""
    return (
        "Few seeds know little of their own luck, so that their intervals are wide and small differences stay hidden."
        " Five seeds or more tell more."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedLuck:
    """How much the mean of one seed's values varies from seed to seed: a variance with its degrees of freedom."""

    variance: float
    degrees: int


def crossed_interval(values: NDArray[np.float64], *, pooled: SeedLuck | None = None, level: float = 0.95) -> Interval:
    """An interval for the mean of ``[S, N]`` values of S seeds on N pictures, where both might have been others.

    The luck of pictures (without what is each seed's own) and the luck of seeds have an interval each, by Student's
    quantile for their own degrees of freedom, and the squares of the two are added. Degrees of freedom for their sum
    (Satterthwaite's) would be many just where three seeds happen to lie close together.

    Args:
        values: one row a seed.
        pooled: the luck of seeds as many arms show it; three seeds of one arm say little of it. The larger one counts.
        level: such as 0.95.

    Reference: G. Y. Zou, A. Donner, Construction of confidence limits about effect measures: a general approach,
    Statistics in Medicine 27 (2008), for the squares; A. B. Owen, The pigeonhole bootstrap, Annals of Applied
    Statistics 1 (2007), for the variances.
    """
    from scipy.stats import t

    normal_quantile(level)  # refuses a level outside 0..1
    seeds, pictures = values.shape
    mean, square = float(values.mean()), 0.0
    if pictures > 1:
        own = _own_variance(values) if seeds > 1 else 0.0
        of_pictures = max(float(values.mean(axis=0).var(ddof=1)) / pictures - own, 0.0)
        square += float(t.ppf(0.5 + level / 2, pictures - 1)) ** 2 * of_pictures
    if seeds > 1:
        luck = _luck(values, pooled)
        square += float(t.ppf(0.5 + level / 2, luck.degrees)) ** 2 * luck.variance / seeds
    return Interval(low=mean - math.sqrt(square), high=mean + math.sqrt(square))


def _own_variance(values: NDArray[np.float64]) -> float:
    """Of the mean: from what a seed does on a picture beside what both do."""
    seeds, pictures = values.shape
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    return float(np.square(rest).sum() / ((seeds - 1) * (pictures - 1) * seeds * pictures))


def _luck(values: NDArray[np.float64], pooled: SeedLuck | None) -> SeedLuck:
    own = float(values.mean(axis=1).var(ddof=1))
    luck = pooled or SeedLuck(variance=own, degrees=len(values) - 1)
    return SeedLuck(variance=max(own, luck.variance), degrees=luck.degrees)


def crossed_error(values: NDArray[np.float64], pooled: SeedLuck | None) -> tuple[float, float, float]:
    """Mean, standard error and Satterthwaite's degrees of freedom, for tests; `crossed_interval` is a little wider.

    The variances over seeds and over pictures are added, which counts what the two share twice.
    """
    seeds, pictures = values.shape
    parts = [(float(values.mean(axis=0).var(ddof=1)) / pictures, pictures - 1)] if pictures > 1 else []
    if seeds > 1:
        luck = _luck(values, pooled)
        parts.append((luck.variance / seeds, luck.degrees))
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
