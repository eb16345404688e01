"""Intervals of mean losses (log loss, Brier score) and of the calibration error.

Neither is a share. A loss is skewed: few pictures that were sure and wrong make most of it, and a plain interval is too
short at its upper end. The calibration error is biased upwards, so that an interval around it would miss the truth.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, normal_quantile
from budwood.seeding import named_generator

_VALUES_AT_ONCE = 4_000_000  # of resampled pictures: 32 MB
_NOTHING = 1e-9  # of the mean: what rounding leaves of the spread of equal losses
_SCALES = tuple(i / 20 for i in range(81))  # of the gaps, among which the calibration error's truth is looked for
_UNUSUAL = 0.4  # of what the level leaves: the true gaps need have neither of the shapes that are tried
_SURE = 0.5e-3  # no bin is right more surely than this from 1, or from 0


def mean_loss_interval(
    losses: NDArray[np.float64], *, largest: float, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """An interval for the mean of ``losses`` ``[N]`` by the bootstrap-t of its logarithm.

    Each resample is judged in units of its own standard error, which makes the interval reach further up where the
    losses are skewed. Of a single picture, or of two alike, nothing is known: 0 to ``largest``.

    Args:
        losses: one a picture, 0 or more.
        largest: the loss cannot be more than this.

    Reference: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12.
    """
    normal_quantile(level)  # refuses a level outside 0..1
    own, num = np.sort(losses), len(losses)  # sorted: the interval does not depend on the order of the pictures
    mean, error = float(losses.mean()), float(losses.std(ddof=1)) / math.sqrt(num) if num > 1 else 0.0
    if error <= _NOTHING * mean or mean == 0:
        return Interval(low=0.0, high=largest if num < 3 else _unseen(losses, largest))
    generator = named_generator(seed, "mean_loss_interval")
    means, errors = np.empty(resamples), np.empty(resamples)
    step = max(1, _VALUES_AT_ONCE // num)
    for done in range(0, resamples, step):
        drawn = own[generator.integers(0, num, (min(step, resamples - done), num))]
        means[done : done + step] = drawn.mean(axis=1)
        errors[done : done + step] = drawn.std(axis=1, ddof=1) / math.sqrt(num)
    usable = (errors > _NOTHING * means) & (means > 0)
    if not usable.any():
        return Interval(low=0.0, high=largest)
    told = (np.log(means[usable]) - math.log(mean)) * means[usable] / errors[usable]
    first, last = np.percentile(told, [50 * (1 - level), 50 * (1 + level)])
    if last - first <= _NOTHING:  # two pictures: a resample is one of them twice, or both as they are
        return Interval(low=0.0, high=largest)
    spread = error / mean
    low, high = (mean * math.exp(min(-end * spread, 50.0)) for end in (last, first))
    return Interval(low=min(low, mean), high=min(max(high, mean), largest))


def calibration_interval(
    right: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    *,
    num_bins: int,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """An interval for the true calibration error, by asking which truths would give what was seen.

    The gaps seen in the bins are scaled by many factors from none upwards. For each, answers are drawn and their error
    measured with all its upward bias; the truths for which the error that was seen is nothing unusual are kept. Two
    shapes of the gaps are tried, as seen and with the luck of few pictures shrunken out of each bin, and what either
    allows is kept. Since the true gaps need be neither, what counts as unusual is 2 in 100 where 5 are asked for. The
    plain error may lie above the interval: then most of it is bias.

    Args:
        right, confidence: of N answers.
        num_bins: equally wide bins of confidence, as `expected_calibration_error` takes them.

    Reference for the shrinking: B. Efron, C. Morris, Data analysis using Stein's estimator and its generalizations,
    Journal of the American Statistical Association 70 (1975).
    """
    bins = np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    used, inverse, counts = np.unique(bins, return_inverse=True, return_counts=True)
    stated = np.bincount(inverse, confidence, len(used)) / counts
    gaps = np.bincount(inverse, right, len(used)) / counts - stated
    seen = float((counts * np.abs(gaps)).sum()) / len(right)
    generator = named_generator(seed, "calibration_interval")
    drawn = generator.multinomial(len(right), counts / len(right), size=resamples)
    tail = 50 * (1 - level) * _UNUSUAL
    kept = []
    for shape in _shapes(gaps, stated, counts):

        def told(scale: float, shape: NDArray[np.float64] = shape) -> tuple[float, float]:
            """Between which errors the seen one would lie, were the gaps so large."""
            shares = _true_shares(scale * shape, stated)
            errors = np.abs(generator.binomial(drawn, shares) - drawn * stated).sum(axis=1) / len(right)
            low, high = np.percentile(errors, [tail, 100 - tail])
            return float(low), float(high)

        kept += [
            float((counts * np.abs(_true_shares(scale * shape, stated) - stated)).sum()) / len(right)
            for scale in _fitting_scales(told, seen)
        ]
    return Interval(low=min(kept), high=max(kept)) if kept else Interval(low=0.0, high=max(seen, 1 / len(right)))


def _shapes(
    gaps: NDArray[np.float64], stated: NDArray[np.float64], counts: NDArray[np.int64]
) -> list[NDArray[np.float64]]:
    """The gaps of the bins as seen, and without the luck of few pictures where more than luck was seen."""
    luck = np.maximum(stated * (1 - stated), 0.01) / counts
    beyond = float((counts * (np.square(gaps) - luck)).sum() / counts.sum())
    return [gaps, gaps * beyond / (beyond + luck)] if beyond > 0 else [gaps]


def _true_shares(gaps: NDArray[np.float64], stated: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often the answers of each bin would be right."""
    return np.clip(stated + gaps, _SURE, 1 - _SURE)


def _fitting_scales(told: Callable[[float], tuple[float, float]], seen: float) -> list[float]:
    """The least and the largest scale that fit, each moved halfway to its neighbour that does not; none may fit.

    Both ends of what is told rise with the scale, so that either is found by halving.
    """
    last = len(_SCALES) - 1
    first = bisect_left(range(last + 1), True, key=lambda i: told(_SCALES[i])[1] >= seen)
    final = bisect_left(range(last + 1), True, lo=min(first, last), key=lambda i: told(_SCALES[i])[0] > seen) - 1
    if first > final:
        return []
    before, after = max(first - 1, 0), min(final + 1, last)
    return [(_SCALES[first] + _SCALES[before]) / 2, (_SCALES[final] + _SCALES[after]) / 2]


def _unseen(losses: NDArray[np.float64], largest: float) -> float:
    """All losses are alike: the rule of three says how often another one may still come."""
    return min(largest, float(losses.mean()) + largest * 3 / len(losses))
