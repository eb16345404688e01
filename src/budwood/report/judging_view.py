"""What a score is worth, as values for the page: certainty, abstaining, class sets, views, looks, curves, residuals.

From a run's metrics.json and its test answers. Runs of earlier versions lack some of it: what is missing is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budwood.evaluation.intervals import Interval
from budwood.evaluation.metrics import Estimate
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.rank_curves import ClassCurves, class_curves
from budwood.evaluation.reliability import ReliabilityBin, RiskPoint, coverage_risk, reliability
from budwood.evaluation.residuals import ClassResiduals, class_residuals

_SETS_SHOWN = "lac"  # the smaller sets; both kinds are in metrics.json


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRow:
    """Asked for at most ``risk`` wrong; ``threshold`` None: not reachable. The estimates are of the test part."""

    risk: float
    threshold: float | None
    answered: Estimate
    num_answered: int
    wrong: Estimate | None
    num_wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRow:
    """Class sets: the share of them that shall hold the true class, that did, and their mean size."""

    promised: float
    held: Estimate
    mean_size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationView:
    """What was fitted, and what it is worth on the test part. ``ece``: the calibration error before and after."""

    temperature: float
    fitted_on: str
    num_fitted: int
    ece: tuple[float, float]
    log_loss: tuple[float, float]
    thresholds: tuple[ThresholdRow, ...] = ()
    sets: tuple[SetRow, ...] = ()

    @property
    def words(self) -> str:
        """What the temperature says."""
        if self.temperature == 1:
            return "Its certainty was left as it is: no other temperature made the labels more likely."
        way = "too sure" if self.temperature > 1 else "not sure enough"
        return (
            f"The network was {way} of itself; its certainty was corrected by a temperature of {self.temperature:.2f}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsRow:
    """What several views of a picture brought on the test part: a sentence, and the numbers."""

    words: str
    num_views: int
    one_view: float
    all_views: float
    value: float
    low: float
    high: float
    verdict: str
    cost: float
    chosen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingView:
    """Everything that is shown of it; parts that are not known are None or empty. ``num_looks``: at the test part."""

    looks: str = ""
    num_looks: int = 1
    calibration: CalibrationView | None = None
    bins: tuple[ReliabilityBin, ...] = ()
    risks: tuple[RiskPoint, ...] = ()
    views: ViewsRow | None = None
    curves: tuple[ClassCurves, ...] = ()
    residuals: tuple[ClassResiduals, ...] = ()


def judging_view(metrics: Mapping[str, Any], answers: Predictions) -> JudgingView:
    """The section for a run's metrics.json and its labelled answers to the test part."""
    found = metrics.get("calibration")
    tta = metrics.get("tta")
    return JudgingView(
        looks=_looks(metrics),
        num_looks=int(metrics.get("test_looks") or 1),
        calibration=_calibration(found) if found and "test" in found else None,
        bins=reliability(answers),
        risks=coverage_risk(answers),
        views=_views(tta, metrics.get("view_choice")) if tta else None,
        curves=class_curves(answers),
        residuals=class_residuals(answers),
    )


def _looks(metrics: Mapping[str, Any]) -> str:
    """How often this test part has been looked at, as a sentence; empty where it was not counted."""
    words = metrics.get("looks")
    if not words:
        return ""
    text = str(words)
    if metrics.get("test_looks") == 1:
        return "This test part has been looked at once, for this score."
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _calibration(found: Mapping[str, Any]) -> CalibrationView:
    test = found["test"]
    return CalibrationView(
        temperature=float(found["temperature"]),
        fitted_on=str(found["fitted_on"]),
        num_fitted=int(found["num_pictures"]),
        ece=(test["ece"]["before"], test["ece"]["after"]),
        log_loss=(test["log_loss"]["before"], test["log_loss"]["after"]),
        thresholds=tuple(
            ThresholdRow(
                risk=row["risk"],
                threshold=row["threshold"],
                answered=_estimate(row["answered"]),
                num_answered=row["answered"]["num"],
                wrong=_estimate(row["wrong"]) if row["wrong"] else None,
                num_wrong=row["wrong"]["num"] if row["wrong"] else 0,
            )
            for row in test["thresholds"]
        ),
        sets=tuple(
            SetRow(promised=row["promised"], held=_estimate(row["held"]), mean_size=row["mean_size"])
            for row in test["sets"]
            if row["method"] == _SETS_SHOWN
        ),
    )


def _views(found: Mapping[str, Any], choice: Mapping[str, Any] | None) -> ViewsRow:
    difference = found["difference"]
    return ViewsRow(
        words=str(found["words"]),
        num_views=int(found["views"]),
        one_view=found["one_view"],
        all_views=found["all_views"],
        value=difference["value"],
        low=difference["interval"]["low"],
        high=difference["interval"]["high"],
        verdict=str(difference.get("verdict", "")),
        cost=found["cost"],
        chosen=str(choice["why"]) if choice else "",
    )


def _estimate(values: Mapping[str, Any]) -> Estimate:
    interval = values["interval"]
    return Estimate(value=values["value"], interval=Interval(low=interval["low"], high=interval["high"]))
