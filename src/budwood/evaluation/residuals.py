"""Residuals: how much probability each picture's true class was denied, by class. What report A2 plotted to see which
classes are answered half-heartedly and which are plainly missed. Plot data; draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassResiduals:
    """One class: ``values`` ascending, one a picture; ``quartiles`` of them; ``paths`` in the same order.

    missed: pictures that were taken for another class. denied: pictures whose true class got less than half.
    """

    name: str
    values: NDArray[np.float64]
    paths: tuple[str, ...]
    quartiles: tuple[float, float, float]
    missed: int
    denied: int


def residuals(predictions: Predictions) -> NDArray[np.float64]:
    """``1 - p(true class)`` of each picture, ``[N]``: 0 is sure and right, 1 is sure and wrong.

    Raises:
        DataError: the predictions have no labels.
    """
    if predictions.targets is None:
        raise DataError("these predictions have no labels; only labelled pictures have residuals")
    given = predictions.probs[np.arange(len(predictions)), predictions.targets].astype(np.float64)
    return np.asarray(np.clip(1.0 - given, 0.0, 1.0))


def class_residuals(predictions: Predictions) -> tuple[ClassResiduals, ...]:
    """Residuals by class, for each class that has pictures."""
    values = residuals(predictions)
    assert predictions.targets is not None
    wrong = predictions.predicted != predictions.targets
    found = []
    for k, name in enumerate(predictions.classes):
        rows = np.flatnonzero(predictions.targets == k)
        if not len(rows):
            continue
        rows = rows[np.argsort(values[rows], kind="stable")]
        low, middle, high = (float(q) for q in np.percentile(values[rows], [25, 50, 75]))
        found.append(
            ClassResiduals(
                name=name,
                values=values[rows],
                paths=tuple(predictions.paths[int(i)] for i in rows),
                quartiles=(low, middle, high),
                missed=int(wrong[rows].sum()),
                denied=int((values[rows] > 0.5).sum()),
            )
        )
    return tuple(found)
