"""How sure a number is: Wilson's interval for proportions, a stratified bootstrap for what is no proportion.

The intervals speak of the luck in which pictures were drawn, and of nothing else: not of another camera,
season or place, and not of another training run. To compare two models is a matter of paired tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from budwood.seeding import named_generator

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]

# Cells of resampled confusion matrices held at once: 8 million int64 are 64 MB.
_CELLS_AT_ONCE = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The two ends of a confidence interval, ``low <= high``."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def width(self) -> float:
        """The distance between the ends."""
        return self.high - self.low


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion; it always holds ``successes / n`` and stays inside 0..1.

    With ``n = 0`` nothing is known and the interval is 0..1.

    Raises:
        ValueError: not ``0 <= successes <= n``, or ``level`` is not inside 0..1.

    Reference: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22 (1927).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: expected 0 <= successes <= n")
    z = _normal_quantile(level)
    if n == 0:
        return Interval(low=0.0, high=1.0)
    share, pull = successes / n, z * z / n
    centre = (share + pull / 2) / (1 + pull)
    half = z * math.sqrt(share * (1 - share) / n + pull / (4 * n)) / (1 + pull)
    # At the two borders the formula is exact; rounding must not move the share out of its own interval.
    low = 0.0 if successes == 0 else min(centre - half, share)
    high = 1.0 if successes == n else max(centre + half, share)
    return Interval(low=low, high=high)


def wilson_f1(hits: int, errors: int, level: float = 0.95) -> Interval:
    """An interval for one class's F1, ``2 hits / (2 hits + errors)``, by way of a proportion.

    ``J = hits / (hits + errors)`` is the share of right ones among all pictures that are of the class or were
    taken for it, and ``F1 = 2 J / (1 + J)`` rises with it, so Wilson's interval for J carries over. A
    bootstrap would shrink to a point for a class without errors: with 20 pictures in each of 6 classes, 97 %
    of them right, its 95 % intervals held the true F1 in 68 % of 1,800 draws, these in 97 %.

    Args:
        hits: pictures of the class that were named right.
        errors: its pictures that were missed, and the others that were taken for it.

    Reference: D. J. Hand, P. Christen, N. Kirielle, F*: an interpretable transformation of the F-measure,
    Machine Learning 110 (2021).
    """
    share = wilson(hits, hits + errors, level)
    return Interval(low=2 * share.low / (1 + share.low), high=2 * share.high / (1 + share.high))


def stratified_bootstrap(
    confusion: NDArray[np.int64],
    statistic: Statistic,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> list[Interval]:
    """Percentile intervals from pictures drawn again with replacement, as many of each class as there were.

    To draw n pictures of one class again *is* to draw a multinomial from its row of the confusion matrix, so
    the cost does not depend on the number of pictures.

    Args:
        confusion: ``[K, K]`` counts, rows are the true classes.
        statistic: from ``[R, K, K]`` counts to ``[R, S]`` values: S statistics of each resample.

    Returns:
        S intervals. Where no class had an error the resamples are all alike and the interval is a point: the
        bootstrap cannot see an error that has not happened.
    """
    if resamples < 1:
        raise ValueError(f"{resamples} resamples: expected at least 1")
    tail = 50 * (1 - level)
    _normal_quantile(level)  # refuses a level outside 0..1
    counts = confusion.sum(axis=1)
    # A class without pictures draws nothing; its row only has to be a valid distribution.
    shares = np.where(counts[:, None] > 0, confusion / np.maximum(counts, 1)[:, None], np.eye(len(counts)))
    generator = named_generator(seed, "stratified_bootstrap")
    per_draw = max(1, _CELLS_AT_ONCE // max(1, confusion.size))
    values = [
        statistic(generator.multinomial(counts, shares, size=(min(per_draw, resamples - done), len(counts))))
        for done in range(0, resamples, per_draw)
    ]
    low, high = np.percentile(np.concatenate(values), [tail, 100 - tail], axis=0)
    return [Interval(low=float(a), high=float(b)) for a, b in zip(low, high, strict=True)]


def _normal_quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: expected a number between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf(0.5 + level / 2)
