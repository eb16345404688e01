"""The nouns of judging: `Metrics` with what it is made of, and the confusions that it holds, the commonest first.

Plain values with a way to JSON; nothing is computed from predictions here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from budwood.evaluation.class_averages import ClassAverages
from budwood.evaluation.intervals import Estimate
from budwood.evaluation.rank_curves import RankAverages


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """The scores of one class. ``support`` pictures are of it, ``num_predicted`` were taken for it.

    roc_auc, average_precision: of the class against the rest; None where one of the two has no picture.
    """

    name: str
    support: int
    num_predicted: int
    num_correct: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    roc_auc: Estimate | None
    average_precision: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbabilityScores:
    """Scores of the probabilities. ``top`` holds (k, share) for k = 3 and 5 below the number of classes.

    calibration_error: its value is biased upwards for few pictures; the interval is not, and may lie below it.
    """

    log_loss: Estimate
    brier: Estimate
    calibration_error: Estimate
    top: tuple[tuple[int, Estimate], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What predictions are worth. ``confusion[t][p]`` counts pictures of class t taken for class p.

    roc_auc, average_precision: averages over classes; None where no class has a curve.
    """

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
    averages: ClassAverages
    probabilities: ProbabilityScores
    roc_auc: RankAverages | None
    average_precision: RankAverages | None

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
