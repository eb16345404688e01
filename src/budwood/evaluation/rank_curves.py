"""ROC and precision-recall curves of each class against the rest, their areas, and how sure these are.

The values agree with scikit-learn's functions. A class without pictures, or without others beside it, has no curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.area_intervals import (
    AreaLuck,
    auc_interval,
    auc_luck,
    micro_luck,
    precision_interval,
    precision_luck,
    variance_of_weights,
)
from budwood.evaluation.intervals import Estimate, Interval
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rank_influence import RankedArea, auc_influence, placements, precision_influence

_POINTS = 200  # of a drawn curve; more cannot be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What areas under ROC curves and average precisions have each of their own."""

    influence: Callable[[NDArray[np.float32], NDArray[np.bool_]], RankedArea]
    luck: Callable[[Sequence[RankedArea], NDArray[np.bool_]], AreaLuck]
    interval: Callable[..., Interval]


_ROC = _Kind(influence=auc_influence, luck=auc_luck, interval=auc_interval)
_PRECISION = _Kind(influence=precision_influence, luck=precision_luck, interval=precision_interval)


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
    own, other = placements(scores, positive)
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
    scores = rank_scores(predictions, level=level)
    targets = _labels(predictions)
    found = []
    for k, (auc, precision) in enumerate(zip(scores.roc_auc, scores.average_precision, strict=True)):
        if auc is None or precision is None:
            continue
        positive, own = targets == k, predictions.probs[:, k]
        found.append(
            ClassCurves(
                name=predictions.classes[k],
                support=int(positive.sum()),
                roc=_thinned(roc_points(own, positive), auc),
                precision_recall=_thinned(precision_recall_points(own, positive), precision),
            )
        )
    return tuple(found)


def rank_scores(predictions: Predictions, *, level: float = 0.95) -> RankScores:
    """Areas of all classes and their averages, with intervals.

    Averages take the classes' correlation as the pictures show it. The micro average puts each picture's K answers into
    one list; its interval counts them as one draw.
    """
    targets, num = _labels(predictions), len(predictions.classes)
    kept = _curved(targets, num)
    if not kept:
        nothing: tuple[Estimate | None, ...] = (None,) * num
        return RankScores(roc_auc=nothing, average_precision=nothing, roc_averages=None, precision_averages=None)
    every = targets[:, None] == np.arange(num)
    found = []
    for kind in (_ROC, _PRECISION):
        each, averages = _of_kind(kind, predictions.probs, every, kept=kept, level=level)
        at = dict(zip(kept, each, strict=True))
        found.append((tuple(at.get(k) for k in range(num)), averages))
    (roc, roc_averages), (precision, precision_averages) = found
    return RankScores(
        roc_auc=roc, average_precision=precision, roc_averages=roc_averages, precision_averages=precision_averages
    )


def _of_kind(
    kind: _Kind, probs: NDArray[np.float32], every: NDArray[np.bool_], *, kept: list[int], level: float
) -> tuple[list[Estimate], RankAverages]:
    """Of each class that has a curve, and of the averages."""
    positive = every.T[kept]
    areas = [kind.influence(own, of_class) for own, of_class in zip(probs.T[kept], positive, strict=True)]
    luck, values, one = kind.luck(areas, positive), np.array([each.value for each in areas]), np.ones(1)
    each = [
        Estimate(value=area.value, interval=kind.interval([area], luck.of(k), weights=one, level=level))
        for k, area in enumerate(areas)
    ]

    def mean(weights: NDArray[np.float64], of_weights: float) -> Estimate:
        found = kind.interval(areas, luck, weights=weights, of_weights=of_weights, level=level)
        return Estimate(value=float(np.clip(weights @ values, 0, 1)), interval=found)

    by_pictures = positive.sum(axis=1) / positive.sum()
    which = np.where(positive.any(axis=0), positive.argmax(axis=0), -1)
    whole = kind.influence(probs.ravel(), every.ravel())
    luck_of_whole = micro_luck(whole, len(probs), roc=kind is _ROC)
    return each, RankAverages(
        macro=mean(np.full(len(kept), 1 / len(kept)), 0.0),
        weighted=mean(by_pictures, variance_of_weights(areas, by_pictures, which)),
        micro=Estimate(value=whole.value, interval=kind.interval([whole], luck_of_whole, weights=one, level=level)),
    )


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
