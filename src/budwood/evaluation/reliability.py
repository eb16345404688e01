"""How far stated certainty can be believed: shares of right answers by certainty, and risk by coverage.

Tables for the report and for `calibrate.py`; nothing is fitted or chosen here. Certainty is the probability of the
answer that is given.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.intervals import wilson
from budwood.evaluation.metrics import Estimate
from budwood.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Answers with a certainty from ``low`` to ``high``: how sure they were (mean), and the share of right ones."""

    low: float
    high: float
    num_pictures: int
    num_right: int
    certainty: float
    right: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskPoint:
    """What is answered from ``threshold`` of certainty on: the share of all pictures, and the share of wrong ones."""

    threshold: float
    num_answered: int
    num_wrong: int
    coverage: float
    risk: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def reliability(predictions: Predictions, *, num_bins: int = 10, level: float = 0.95) -> tuple[ReliabilityBin, ...]:
    """Bins of about equally many pictures, the least certain first; equal certainties stay together.

    Raises:
        DataError: the predictions have no labels, or there are none.
    """
    certainty, right = certainty_and_right(predictions)
    edges = np.unique(np.quantile(certainty, np.linspace(0, 1, num_bins + 1)))
    bins = np.searchsorted(edges[1:-1], certainty, side="left")
    found = []
    for number in np.unique(bins):
        own = bins == number
        count, hits = int(own.sum()), int(right[own].sum())
        found.append(
            ReliabilityBin(
                low=float(certainty[own].min()),
                high=float(certainty[own].max()),
                num_pictures=count,
                num_right=hits,
                certainty=float(certainty[own].mean()),
                right=Estimate(value=hits / count, interval=wilson(hits, count, level)),
            )
        )
    return tuple(found)


def coverage_risk(predictions: Predictions, *, num_points: int = 20, level: float = 0.95) -> tuple[RiskPoint, ...]:
    """The curve of risk by coverage, from the most certain answers to all of them.

    Raises:
        DataError: the predictions have no labels, or there are none.
    """
    certainty, right = certainty_and_right(predictions)
    points = []
    for threshold in thresholds_on_grid(certainty, num_points=num_points):
        answered = certainty >= threshold
        count, wrong = int(answered.sum()), int((~right[answered]).sum())
        points.append(
            RiskPoint(
                threshold=float(threshold),
                num_answered=count,
                num_wrong=wrong,
                coverage=count / len(right),
                risk=Estimate(value=wrong / count, interval=wilson(wrong, count, level)),
            )
        )
    return tuple(points)


def thresholds_on_grid(certainty: NDArray[np.float64], *, num_points: int) -> NDArray[np.float64]:
    """Certainties ``[<= num_points]``, falling, from which on 1/num_points, 2/num_points ... of all are answered."""
    falling = np.sort(certainty)[::-1]
    ranks = np.unique(np.maximum(1, np.round(len(falling) * np.arange(1, num_points + 1) / num_points)).astype(int))
    return np.asarray(np.unique(falling[ranks - 1])[::-1], dtype=np.float64)


def certainty_and_right(predictions: Predictions) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probability of each given answer ``[N]``, and whether it is right ``[N]``.

    Raises:
        DataError: the predictions have no labels, or there are none.
    """
    if predictions.targets is None:
        raise DataError("these predictions have no labels; only labelled pictures can be scored")
    if not len(predictions):
        raise DataError("there are no pictures to score; expected at least one")
    return predictions.probs.max(axis=1).astype(np.float64), predictions.predicted == predictions.targets
