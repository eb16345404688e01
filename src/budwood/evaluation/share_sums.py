"""Intervals of weighted sums of independent shares: balanced accuracy is one of recalls, macro precision of precisions.

Each class has a share of its own, known from its own few pictures. A percentile bootstrap cannot draw an error that has
not happened, and joining the classes' intervals lets each one's skew pull the same way; here every class lends a little
to both answers, and the sum is normal. Averages of F1, which is no share, are in `effective.py`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, normal_quantile


def share_sum_interval(
    hits: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    weights: NDArray[np.float64],
    of_weights: float = 0.0,
    level: float = 0.95,
) -> Interval:
    """An interval for ``sum of weights * true shares`` by the adjusted Wald method; it holds the sum that was seen.

    Of m classes each is given 4 / m imagined pictures, half of them hits. A class without pictures is as good as
    unknown: it is imagined at one half, with the variance of 4 / m pictures, and counts 0 in the sum that was seen.

    Args:
        hits, counts: ``[m]``, ``hits <= counts``. weights: ``[m]``, not negative, of sum 1 or less.
        of_weights: the variance that the sum has since the weights are not known, but drawn.
        level: such as 0.95.

    Raises:
        ValueError: ``level`` is not inside 0..1, or there is no class.

    Reference: R. M. Price, D. G. Bonett, An improved confidence interval for a linear function of binomial
    proportions, Computational Statistics and Data Analysis 45 (2004).
    """
    quantile = normal_quantile(level)
    if not len(counts):
        raise ValueError("there is no class to average over; expected at least one")
    sizes = counts + 4 / len(counts)
    shares = (hits + 2 / len(counts)) / sizes
    centre = float(weights @ shares)
    half = quantile * math.sqrt(float(np.square(weights) @ (shares * (1 - shares) / sizes)) + of_weights)
    seen = float(weights @ (hits / np.maximum(counts, 1)))
    return Interval(low=max(0.0, min(centre - half, seen)), high=min(1.0, max(centre + half, seen)))
