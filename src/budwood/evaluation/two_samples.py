"""Are two sets of pictures alike? A classifier that tries to tell them apart, and how well it does, with an interval.

Where nothing tells them apart, the area under its curve is a half. Arrays only: features of any network, or a single
number a picture. What it cannot see: copies. Ten near-duplicates in one set make that set easy to tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval

FOLDS = 5
LEAST = 20  # pictures of each set: with fewer, nothing can be told
_MOST_DIRECTIONS = 50
_PICTURES_A_DIRECTION = 8  # with fewer, the classifier learns its training folds by heart
_STRENGTH = 0.1  # scikit-learn's C on whitened directions


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well two sets are told apart: 0.5 not at all, 1 always. ``interval`` is of 95 %."""

    auc: float
    interval: Interval

    @property
    def is_seen(self) -> bool:
        """Whether the sets differ by more than luck."""
        return self.interval.low > 0.5

    @property
    def words(self) -> str:
        """How much, in a word or two."""
        if not self.is_seen:
            return "cannot be told apart"
        for bound, text in ((0.6, "differ a little"), (0.75, "differ noticeably"), (0.9, "differ strongly")):
            if self.auc < bound:
                return text
        return "are quite different"


def separation(low: NDArray[np.floating], high: NDArray[np.floating], *, widened: float = 1.0) -> Separation:
    """How often a number of the second set is above one of the first (ties count half), with DeLong's interval.

    Args:
        low, high: ``[N]`` and ``[M]`` numbers.
        widened: a factor on the interval's half width, where the numbers are not independent.

    Raises:
        ValueError: one of them is empty.

    Reference: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Comparing the areas under two or more correlated
    receiver operating characteristic curves, Biometrics 44 (1988).
    """
    if not len(low) or not len(high):
        raise ValueError("two sets are compared, and one is empty")
    # The share of the other set that lies on the right side of each number.
    above = _shares_below(low, high)
    below = 1 - _shares_below(high, low)
    auc = float(above.mean())
    variance = _variance(above) / len(high) + _variance(below) / len(low)
    # With no overlap the variance is 0, which is not what so few pictures show: one mistaken pair is imagined.
    least = 1 / (len(low) * len(high))
    half = widened * NormalDist().inv_cdf(0.975) * math.sqrt(max(variance, least))
    return Separation(auc=auc, interval=Interval(low=max(0.0, auc - half), high=min(1.0, auc + half)))


def told_apart(
    first: NDArray[np.float32], second: NDArray[np.float32], *, seed: int = 0
) -> tuple[Separation, NDArray[np.float64]]:
    """How well logistic regression tells two sets of rows apart that it has not seen, in five folds.

    Args:
        first, second: ``[N, D]`` and ``[M, D]`` features; at least `LEAST` rows each.

    Returns:
        The separation; and for each row of both, ``[N + M]``, the probability that it is of the second set, from the
        fold that left it out, as if both sets were equally large.

    Raises:
        ValueError: a set has fewer than `LEAST` rows.

    Reference: D. Lopez-Paz, M. Oquab, Revisiting classifier two-sample tests, ICLR 2017. The folds share what they
    train on, so the interval is widened as in C. Nadeau, Y. Bengio, Inference for the generalization error, Machine
    Learning 52 (2003); without that, 5 to 10 of 100 pairs of equal sets were told apart, with it 1 to 3.
    """
    if min(len(first), len(second)) < LEAST:
        raise ValueError(f"{len(first)} and {len(second)} rows: at least {LEAST} of each set are needed")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    rows = np.concatenate([first, second]).astype(np.float64)
    side = np.repeat([0, 1], [len(first), len(second)])
    directions = _directions(
        rows, most=min(_MOST_DIRECTIONS, 2 * min(len(first), len(second)) // _PICTURES_A_DIRECTION)
    )
    found = np.empty(len(rows))
    for train, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(directions, side):
        model = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=500)
        found[held] = model.fit(directions[train], side[train]).predict_proba(directions[held])[:, 1]
    widened = math.sqrt(1 + FOLDS / (FOLDS - 1))
    return separation(found[: len(first)], found[len(first) :], widened=widened), found


def _directions(rows: NDArray[np.float64], *, most: int) -> NDArray[np.float64]:
    """The ``most`` strongest directions of the rows, each of deviation 1. Which set a row is of plays no part."""
    centred = rows - rows.mean(axis=0)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(max(1, most), int((strengths > 1e-9 * max(float(strengths[0]), 1e-300)).sum()) or 1)
    return np.asarray(left[:, :kept] * math.sqrt(len(rows)), dtype=np.float64)


def _shares_below(values: NDArray[np.floating], each: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each number of ``each``, the share of ``values`` that is below it; equal ones count half."""
    ordered = np.sort(values)
    left, right = np.searchsorted(ordered, each, "left"), np.searchsorted(ordered, each, "right")
    return np.asarray((left + right) / (2 * len(values)), dtype=np.float64)


def _variance(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.25
