"""`Decision`: one answer, or "I do not know" with the classes that it may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.errors import UsageError
from budwood.evaluation.abstain import RiskThreshold
from budwood.evaluation.calibrate import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to say of one picture.

    label: the most probable class, or None where it is not certain enough. probability: of the most probable class,
    said or not. candidates: the classes that it may be, the most probable first; never empty.
    """

    label: str | None
    probability: float
    certain: bool
    candidates: tuple[str, ...]


def decide(
    probs: NDArray[np.float32],
    *,
    classes: tuple[str, ...],
    calibration: Calibration,
    risk: float = 0.05,
    coverage: float = 0.9,
) -> tuple[Decision, ...]:
    """Answer where at most ``risk`` of the answers are wrong, and abstain elsewhere.

    Args:
        probs: calibrated probabilities ``[N, K]``.
        risk: where the calibration holds no threshold for it, the next smaller one that it holds is taken. Where none
            is reachable, nothing is answered.
        coverage: the share of pictures whose true class shall be among the candidates.

    Raises:
        UsageError: the calibration has no threshold for so small a risk, or no class sets for this coverage.
    """
    threshold = threshold_for(calibration, risk).threshold
    best, certainty = probs.argmax(axis=1), probs.max(axis=1)
    if calibration.conformal is None:
        raise UsageError("this bundle carries no class sets, so it has no candidates to offer")
    sets = calibration.conformal.sets(probs, coverage=coverage)
    order = np.argsort(-probs, axis=1, kind="stable")
    decisions = []
    for row in range(len(probs)):
        certain = threshold is not None and float(certainty[row]) >= threshold
        decisions.append(
            Decision(
                label=classes[int(best[row])] if certain else None,
                probability=float(certainty[row]),
                certain=certain,
                candidates=tuple(classes[int(k)] for k in order[row] if sets[row, k]),
            )
        )
    return tuple(decisions)


def threshold_for(calibration: Calibration, risk: float) -> RiskThreshold:
    """The threshold for ``risk`` (0-1), or for the next smaller one that is kept.

    Raises:
        UsageError: all that are kept are for larger risks.
    """
    kept = [t for t in calibration.thresholds if t.risk <= risk + 1e-9]
    if not kept or not 0 < risk < 1:
        known = ", ".join(f"{t.risk:g}" for t in calibration.thresholds) or "none"
        raise UsageError(f"there is no threshold for a risk of {risk:g}; this bundle knows {known}")
    return max(kept, key=lambda threshold: threshold.risk)
