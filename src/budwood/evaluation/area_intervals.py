"""Intervals of areas under ROC and precision-recall curves, of one class and of a mean over classes.

The variance is what the pictures show (`rank_influence.py`), together with what is expected where they show little: a
perfect order of few pictures has no variance of its own. The curves themselves are in `rank_curves.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, normal_quantile, score_interval
from budwood.evaluation.rank_influence import RankedArea

_EXPECTED_DEGREES = 2.0  # what is expected counts as much as a variance seen with so many degrees of freedom
_NORMAL = 1e6  # degrees of freedom of Student's distribution that are as good as normal
_EDGE = 1e-7  # an area as near to 0 or 1 as this is there


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaLuck:
    """How much the areas of K classes vary over draws of pictures.

    Attributes:
        positives, negatives: pictures of each class and others, ``[K]``.
        inside: the areas, those at the border a little inside, ``[K]``. expected: the variance there, ``[K]``.
        ratio: the variance in units of the expected one, ``[K]``. freedom: its degrees of freedom, ``[K]``.
        together: how the areas correlate, ``[K, K]``.
    """

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]
    inside: NDArray[np.float64]
    expected: NDArray[np.float64]
    ratio: NDArray[np.float64]
    freedom: NDArray[np.float64]
    together: NDArray[np.float64]

    def of(self, k: int) -> AreaLuck:
        """Of one class alone."""
        rows = slice(k, k + 1)
        return AreaLuck(
            positives=self.positives[rows],
            negatives=self.negatives[rows],
            inside=self.inside[rows],
            expected=self.expected[rows],
            ratio=self.ratio[rows],
            freedom=self.freedom[rows],
            together=np.ones((1, 1)),
        )


def auc_variance(
    area: NDArray[np.float64], *, positives: NDArray[np.float64], negatives: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The variance of areas under ROC curves ``[K]``, were the scores of both kinds of pictures normal.

    Reference: B. Reiser, I. Guttman, Statistical inference for Pr(Y < X): the normal case, Technometrics 28 (1986).
    """
    m, n = positives, negatives
    return np.asarray(((m + n - 2) * _of_a_placement(area) + area * (1 - area)) / (m * n))


def auc_luck(areas: Sequence[RankedArea], positive: NDArray[np.bool_]) -> AreaLuck:
    """How the areas under the ROC curves of K classes vary; ``positive [K, N]`` are the pictures of each.

    The placements of a class's pictures and those of the others have a variance each. Both are averaged with what is
    expected (`auc_variance`), by their degrees of freedom: these are few where few pictures out of order make the
    whole variance, and none where all are in order.

    Reference: G. K. Smyth, Linear models and empirical Bayes methods for assessing differential expression in
    microarray experiments, Statistical Applications in Genetics and Molecular Biology 3 (2004), for the average.
    """
    m = positive.sum(axis=1).astype(np.float64)
    n = positive.shape[1] - m
    inside = np.clip([each.value for each in areas], 0.5 / (m * n), 1 - 0.5 / (m * n))
    of_area = auc_variance(inside, positives=m, negatives=n)
    expected = of_area * m * n / (m + n)  # of one placement
    variance, doubt = np.zeros(len(m)), np.zeros(len(m))
    for counts, which in ((m, positive), (n, ~positive)):
        seen, freedom = np.array([_variance(a.influence[own]) for a, own in zip(areas, which, strict=True)]).T
        part = _averaged(seen, expected / counts, freedom)
        variance += part
        doubt += _doubt(seen, freedom)
    return AreaLuck(
        positives=m,
        negatives=n,
        inside=inside,
        expected=of_area,
        ratio=variance / of_area,
        freedom=_freedom(variance, doubt),
        together=_correlation(np.array([each.influence for each in areas])),
    )


