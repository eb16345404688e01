"""ROC and precision-recall curves of each class against the rest, their areas, and how sure these are.

The values agree with scikit-learn's functions. A class without pictures, or without others beside it, has no curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.area_intervals import (
    auc_interval,
    average_precision_interval,
    joined_mean,
    mean_auc_interval,
)
from budwood.evaluation.intervals import Estimate, Interval, normal_quantile, score_interval
from budwood.evaluation.predictions import Predictions

_POINTS = 200  # of a drawn curve; more cannot be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A curve as points ``x``, ``y`` (equal lengths) and the threshold at each; ``area`` below it with its interval."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    area: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCurves:
    """One class against the rest: ``roc`` over the share of false alarms, ``precision_recall`` over recall."""

    name: str
    support: int
    roc: Curve
    precision_recall: Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAverages:
    """Areas over classes: each class alike (macro), by its pictures (weighted), all answers in one list (micro)."""

    macro: Estimate
    weighted: Estimate
    micro: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class RankScores:
    """Areas of each class (None: it has no curve) and their averages; averages are None when no class has a curve."""

    roc_auc: tuple[Estimate | None, ...]
    average_precision: tuple[Estimate | None, ...]
    roc_averages: RankAverages | None
    precision_averages: RankAverages | None


def roc_points(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """False alarms and hits as shares, and thresholds: ``[T + 1]`` each, one for every distinct score, from 0, 0."""
    hits, alarms, thresholds = _counts(scores, positive)
    start = np.zeros(1)
    x = np.concatenate([start, alarms / max(alarms[-1], 1)])
    y = np.concatenate([start, hits / max(hits[-1], 1)])
    return x, y, np.concatenate([[np.inf], thresholds])


def precision_recall_points(
    scores: NDArray[np.float32], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], ...]:
    """Recall, precision and thresholds ``[T]``, from the highest threshold down."""
    hits, alarms, thresholds = _counts(scores, positive)
    return hits / max(hits[-1], 1), hits / (hits + alarms), thresholds


def roc_auc(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """The chance that a picture of the class scores above one that is not; ties count half."""
    own, other = _placements(scores, positive)
    return float(own.mean()) if len(own) and len(other) else math.nan


def average_precision(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """The precision averaged over the pictures of the class, from the surest down (no interpolation)."""
    recall, precision, _ = precision_recall_points(scores, positive)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def class_curves(predictions: Predictions, *, level: float = 0.95) -> tuple[ClassCurves, ...]:
    """What the plots need, for each class that has a curve; at most 200 points each, the ends kept.

    Raises:
        DataError: the predictions have no labels.
    """
    targets = _labels(predictions)
    found = []
    for k in _curved(targets, len(predictions.classes)):
        positive, scores = targets == k, predictions.probs[:, k]
        support = int(positive.sum())
        area, mean = roc_auc(scores, positive), average_precision(scores, positive)
        auc = auc_interval(area, positives=support, negatives=len(targets) - support, level=level)
        ap = average_precision_interval(mean, positives=support, level=level)
        found.append(
            ClassCurves(
                name=predictions.classes[k],
                support=support,
                roc=_thinned(roc_points(scores, positive), Estimate(value=area, interval=auc)),
                precision_recall=_thinned(precision_recall_points(scores, positive), Estimate(value=mean, interval=ap)),
            )
        )
    return tuple(found)


def rank_scores(predictions: Predictions, *, level: float = 0.95) -> RankScores:
    """Areas of all classes and their averages, with intervals.

    Averages of areas under ROC curves have Newcombe's interval with the variance of a mean; those of average
    precisions join the intervals of the classes. Both take the classes' correlation as the pictures show it. The micro
    average counts each picture's K answers as one draw.
    """
    targets, num = _labels(predictions), len(predictions.classes)
    auc: list[Estimate | None] = [None] * num
    ap: list[Estimate | None] = [None] * num
    kept, influence = _curved(targets, num), []
    for k in kept:
        positive, scores = targets == k, predictions.probs[:, k]
        own, other = _placements(scores, positive)
        area, mean = float(own.mean()), average_precision(scores, positive)
        interval = auc_interval(area, positives=len(own), negatives=len(other), level=level)
        auc[k] = Estimate(value=area, interval=interval)
        ap[k] = Estimate(value=mean, interval=average_precision_interval(mean, positives=len(own), level=level))
        each = np.empty(len(targets))
        each[positive], each[~positive] = (own - area) / len(own), (other - area) / len(other)
        influence.append(each)
    if not kept:
        return RankScores(roc_auc=tuple(auc), average_precision=tuple(ap), roc_averages=None, precision_averages=None)
    together = _correlation(np.array(influence))
    support = np.bincount(targets, minlength=num)[kept].astype(np.float64)
    truth = np.zeros(predictions.probs.shape, dtype=np.bool_)
    truth[np.arange(len(targets)), targets] = True
    flat, which = predictions.probs.ravel(), truth.ravel()
    micro = _micro_auc(predictions.probs, truth, level=level)
    whole = average_precision(flat, which)
    micro_ap = Estimate(value=whole, interval=average_precision_interval(whole, positives=len(targets), level=level))
    return RankScores(
        roc_auc=tuple(auc),
        average_precision=tuple(ap),
        roc_averages=_mean_areas([auc[k] for k in kept], together, support, micro, total=len(targets), level=level),
        precision_averages=_mean_precisions([ap[k] for k in kept], together, support, micro_ap),
    )


def _weightings(support: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each class alike, and by its pictures."""
    return np.full(len(support), 1 / len(support)), support / support.sum()


