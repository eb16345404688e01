"""Every score that Budwood prints, as pure functions over `Predictions`; `summarise` puts them together.

The values agree with scikit-learn's functions of the same names (zero divisions count as 0). Nothing here
knows how the predictions were made, chooses a model or compares two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.class_averages import class_averages, f1_averages
from budwood.evaluation.intervals import Estimate as Estimate  # other modules know it from here
from budwood.evaluation.intervals import wilson, wilson_f1
from budwood.evaluation.loss_intervals import calibration_interval, mean_loss_interval
from budwood.evaluation.metric_nouns import ClassMetrics as ClassMetrics
from budwood.evaluation.metric_nouns import Metrics as Metrics
from budwood.evaluation.metric_nouns import ProbabilityScores
from budwood.evaluation.metric_nouns import confused_pairs as confused_pairs
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rank_curves import rank_scores

# scikit-learn's floor for float32 probabilities: log loss stays finite for a sure and wrong answer.
_SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
_BINS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class PerClass:
    """Arrays ``[K]``, in the order of the classes."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """Counts ``[K, K]``: rows are the true classes, columns the predicted ones."""
    num_classes = len(predictions.classes)
    flat = _targets(predictions) * num_classes + predictions.predicted
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(predictions: Predictions) -> float:
    """The share of pictures that were named right."""
    return float((predictions.predicted == _targets(predictions)).mean())


def balanced_accuracy(predictions: Predictions) -> float:
    """The mean recall of the classes that have pictures."""
    confusion = confusion_matrix(predictions)
    support = confusion.sum(axis=1)
    return float(_ratio(np.diagonal(confusion), support).sum() / (support > 0).sum())


def macro_f1(predictions: Predictions) -> float:
    """The mean F1 of the classes that have pictures or were predicted."""
    return float(f1_averages(confusion_matrix(predictions)[None])[0, 0])


def per_class(predictions: Predictions) -> PerClass:
    """Precision, recall, F1 and support of each class; 0 where a ratio is 0 / 0."""
    confusion = confusion_matrix(predictions)
    hits = np.diagonal(confusion)
    support, claimed = confusion.sum(axis=1), confusion.sum(axis=0)
    return PerClass(
        precision=_ratio(hits, claimed),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + claimed),
        support=support,
    )


def log_losses(predictions: Predictions) -> NDArray[np.float64]:
    """``-log p(true class)`` of each picture, in nats, ``[N]``."""
    given = predictions.probs[np.arange(len(predictions)), _targets(predictions)].astype(np.float64)
    return np.asarray(-np.log(np.clip(given, _SMALLEST_PROBABILITY, 1.0)))


def log_loss(predictions: Predictions) -> float:
    """The mean of ``-log p(true class)``, in nats."""
    return float(log_losses(predictions).mean())


def brier_losses(predictions: Predictions) -> NDArray[np.float64]:
    """The squared distance of each picture's probabilities to the truth, ``[N]``."""
    truth = np.eye(len(predictions.classes))[_targets(predictions)]
    return np.asarray(np.square(predictions.probs - truth).sum(axis=1))


def brier(predictions: Predictions) -> float:
    """The mean over pictures of the squared distance of the probabilities to the truth: 0 best, 2 worst."""
    return float(brier_losses(predictions).mean())


def top_k_accuracy(predictions: Predictions, *, k: int) -> float:
    """The share of pictures whose true class is among the ``k`` most probable; ties go to the lower index."""
    if k < 1:
        raise ValueError(f"k is {k}: expected at least 1")
    targets = _targets(predictions)
    order = np.argsort(-predictions.probs, axis=1, kind="stable")[:, :k]
    return float((order == targets[:, None]).any(axis=1).mean())