def precision_luck(areas: Sequence[RankedArea], positive: NDArray[np.bool_]) -> AreaLuck:
    """`auc_luck` for average precisions; expected is the variance of a share of the class's pictures.

    Reference for what is expected: K. Boyd, K. H. Eng, C. D. Page, Area under the precision-recall curve: point
    estimates and confidence intervals, ECML PKDD 2013 (their binomial interval).
    """
    m = positive.sum(axis=1).astype(np.float64)
    inside = np.clip([each.centre for each in areas], 0.25 / m, 1 - 0.25 / m)
    seen, freedom = np.array([_variance(each.influence) for each in areas]).T
    freedom = np.minimum(freedom, m - 1)
    # The centre rests on one picture fewer, and varies more than the area itself.
    seen = seen * np.square(m / np.maximum(m - 1, 1))
    expected = inside * (1 - inside) / m
    variance = _averaged(seen, expected, freedom)
    return AreaLuck(
        positives=m,
        negatives=positive.shape[1] - m,
        inside=inside,
        expected=expected,
        ratio=variance / expected,
        freedom=_freedom(variance, _doubt(seen, freedom)),
        together=_correlation(np.array([each.influence for each in areas])),
    )


def micro_luck(area: RankedArea, num: int, *, roc: bool) -> AreaLuck:
    """How the area over all answers of ``num`` pictures in one list varies; each picture's answers are one draw.

    Expected is the variance with one other answer a picture (``roc``: area under the ROC curve), or of a share.
    """
    each = area.influence.reshape(num, -1).sum(axis=1)
    size = np.full(1, float(num))
    inside = np.clip([area.centre], 0.25 / size**2, 1 - 0.25 / size**2)
    expected = auc_variance(inside, positives=size, negatives=size) if roc else inside * (1 - inside) / size
    seen, freedom = (np.array([value]) for value in _variance(each))
    variance = _averaged(seen, expected, freedom)
    return AreaLuck(
        positives=size,
        negatives=size,
        inside=inside,
        expected=expected,
        ratio=variance / expected,
        freedom=_freedom(variance, _doubt(seen, freedom)),
        together=np.ones((1, 1)),
    )


def auc_interval(
    areas: Sequence[RankedArea],
    luck: AreaLuck,
    *,
    weights: NDArray[np.float64],
    of_weights: float = 0.0,
    level: float = 0.95,
) -> Interval:
    """A score interval for a weighted mean of areas under ROC curves; never a point, even where nothing overlaps.

    The variance is asked for at each mean that might be true, so that it does not vanish where the few pictures of a
    class are in perfect order by luck: it changes as if all classes had that area. The quantile is Student's.

    Args:
        weights: ``[K]``, of sum 1. of_weights: what the variance gains since these are drawn, too.

    Reference: R. G. Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney statistic,
    part 2, Statistics in Medicine 25 (2006), whose method 5 this is with another variance.
    """
    from scipy.optimize import brentq

    area = float(np.clip(weights @ [each.value for each in areas], 0, 1))
    inside = min(max(area, _EDGE), 1 - _EDGE)

    def alike(x: float) -> float:
        there = auc_variance(np.full(len(weights), x), positives=luck.positives, negatives=luck.negatives)
        each = weights * np.sqrt(luck.ratio * there)
        return float(each @ luck.together @ each)

    errors = weights * np.sqrt(luck.ratio * luck.expected)
    quantile = _student(errors, luck, level=level)
    factor = float(errors @ luck.together @ errors) / max(alike(float(weights @ luck.inside)), 1e-300)

    def beyond(x: float) -> float:
        return (x - area) ** 2 - quantile**2 * (factor * alike(x) + of_weights)

    # At the two borders the classes' variance is 0 by itself; the end that is looked for lies inside, or is the border.
    low = float(brentq(beyond, 0.0, inside, xtol=_EDGE)) if area > _EDGE and beyond(0.0) > 0 else 0.0
    high = float(brentq(beyond, inside, 1.0, xtol=_EDGE)) if area < 1 - _EDGE and beyond(1.0) > 0 else 1.0
    return Interval(low=min(low, area), high=max(high, area))