def _mean_areas(
    areas: list[Estimate | None],
    together: NDArray[np.float64],
    support: NDArray[np.float64],
    micro: Estimate,
    *,
    total: int,
    level: float,
) -> RankAverages:
    values = np.array([area.value for area in areas if area is not None])

    def mean(weights: NDArray[np.float64]) -> Estimate:
        value = float(np.clip(weights @ values, 0, 1))
        found = mean_auc_interval(
            value, positives=support, negatives=total - support, weights=weights, together=together, level=level
        )
        return Estimate(value=value, interval=found)

    alike, by_pictures = _weightings(support)
    return RankAverages(macro=mean(alike), weighted=mean(by_pictures), micro=micro)


def _mean_precisions(
    areas: list[Estimate | None], together: NDArray[np.float64], support: NDArray[np.float64], micro: Estimate
) -> RankAverages:
    found = [area for area in areas if area is not None]
    alike, by_pictures = _weightings(support)
    return RankAverages(
        macro=joined_mean(found, alike, together), weighted=joined_mean(found, by_pictures, together), micro=micro
    )


def _correlation(influence: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[K, K]`` from ``[K, N]``. What never varied is taken to go with the other class of two, and alone of more."""
    products = influence @ influence.T
    spread = np.sqrt(np.diagonal(products))
    known = np.outer(spread, spread) > 1e-18
    found = np.where(known, products / np.maximum(np.outer(spread, spread), 1e-18), float(len(spread) == 2))
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)


def _micro_auc(probs: NDArray[np.float32], truth: NDArray[np.bool_], *, level: float) -> Estimate:
    own, other = _placements(probs.ravel(), truth.ravel())
    area = float(own.mean())
    each = np.zeros(truth.shape)
    each[truth], each[~truth] = (own - area) / len(own), (other - area) / len(other)
    variance = float(np.square(each.sum(axis=1)).sum())
    number = area * (1 - area) / variance if variance > 1e-12 and 0 < area < 1 else len(truth)
    found = score_interval(area, max(number, 1.0), quantile=normal_quantile(level))
    # Where hardly a pair is out of order the variance is hardly known: never narrower than with one other a picture.
    least = auc_interval(area, positives=len(truth), negatives=len(truth), level=level)
    return Estimate(value=area, interval=Interval(low=min(found.low, least.low), high=max(found.high, least.high)))


def _placements(
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


def _counts(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """Hits and false alarms at each distinct score and above, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ordered, right = scores[order], positive[order]
    last = np.flatnonzero(np.diff(ordered, append=-np.inf))
    hits = np.cumsum(right)[last].astype(np.float64)
    return hits, last + 1 - hits, ordered[last].astype(np.float64)


def _thinned(points: tuple[NDArray[np.float64], ...], area: Estimate) -> Curve:
    x, y, thresholds = points
    # Evenly along the curve's own length, so that its steep start keeps its points.
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    if len(x) > _POINTS:
        rows = np.unique(np.searchsorted(length, np.linspace(0, length[-1], _POINTS)).clip(0, len(x) - 1))
        x, y, thresholds = x[rows], y[rows], thresholds[rows]
    return Curve(x=x, y=y, thresholds=thresholds, area=area)


def _curved(targets: NDArray[np.int64], num_classes: int) -> list[int]:
    support = np.bincount(targets, minlength=num_classes)
    return [k for k in range(num_classes) if 0 < support[k] < len(targets)]


def _labels(predictions: Predictions) -> NDArray[np.int64]:
    if predictions.targets is None:
        raise DataError("these predictions have no labels; only labelled pictures have curves")
    return predictions.targets
