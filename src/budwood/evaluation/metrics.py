"""Every score that Budwood prints, as pure functions over `Predictions`; `summarise` puts them together.

The values agree with scikit-learn's functions of the same names (zero divisions count as 0). Nothing here
knows how the predictions were made, chooses a model or compares two.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.intervals import Interval, stratified_bootstrap, wilson, wilson_f1
from budwood.evaluation.predictions import Predictions

# scikit-learn's floor for float32 probabilities: log loss stays finite for a sure and wrong answer.
_SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A measured value and the interval of what it might truly be."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """The scores of one class. ``support`` pictures are of it, ``num_predicted`` were taken for it."""

    name: str
    support: int
    num_predicted: int
    num_correct: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What predictions are worth. ``confusion[t][p]`` counts pictures of class t taken for class p."""

    num_pictures: int
    num_correct: int
    classes: tuple[str, ...]
    level: float
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    log_loss: float
    brier: float
    calibration_error: float
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusedPair:
    """``count`` of the ``support`` pictures of class ``true`` were taken for class ``predicted``."""

    true: str
    predicted: str
    count: int
    support: int

    def __str__(self) -> str:
        times = "time" if self.support == 1 else "times"
        return f"{self.true} is taken for {self.predicted} {self.count} of {self.support} {times}"


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
    return float(_balanced_accuracy(confusion_matrix(predictions)))


def macro_f1(predictions: Predictions) -> float:
    """The mean F1 of the classes that have pictures or were predicted."""
    return float(_macro_f1(confusion_matrix(predictions)))


def per_class(predictions: Predictions) -> PerClass:
    """Precision, recall, F1 and support of each class; 0 where a ratio is 0 / 0."""
    confusion = confusion_matrix(predictions)
    hits = np.diagonal(confusion)
    support = confusion.sum(axis=1)
    return PerClass(
        precision=_ratio(hits, confusion.sum(axis=0)),
        recall=_ratio(hits, support),
        f1=_f1(confusion),
        support=support,
    )


def log_loss(predictions: Predictions) -> float:
    """The mean of ``-log p(true class)``, in nats."""
    rows = np.arange(len(predictions))
    given = predictions.probs[rows, _targets(predictions)].astype(np.float64)
    return float(-np.log(np.clip(given, _SMALLEST_PROBABILITY, 1.0)).mean())


def brier(predictions: Predictions) -> float:
    """The mean over pictures of the squared distance of the probabilities to the truth: 0 best, 2 worst."""
    truth = np.eye(len(predictions.classes))[_targets(predictions)]
    return float(np.square(predictions.probs - truth).sum(axis=1).mean())


def top_k_accuracy(predictions: Predictions, *, k: int) -> float:
    """The share of pictures whose true class is among the ``k`` most probable; ties go to the lower index."""
    if k < 1:
        raise ValueError(f"k is {k}: expected at least 1")
    targets = _targets(predictions)
    order = np.argsort(-predictions.probs, axis=1, kind="stable")[:, :k]
    return float((order == targets[:, None]).any(axis=1).mean())


def expected_calibration_error(predictions: Predictions, *, num_bins: int = 15) -> float:
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


def confused_pairs(metrics: Metrics, *, limit: int = 8) -> tuple[ConfusedPair, ...]:
    """The commonest confusions, most pictures first, then the larger share of the true class."""
    pairs = [
        ConfusedPair(true=row.name, predicted=metrics.classes[p], count=count, support=row.support)
        for t, row in enumerate(metrics.per_class)
        for p, count in enumerate(metrics.confusion[t])
        if p != t and count
    ]
    pairs.sort(key=lambda pair: (-pair.count, pair.support, pair.true, pair.predicted))
    return tuple(pairs[:limit])


def summarise(predictions: Predictions, *, seed: int = 0, resamples: int = 1000, level: float = 0.95) -> Metrics:
    """All scores of labelled predictions, with intervals.

    Accuracy, recall and precision are proportions and carry Wilson's interval, F1 carries `wilson_f1`;
    balanced accuracy and macro F1 carry a bootstrap stratified by class, too narrow when errors are few.

    Raises:
        DataError: the predictions have no labels, or there are none.
    """
    confusion = confusion_matrix(predictions)
    num_pictures, num_correct = int(confusion.sum()), int(np.trace(confusion))
    overall = wilson(num_correct, num_pictures, level)
    balanced, macro = stratified_bootstrap(confusion, _averages, seed=seed, resamples=resamples, level=level)
    if num_correct == num_pictures:
        # No error has been seen, so the bootstrap says "1 to 1"; all three averages are the accuracy here.
        balanced = macro = overall
    return Metrics(
        num_pictures=num_pictures,
        num_correct=num_correct,
        classes=predictions.classes,
        level=level,
        accuracy=Estimate(value=num_correct / num_pictures, interval=overall),
        balanced_accuracy=Estimate(value=float(_balanced_accuracy(confusion)), interval=balanced),
        macro_f1=Estimate(value=float(_macro_f1(confusion)), interval=macro),
        log_loss=log_loss(predictions),
        brier=brier(predictions),
        calibration_error=expected_calibration_error(predictions),
        per_class=tuple(
            _class_metrics(confusion, k, name=name, level=level) for k, name in enumerate(predictions.classes)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def _class_metrics(confusion: NDArray[np.int64], k: int, *, name: str, level: float) -> ClassMetrics:
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
    )


def _targets(predictions: Predictions) -> NDArray[np.int64]:
    if predictions.targets is None:
        raise DataError("these predictions have no labels; only labelled pictures can be scored")
    if not len(predictions):
        raise DataError("there are no pictures to score; expected at least one")
    return predictions.targets


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(part / np.maximum(whole, 1), dtype=np.float64)


def _f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[..., K, K]`` to ``[..., K]``."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(2 * hits, confusion.sum(axis=-1) + confusion.sum(axis=-2))


def _macro_f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[..., K, K]`` to ``[...]``."""
    occurs = (confusion.sum(axis=-1) + confusion.sum(axis=-2)) > 0
    return np.asarray(_f1(confusion).sum(axis=-1) / occurs.sum(axis=-1), dtype=np.float64)


def _balanced_accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[..., K, K]`` to ``[...]``."""
    support = confusion.sum(axis=-1)
    recall = _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), support)
    return np.asarray(recall.sum(axis=-1) / (support > 0).sum(axis=-1), dtype=np.float64)


def _averages(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.stack([_balanced_accuracy(confusion), _macro_f1(confusion)], axis=-1)
