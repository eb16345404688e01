"""What each picture adds to an area under a curve: the material of which `area_intervals.py` makes variances.

The influence of a picture is the derivative of the area by the picture's weight; over all pictures it adds up to 0, and
the sum of its squares is the variance of the area over draws of pictures (the infinitesimal jackknife).

Reference: L. A. Jaeckel, The infinitesimal jackknife, Bell Laboratories memorandum (1972); for areas under ROC curves
the same as E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Comparing the areas under two or more correlated receiver
operating characteristic curves, Biometrics 44 (1988).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedArea:
    """An area, the value around which its interval is to be drawn (without bias), each picture's influence ``[N]``."""

    value: float
    centre: float
    influence: NDArray[np.float64]


def placements(
    scores: NDArray[np.float32], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each picture of the class the share of others below it, for each other the share of the class above it."""
    from scipy.stats import rankdata

    ranks, own, other = rankdata(scores), int(positive.sum()), int((~positive).sum())
    if not own or not other:
        return np.empty(0), np.empty(0)
    below = (ranks[positive] - rankdata(scores[positive])) / other
    above = 1 - (ranks[~positive] - rankdata(scores[~positive])) / own
    return below, above


def auc_influence(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> RankedArea:
    """The area under the ROC curve; both kinds of pictures have to occur."""
    own, other = placements(scores, positive)
    area, each = float(own.mean()), np.empty(len(scores))
    each[positive], each[~positive] = (own - area) / len(own), (other - area) / len(other)
    return RankedArea(value=area, centre=area, influence=each)


def precision_influence(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> RankedArea:
    """The average precision; a picture of the class has to occur.

    A picture of the class counts with the precision at its own score, and raises the precisions at all lower scores of
    the class; another picture lowers them. The precision at a picture's own score counts that picture as a hit, which
    makes the average of few pictures too high. The centre leaves it out, and lets the others stand for it.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, right = scores[order], positive[order]
    last = np.flatnonzero(np.diff(ordered, append=-np.inf))
    hits = np.cumsum(right)[last].astype(np.float64)
    above, new = last + 1.0, np.diff(hits, prepend=0.0)
    precision, total = hits / above, hits[-1]
    area = float((new * precision).sum() / total)
    raised = np.cumsum((new / above)[::-1])[::-1]
    lowered = np.cumsum((new * precision / above)[::-1])[::-1]
    at = np.searchsorted(last, np.arange(len(ordered)))
    each = np.empty(len(scores))
    each[order] = (right * (precision[at] - area + raised[at]) - lowered[at]) / total
    alarms, others = above - hits, (hits - 1).clip(0) * total / max(total - 1, 1)
    without = np.where(others + alarms > 0, others / np.maximum(others + alarms, 1e-12), 1.0)
    return RankedArea(value=area, centre=float((new * without).sum() / total), influence=each)
