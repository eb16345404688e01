"""What a calibration is worth on pictures that it was not fitted on: JSON-ready values for metrics.json."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from budwood.evaluation.calibrate import Calibration, apply_temperature
from budwood.evaluation.conformal import Conformal, SetMethod
from budwood.evaluation.intervals import wilson
from budwood.evaluation.metrics import Estimate, expected_calibration_error, log_loss
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.reliability import certainty_and_right, coverage_risk, reliability

METHODS: tuple[SetMethod, ...] = ("lac", "aps")


def calibration_scores(calibration: Calibration, answers: Predictions) -> dict[str, Any]:
    """How the temperature, the class sets and the thresholds did on labelled pictures.

    Args:
        answers: calibrated answers, such as those of a bundle that carries ``calibration``.

    Returns:
        ``calibration`` itself, ``ece`` and ``log_loss`` before and after, ``sets`` (the share that held the true class,
        with Wilson's interval, and the mean size), ``answered`` and ``wrong`` at each threshold, and the tables
        ``reliability`` and ``coverage_risk``.

    Raises:
        DataError: the predictions have no labels, or there are none.
    """
    before = replace(answers, probs=apply_temperature(answers.probs, 1 / calibration.temperature))
    return {
        **calibration.to_dict(),
        "test": {
            "num_pictures": len(answers),
            "ece": {"before": expected_calibration_error(before), "after": expected_calibration_error(answers)},
            "log_loss": {"before": log_loss(before), "after": log_loss(answers)},
            "sets": _sets(calibration.conformal, answers) if calibration.conformal else [],
            "thresholds": _thresholds(calibration, answers),
            "reliability": [row.to_dict() for row in reliability(answers)],
            "coverage_risk": [point.to_dict() for point in coverage_risk(answers)],
        },
    }


def _sets(conformal: Conformal, answers: Predictions) -> list[dict[str, Any]]:
    found = []
    for level in conformal.levels:
        for method in METHODS:
            inside = conformal.sets(answers.probs, coverage=level.coverage, method=method)
            held = int(inside[range(len(answers)), answers.targets].sum())
            found.append(
                {
                    "method": method,
                    "promised": level.coverage,
                    "held": _share(held, len(answers)),
                    "mean_size": float(inside.sum(axis=1).mean()),
                }
            )
    return found


def _thresholds(calibration: Calibration, answers: Predictions) -> list[dict[str, Any]]:
    certainty, right = certainty_and_right(answers)
    found = []
    for kept in calibration.thresholds:
        answered = certainty >= (2.0 if kept.threshold is None else kept.threshold)
        count, wrong = int(answered.sum()), int((answered & ~right).sum())
        found.append(
            {
                "risk": kept.risk,
                "threshold": kept.threshold,
                "answered": _share(count, len(right)),
                "wrong": _share(wrong, count) if count else None,
            }
        )
    return found


def _share(part: int, whole: int) -> dict[str, Any]:
    return {"num": part, "of": whole, **asdict(Estimate(value=part / whole, interval=wilson(part, whole)))}
