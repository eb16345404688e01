"""Intervals of averages over classes (balanced accuracy, macro F1...): as sure as a share of how many pictures?

A percentile bootstrap is too narrow where errors are few: it cannot draw an error that has not happened. Here each
class's answers are drawn from its counts and two imagined pictures that answer as all classes together do, and how many
pictures a class has is drawn, too; the spread of the score over these draws says how many pictures a plain share as
sure as that would have, and Wilson's interval for that number follows. How often such intervals hold the truth is in
docs/coverage.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, normal_quantile, score_interval
from budwood.seeding import named_generator

Statistic = Callable[[NDArray[Any]], NDArray[np.float64]]

# Cells of resampled confusion matrices held at once: 4 million float64 are 32 MB.
_CELLS_AT_ONCE = 4_000_000
_IMAGINED = 2.0  # pictures a class; chosen by simulation, with the least degrees of freedom below
_LEAST_DEGREES = 10.0


def class_average_intervals(
    confusion: NDArray[np.int64],
    statistic: Statistic,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> list[Interval]:
    """Intervals for statistics between 0 and 1 of the confusion matrix of pictures that came as they came.

    The quantile is Student's with Satterthwaite's degrees of freedom over classes, at least 10: with two pictures of
    the rare class, and one of them wrong, its variance is hardly known.

    Args:
        confusion: ``[K, K]`` counts, rows are the true classes.
        statistic: from ``[R, K, K]`` counts, whole or not, to ``[R, S]`` values.

    Returns:
        S intervals; each holds the statistic of ``confusion``.

    Reference for the share and its effective number: E. L. Korn, B. I. Graubard, Confidence intervals for proportions
    with small expected number of positive counts estimated from survey data, Survey Methodology 24 (1998).
    """
    if resamples < 2:
        raise ValueError(f"{resamples} resamples: expected at least 2")
    normal_quantile(level)  # refuses a level outside 0..1
    from scipy.stats import t

    counts = confusion.sum(axis=1)
    shares = _smoothed(confusion)
    # A class that was predicted has pictures somewhere: it is drawn as if one of them were here.
    expected = np.where((counts == 0) & (confusion.sum(axis=0) > 0), 1, counts)
    drawn = _drawn(expected, shares, statistic, total=int(counts.sum()), seed=seed, resamples=resamples)
    centre = statistic((shares * expected[:, None])[None])[0]
    point = statistic(confusion[None].astype(np.float64))[0]
    right = np.diagonal(shares)
    of_class = (right * (1 - right) * counts)[counts > 0]
    freedom = of_class.sum() ** 2 / max((of_class**2 / np.maximum(counts[counts > 0] - 1, 1)).sum(), 1e-300)
    quantile = float(t.ppf(0.5 + level / 2, max(freedom, _LEAST_DEGREES)))
    variance = drawn.var(axis=0)
    numbers = np.where(variance > 1e-12, centre * (1 - centre) / np.maximum(variance, 1e-12), counts.sum())
    return [
        score_interval(float(np.clip(value, 0, 1)), max(float(n), 1.0), quantile=quantile)
        for value, n in zip(point, numbers, strict=True)
    ]


def _smoothed(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Answer shares ``[K, K]`` of each class after the imagined pictures; only classes that occur are answered."""
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    hits = np.diagonal(confusion)
    accuracy = (hits.sum() + 1) / (confusion.sum() + 2)
    wrong = (confusion.sum(axis=0) - hits + 0.5) * occurs
    others = np.tile(wrong, (len(confusion), 1)) * ~np.eye(len(confusion), dtype=np.bool_)
    total = others.sum(axis=1, keepdims=True)
    answers = others / np.where(total > 0, total, 1) * (1 - accuracy)
    np.fill_diagonal(answers, 1 - answers.sum(axis=1))
    smoothed = confusion + _IMAGINED * answers
    return np.asarray(smoothed / smoothed.sum(axis=1, keepdims=True))


def _drawn(
    expected: NDArray[np.int64],
    shares: NDArray[np.float64],
    statistic: Statistic,
    *,
    total: int,
    seed: int,
    resamples: int,
) -> NDArray[np.float64]:
    """The statistics ``[R, S]`` of ``total`` pictures: first how many each class has, then how they are answered."""
    generator = named_generator(seed, "class_average_intervals")
    per_draw = max(1, _CELLS_AT_ONCE // max(1, shares.size))
    counts = generator.multinomial(total, expected / expected.sum(), size=resamples)
    pieces = (counts[done : done + per_draw] for done in range(0, resamples, per_draw))
    return np.concatenate([statistic(generator.multinomial(piece, shares)) for piece in pieces])
