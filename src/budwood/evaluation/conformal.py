"""Sets of classes that hold the true one in a promised share of cases (split conformal prediction).

The promise is about pictures drawn like those that the quantiles were taken from, on average over all of them: not for
each class, nor for each picture. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError, UsageError
from budwood.evaluation.plain_values import share, whole
from budwood.evaluation.predictions import Predictions

SetMethod = Literal["lac", "aps"]
COVERAGES = (0.8, 0.9, 0.95, 0.99)
# Sums of float32 probabilities end a little beside 1: a class must not fall out of a set by that.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLevel:
    """One promised coverage and the quantiles that keep it. A quantile of 1 takes all classes into the set.

    lac: of ``1 - p(true class)`` (least ambiguous sets: the smallest on average). aps: of the sum of probabilities
    down to the true class (adaptive sets: larger for hard pictures, and more even between easy and hard ones).
    """

    coverage: float
    lac: float
    aps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformal:
    """Quantiles for some coverages, taken from ``num_pictures``.

    Reference: LAC: M. Sadinle, J. Lei, L. Wasserman, Least ambiguous set-valued classifiers with bounded error levels,
    JASA 114 (2019). APS: Y. Romano, M. Sesia, E. Candès, Classification with valid and adaptive coverage, NeurIPS 2020
    (here without the random draw, so that the same picture always gets the same set; the sets are a little larger).
    """

    num_pictures: int
    levels: tuple[SetLevel, ...]

    def sets(
        self, probs: NDArray[np.float32], *, coverage: float = 0.9, method: SetMethod = "lac"
    ) -> NDArray[np.bool_]:
        """Which classes belong to each picture's set: ``[N, K]``; the most probable one always does.

        Raises:
            UsageError: there is no quantile for this coverage.
        """
        level = self._level(coverage)
        quantile = (level.lac if method == "lac" else level.aps) + _ROUNDING
        inside = 1 - probs <= quantile if method == "lac" else _summed(probs) <= quantile
        inside[np.arange(len(probs)), probs.argmax(axis=1)] = True
        return np.asarray(inside, dtype=np.bool_)

    def _level(self, coverage: float) -> SetLevel:
        for level in self.levels:
            if abs(level.coverage - coverage) < 1e-9:
                return level
        kept = ", ".join(f"{level.coverage:g}" for level in self.levels)
        raise UsageError(f"there are no class sets for a coverage of {coverage:g}; this bundle knows {kept}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them."""
        levels = [{"coverage": v.coverage, "lac": v.lac, "aps": v.aps} for v in self.levels]
        return {"num_pictures": self.num_pictures, "levels": levels}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Conformal:
        """Read what `to_dict` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        levels = tuple(
            SetLevel(
                coverage=share(each["coverage"], "coverage"),
                lac=share(each["lac"], "lac"),
                aps=share(each["aps"], "aps"),
            )
            for each in values["levels"]
        )
        return cls(num_pictures=whole(values["num_pictures"], "num_pictures"), levels=levels)


def fit_conformal(predictions: Predictions, *, coverages: Sequence[float] = COVERAGES) -> Conformal:
    """Quantiles from labelled answers to pictures that the network was not trained on.

    With n pictures the quantile is the ``ceil((n + 1) * coverage)``-th smallest score; where there are fewer pictures
    than that, every set holds all classes.

    Raises:
        DataError: the predictions have no labels, or there are none.
    """
    if predictions.targets is None or not len(predictions):
        raise DataError("class sets need labelled pictures, and there are none")
    rows = np.arange(len(predictions))
    lac = 1 - predictions.probs[rows, predictions.targets].astype(np.float64)
    aps = _summed(predictions.probs)[rows, predictions.targets]
    levels = tuple(SetLevel(coverage=c, lac=_quantile(lac, c), aps=_quantile(aps, c)) for c in coverages)
    return Conformal(num_pictures=len(predictions), levels=levels)


def _quantile(scores: NDArray[np.float64], coverage: float) -> float:
    # Rounded first: 0.9 * 20 is 18.000000000000004 for some pairs, and its ceiling 19.
    rank = math.ceil(round((len(scores) + 1) * coverage, 9))
    if rank > len(scores):
        return 1.0
    return float(min(1.0, max(0.0, np.sort(scores)[rank - 1])))


def _summed(probs: NDArray[np.float32]) -> NDArray[np.float64]:
    """For each class the sum of the probabilities of those that are more probable, and its own: ``[N, K]``."""
    order = np.argsort(-probs, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(probs, order, axis=1).astype(np.float64), axis=1)
    out = np.empty_like(sums)
    np.put_along_axis(out, order, sums, axis=1)
    return out
