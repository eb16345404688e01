"""From which certainty on to answer, so that at most a stated share of the answers is wrong.

The threshold is chosen on labelled pictures that the network was not trained on, with a bound that allows for their
number and for the choosing. It holds for pictures drawn like those, and for no others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.plain_values import number, share, whole
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.reliability import certainty_and_right, thresholds_on_grid

RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)
CONFIDENCE = 0.9
_POINTS = 20
# Where the scan begins, and again halfway: with one start, a single early mistake would end it. Of 1, 2, 3 and 4
# starts and a binary search, two reached the highest coverage on 120 to 3,000 simulated pictures.
_STARTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskThreshold:
    """Answer from ``threshold`` of certainty on, and at most ``risk`` of the answers are wrong.

    threshold: None where so few pictures, or such a network, cannot show it. coverage: the share of the pictures that
    was answered. upper: the bound on the risk that was shown. All numbers are of the pictures that it was chosen on.
    """

    risk: float
    threshold: float | None
    coverage: float
    num_answered: int
    num_wrong: int
    upper: float

    @property
    def reachable(self) -> bool:
        """Whether there is such a threshold."""
        return self.threshold is not None

    def __str__(self) -> str:
        asked = f"at most {100 * self.risk:g} % wrong"
        if self.threshold is None:
            return f"{asked}: not reachable, on these pictures it could not be shown for any certainty"
        return (
            f"{asked}: answer from a certainty of {self.threshold:.3f} on, which {100 * self.coverage:.0f} % of the"
            f" pictures have ({self.num_wrong} of {self.num_answered} answers were wrong)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RiskThreshold:
        """Read what `to_dict` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        kept = values["threshold"]
        return cls(
            risk=share(values["risk"], "risk"),
            threshold=None if kept is None else number(kept, "threshold"),
            coverage=share(values["coverage"], "coverage"),
            num_answered=whole(values["num_answered"], "num_answered"),
            num_wrong=whole(values["num_wrong"], "num_wrong"),
            upper=share(values["upper"], "upper"),
        )


def risk_thresholds(
    predictions: Predictions, *, risks: Sequence[float] = RISKS, confidence: float = CONFIDENCE
) -> tuple[RiskThreshold, ...]:
    """For each risk the lowest certainty whose risk is shown to be at most that.

    Thresholds that answer 5 %, 10 % ... of the pictures are tested from the most certain on, by Clopper's and
    Pearson's upper bound. A test that succeeds hands its chance of error to the next, one that fails loses it; half of
    the chance enters at the first threshold with enough pictures, half midway. So with ``confidence`` (0-1) none of
    the thresholds that pass has a higher risk, however many are tried.

    Raises:
        DataError: the predictions have no labels, or there are none.

    Reference: B. L. Wiens, A fixed sequence Bonferroni procedure for testing multiple endpoints, Pharmaceutical
    Statistics 2 (2003); the idea of a guaranteed risk: Y. Geifman, R. El-Yaniv, Selective classification for deep
    neural networks, NIPS 2017.
    """
    certainty, right = certainty_and_right(predictions)
    grid = thresholds_on_grid(certainty, num_points=_POINTS)
    answered = np.array([(certainty >= t).sum() for t in grid], dtype=np.int64)
    wrong = np.array([(~right[certainty >= t]).sum() for t in grid], dtype=np.int64)
    return tuple(
        _threshold(risk, grid, answered, wrong, num_pictures=len(right), error=1 - confidence) for risk in risks
    )


def upper_bound(wrong: int, n: int, *, confidence: float) -> float:
    """Clopper's and Pearson's one-sided upper bound of a share, ``wrong`` of ``n`` seen.

    Reference: C. J. Clopper, E. S. Pearson, The use of confidence or fiducial limits, Biometrika 26 (1934).
    """
    if wrong >= n:
        return 1.0
    from scipy.stats import beta

    return float(beta.ppf(confidence, wrong + 1, n - wrong))


def _threshold(
    risk: float,
    grid: NDArray[np.float64],
    answered: NDArray[np.int64],
    wrong: NDArray[np.int64],
    *,
    num_pictures: int,
    error: float,
) -> RiskThreshold:
    passed, shown, carried = -1, 1.0, 0.0
    for i, entering in enumerate(_entering(risk, answered, error=error)):
        chance = carried + entering
        upper = upper_bound(int(wrong[i]), int(answered[i]), confidence=1 - chance) if chance else 1.0
        carried = chance if upper <= risk else 0.0
        if upper <= risk:
            passed, shown = i, upper
    if passed < 0:
        return RiskThreshold(risk=risk, threshold=None, coverage=0.0, num_answered=0, num_wrong=0, upper=1.0)
    return RiskThreshold(
        risk=risk,
        threshold=float(grid[passed]),
        coverage=int(answered[passed]) / num_pictures,
        num_answered=int(answered[passed]),
        num_wrong=int(wrong[passed]),
        upper=shown,
    )


def _entering(risk: float, answered: NDArray[np.int64], *, error: float) -> NDArray[np.float64]:
    """The chance of error that enters at each threshold; how many pictures there are decides it, never a label."""
    entering = np.zeros(len(answered))
    enough = math.log(error / _STARTS) / math.log1p(-risk)  # so many right answers in a row would show it
    first = int(np.searchsorted(answered, enough))
    if first < len(answered):
        starts = np.unique(np.linspace(first, len(answered) - 1, _STARTS + 1)[:_STARTS].round().astype(int))
        entering[starts] = error / len(starts)
    return entering
