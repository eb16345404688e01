"""How much too good the best of several looks at one test part is, when all models are equally good."""

from __future__ import annotations

import math

import numpy as np


def expected_optimism(looks: int, *, pictures: int, accuracy: float, correlation: float = 0.0) -> float:
    """What the best of ``looks`` equally good models scores above the truth, on average.

    Each score is binomial, so with independent models the best one's distribution is ``F(x) ** looks`` and its mean
    the sum of ``1 - F(x) ** looks`` over x: the first order statistic (H. A. David, H. N. Nagaraja, Order Statistics,
    2003, section 2.1). Models that err on the same pictures share their luck; the part that choosing picks up shrinks
    with the root of ``1 - correlation``, which is exact for normal scores. Without a correlation this is an upper end.

    Args:
        looks: models scored on the test part, 1 or more.
        pictures, accuracy: of the test part; accuracy is a share.
        correlation: between two models' being right on one picture, 0 to 1.

    Returns:
        A difference of shares, 0 for one look.
    """
    if looks < 1 or pictures < 1 or not 0 <= accuracy <= 1 or not 0 <= correlation <= 1:
        raise ValueError(
            f"looks {looks}, pictures {pictures}, accuracy {accuracy}, correlation {correlation}: expected at least one"
            " look and one picture, and shares between 0 and 1"
        )
    from scipy.stats import binom

    below = binom.cdf(np.arange(pictures), pictures, accuracy)
    best = float((1 - below**looks).sum()) / pictures
    return max(0.0, best - accuracy) * math.sqrt(1 - correlation)