def precision_interval(
    areas: Sequence[RankedArea],
    luck: AreaLuck,
    *,
    weights: NDArray[np.float64],
    of_weights: float = 0.0,
    level: float = 0.95,
) -> Interval:
    """Wilson's interval for a weighted mean of average precisions, as for a share of as many pictures as it is sure.

    It is drawn around the centres and holds the areas' mean as well.

    Args:
        weights: ``[K]``, of sum 1. of_weights: what the variance gains since these are drawn, too.
    """
    area, centre = (float(np.clip(weights @ [getattr(a, k) for a in areas], 0, 1)) for k in ("value", "centre"))
    errors, inside = weights * np.sqrt(luck.ratio * luck.expected), float(weights @ luck.inside)
    variance = max(float(errors @ luck.together @ errors) + of_weights, 1e-12)
    found = score_interval(centre, inside * (1 - inside) / variance, quantile=_student(errors, luck, level=level))
    return Interval(low=min(found.low, area), high=max(found.high, area))


def variance_of_weights(areas: Sequence[RankedArea], weights: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """What the variance of a mean gains where its weights are the shares of the classes' pictures, drawn like them.

    Args:
        weights: ``[K]``. targets: which of the K classes each picture is of, ``[N]``; -1 for none of them.
    """
    values = np.array([each.value for each in areas])
    of_class = np.where(targets >= 0, values[targets] - weights @ values, 0.0) / len(targets)
    of_areas = weights @ np.array([each.influence for each in areas])
    return max(float(np.square(of_areas + of_class).sum() - np.square(of_areas).sum()), 0.0)


def _student(errors: NDArray[np.float64], luck: AreaLuck, *, level: float) -> float:
    """Student's quantile for a mean whose classes have these standard errors (Satterthwaite's degrees of freedom).

    Variances of areas that go together go together as well: two classes know no more than one.
    """
    from scipy.stats import t

    shares = errors * (luck.together @ errors) / np.sqrt(luck.freedom)
    doubt = float(shares @ np.square(luck.together) @ shares)
    freedom = float(errors @ luck.together @ errors) ** 2 / doubt if doubt > 0 else _NORMAL
    normal_quantile(level)  # refuses a level outside 0..1
    return float(t.ppf(0.5 + level / 2, max(freedom, _EXPECTED_DEGREES)))


def _of_a_placement(area: NDArray[np.float64]) -> NDArray[np.float64]:
    """Its variance for normal scores of equal spread: two pictures are above a third, less the area squared."""
    from scipy.special import ndtri, owens_t

    inside = np.clip(area, 1e-12, 1 - 1e-12)
    return np.asarray(np.maximum(inside - 2 * owens_t(ndtri(inside), 3**-0.5) - inside**2, 0.0))


def _variance(influence: NDArray[np.float64]) -> tuple[float, float]:
    """The variance of the sum of N influences and its degrees of freedom: N - 1, or fewer where few make the most."""
    total, num = float(np.square(influence).sum()), len(influence)
    if num < 2 or total < 1e-18:
        return 0.0, 0.0
    peaked = float((influence**4).sum()) - total**2 / num
    return total * num / (num - 1), min(num - 1.0, 2 * total**2 / max(peaked, 1e-300))


def _averaged(
    seen: NDArray[np.float64], expected: NDArray[np.float64], freedom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What is seen and what is expected, by their degrees of freedom."""
    return np.asarray((freedom * seen + _EXPECTED_DEGREES * expected) / (freedom + _EXPECTED_DEGREES))


def _doubt(seen: NDArray[np.float64], freedom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the variance of `_averaged`: only what is seen is doubtful."""
    return np.asarray(freedom * np.square(seen / (freedom + _EXPECTED_DEGREES)))


def _freedom(variance: NDArray[np.float64], doubt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Satterthwaite's; as good as normal where nothing is seen, and what is expected stands alone."""
    return np.asarray(np.minimum(variance**2 / np.maximum(doubt, 1e-300), _NORMAL))


def _correlation(influence: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[K, K]`` from ``[K, N]``. What never varied is taken to go with the other class of two, and alone of more.

    Negative ones of few pictures are not trusted, since a mean would seem to have no variance at all.
    """
    products = influence @ influence.T
    spread = np.sqrt(np.diagonal(products))
    known = np.outer(spread, spread) > 1e-18
    found = np.where(known, products / np.maximum(np.outer(spread, spread), 1e-18), float(len(spread) == 2))
    np.fill_diagonal(found, 1.0)
    num = influence.shape[1]
    return np.asarray(np.where(found < 0, found * num / (num + _EXPECTED_DEGREES), found))