def expected_calibration_error(predictions: Predictions, *, num_bins: int = _BINS) -> float:
    """How far the stated confidence is from the share of right answers, over equally wide bins of confidence.

    It is biased upwards for few pictures: read it as a rough sign, not as a score to be minimised.

    Reference: C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    right = predictions.predicted == _targets(predictions)
    confidence = predictions.probs.max(axis=1).astype(np.float64)
    # Bins are (low, high], so a confidence of exactly 1 belongs to the last.
    bins = np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(predictions))


def summarise(predictions: Predictions, *, seed: int = 0, resamples: int = 1000, level: float = 0.95) -> Metrics:
    """All scores of labelled predictions, each with an interval: docs/metrics.md says which.

    Raises:
        DataError: the predictions have no labels, or there are none.
    """
    confusion = confusion_matrix(predictions)
    num_pictures, num_correct = int(confusion.sum()), int(np.trace(confusion))
    accuracy = Estimate(value=num_correct / num_pictures, interval=wilson(num_correct, num_pictures, level))
    balanced, averages = class_averages(confusion, accuracy, seed=seed, resamples=resamples, level=level)
    ranks = rank_scores(predictions, level=level)
    probabilities = _probability_scores(predictions, seed=seed, resamples=resamples, level=level)
    return Metrics(
        num_pictures=num_pictures,
        num_correct=num_correct,
        classes=predictions.classes,
        level=level,
        accuracy=accuracy,
        balanced_accuracy=balanced,
        macro_f1=averages.macro_f1,
        log_loss=probabilities.log_loss.value,
        brier=probabilities.brier.value,
        calibration_error=probabilities.calibration_error.value,
        per_class=tuple(
            _class_metrics(
                confusion,
                k,
                name=name,
                level=level,
                areas=(ranks.roc_auc[k], ranks.average_precision[k]),
            )
            for k, name in enumerate(predictions.classes)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        averages=averages,
        probabilities=probabilities,
        roc_auc=ranks.roc_averages,
        average_precision=ranks.precision_averages,
    )


def _probability_scores(predictions: Predictions, *, seed: int, resamples: int, level: float) -> ProbabilityScores:
    targets, num = _targets(predictions), len(predictions)

    def mean(losses: NDArray[np.float64], largest: float) -> Estimate:
        found = mean_loss_interval(losses, largest=largest, seed=seed, resamples=resamples, level=level)
        return Estimate(value=float(losses.mean()), interval=found)

    error = calibration_interval(
        predictions.predicted == targets,
        predictions.probs.max(axis=1).astype(np.float64),
        num_bins=_BINS,
        seed=seed,
        resamples=resamples,
        level=level,
    )
    among = ((k, top_k_accuracy(predictions, k=k)) for k in (3, 5) if k < len(predictions.classes))
    return ProbabilityScores(
        log_loss=mean(log_losses(predictions), -math.log(_SMALLEST_PROBABILITY)),
        brier=mean(brier_losses(predictions), 2.0),
        calibration_error=Estimate(value=expected_calibration_error(predictions), interval=error),
        top=tuple((k, Estimate(value=v, interval=wilson(round(v * num), num, level))) for k, v in among),
    )


def _class_metrics(
    confusion: NDArray[np.int64],
    k: int,
    *,
    name: str,
    level: float,
    areas: tuple[Estimate | None, Estimate | None],
) -> ClassMetrics:
    hits, support, predicted = int(confusion[k, k]), int(confusion[k].sum()), int(confusion[:, k].sum())
    errors = support + predicted - 2 * hits
    return ClassMetrics(
        name=name,
        support=support,
        num_predicted=predicted,
        num_correct=hits,
        precision=Estimate(value=hits / max(predicted, 1), interval=wilson(hits, predicted, level)),
        recall=Estimate(value=hits / max(support, 1), interval=wilson(hits, support, level)),
        f1=Estimate(value=2 * hits / max(2 * hits + errors, 1), interval=wilson_f1(hits, errors, level)),
        roc_auc=areas[0],
        average_precision=areas[1],
    )


def _targets(predictions: Predictions) -> NDArray[np.int64]:
    if predictions.targets is None:
        raise DataError("these predictions have no labels; only labelled pictures can be scored")
    if not len(predictions):
        raise DataError("there are no pictures to score; expected at least one")
    return predictions.targets


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(part / np.where(whole > 0, whole, 1), dtype=np.float64)
