"""Two models on the same pictures, counted: the exact test, the interval that agrees with it, and many tests at once.

Only who was right where counts here. Scores that are no shares of pictures are compared in `compare.py`, and the luck
of seeds is in `crossed.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from budwood.evaluation.intervals import Interval, normal_quantile

_BESIDE = 1e-9


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p value: so uneven a division of the disagreements, or more, by tossing coins."""
    total, least = only_a + only_b, min(only_a, only_b)
    if not total:
        return 1.0
    logs = [math.lgamma(total + 1) - math.lgamma(i + 1) - math.lgamma(total - i + 1) for i in range(least + 1)]
    tail = math.fsum(math.exp(value - total * math.log(2)) for value in logs)
    return min(1.0, 2 * tail)


def paired_share_interval(only_a: int, only_b: int, total: int, *, level: float = 0.95) -> Interval:
    """Tango's score interval for ``(only_b - only_a) / total``, the difference of two shares of the same pictures.

    It is never a point, and it leaves 0 out exactly where `mcnemar` is below ``1 - level``: the score test that it
    inverts is a little bolder than the exact one, so where they part the interval is drawn out to 0.

    Args:
        only_a, only_b: pictures on which one of them alone was right. total: all pictures, 1 or more.

    Reference: T. Tango, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17 (1998).
    """
    from scipy.optimize import brentq

    z, value = normal_quantile(level), (only_b - only_a) / total

    def beyond(x: float) -> float:
        # The share of pictures that A alone names right, at its most likely were the difference x.
        slope = (2 * total - only_b + only_a) * x - only_a - only_b
        root = math.sqrt(max(slope**2 + 8 * total * only_a * x * (1 - x), 0.0))
        variance = (root - slope) / (2 * total) + x * (1 - x)
        return total * (x - value) ** 2 - z * z * max(variance, 0.0)

    # Without disagreements the variance is 0 at the value itself; the ends that are looked for lie beside it.
    low = float(brentq(beyond, -1.0, value - _BESIDE)) if value - _BESIDE > -1 else -1.0
    high = float(brentq(beyond, value + _BESIDE, 1.0)) if value + _BESIDE < 1 else 1.0
    return agreeing(Interval(low=low, high=high), mcnemar(only_a, only_b), level=level)


def agreeing(interval: Interval, p: float, *, level: float) -> Interval:
    """The interval drawn out to 0 where the p value does not tell the difference from 0."""
    if p < 1 - level:
        return interval
    return Interval(low=min(interval.low, 0.0), high=max(interval.high, 0.0))


def holm(p_values: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    """Adjusted p values. S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979)."""
    adjusted, largest = {}, 0.0
    for rank, pair in enumerate(sorted(p_values, key=lambda pair: p_values[pair])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[pair]))
        adjusted[pair] = largest
    return adjusted
