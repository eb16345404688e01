"""Scores averaged over the classes of a confusion matrix, with intervals.

Values agree with scikit-learn's (zero divisions count as 0). Averages of recalls and precisions are sums of shares,
those of F1 are not: each has its own kind of interval (docs/metrics.md). Scores of single classes are in `metrics.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.effective import class_average_intervals
from budwood.evaluation.intervals import Estimate
from budwood.evaluation.share_sums import share_sum_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAverages:
    """Scores averaged over classes. Micro averages of one label a picture are the accuracy, all three of them.

    macro: over the classes that have pictures or were predicted, each alike. weighted: by the classes' pictures; its
    recall is the accuracy.
    """

    macro_precision: Estimate
    macro_recall: Estimate
    macro_f1: Estimate
    weighted_precision: Estimate
    weighted_recall: Estimate
    weighted_f1: Estimate


def class_averages(
    confusion: NDArray[np.int64], accuracy: Estimate, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> tuple[Estimate, ClassAverages]:
    """Balanced accuracy, and all averages over classes.

    Args:
        confusion: ``[K, K]`` counts, rows are the true classes; at least one picture.
        accuracy: of the same pictures; it is the weighted recall.
        seed, resamples: of the draws behind the intervals of F1.
    """
    support, claimed = confusion.sum(axis=1), confusion.sum(axis=0)
    hits = np.diagonal(confusion)
    has_pictures, occurs = support > 0, support + claimed > 0
    alike, by_pictures = occurs / occurs.sum(), support / support.sum()

    def mean_of(
        counts: NDArray[np.int64], kept: NDArray[np.bool_], weights: NDArray[np.float64], of_weights: float = 0.0
    ) -> Estimate:
        value = float(weights[kept] @ (hits[kept] / np.maximum(counts[kept], 1)))
        found = share_sum_interval(hits[kept], counts[kept], weights=weights[kept], of_weights=of_weights, level=level)
        return Estimate(value=value, interval=found)

    f1s = class_average_intervals(confusion, f1_averages, seed=seed, resamples=resamples, level=level)
    macro_f1, weighted_f1 = (
        Estimate(value=float(value), interval=interval)
        for value, interval in zip(f1_averages(confusion[None].astype(np.float64))[0], f1s, strict=True)
    )
    return mean_of(support, has_pictures, has_pictures / has_pictures.sum()), ClassAverages(
        macro_precision=mean_of(claimed, occurs, alike),
        # A class without pictures has no recall to be unsure of: by convention it counts 0.
        macro_recall=mean_of(support, has_pictures, alike),
        macro_f1=macro_f1,
        weighted_precision=mean_of(claimed, has_pictures, by_pictures, _of_weights(confusion)),
        weighted_recall=accuracy,
        weighted_f1=weighted_f1,
    )


def _of_weights(confusion: NDArray[np.int64]) -> float:
    """What the variance of the weighted precision gains since the classes' shares of the pictures are drawn, too.

    By the delta method: a picture changes the weights by what its class's precision is above the mean, and the
    precision of the class that it was taken for; the gain is the variance of the former and twice the covariance.
    """
    support, claimed, total = confusion.sum(axis=1), confusion.sum(axis=0), confusion.sum()
    precision = np.diagonal(confusion) / np.maximum(claimed, 1)
    above = precision - support @ precision / total
    of_precision = (np.eye(len(confusion)) - precision) * (support / np.maximum(claimed, 1))
    both = float((confusion * above[:, None] * of_precision).sum())
    return max(float(support @ np.square(above)) + 2 * both, 0.0) / float(total) ** 2


def f1_averages(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """``[R, K, K]`` counts, whole or not, to ``[R, 2]``: macro F1 and weighted F1."""
    support, claimed = confusion.sum(axis=-1), confusion.sum(axis=-2)
    total = support + claimed
    f1 = 2 * np.diagonal(confusion, axis1=-2, axis2=-1) / np.where(total > 0, total, 1)
    share = support / support.sum(axis=-1, keepdims=True)
    return np.stack([f1.sum(axis=-1) / (total > 0).sum(axis=-1), (f1 * share).sum(axis=-1)], axis=-1)
