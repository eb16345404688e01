"""`Calibration`: what makes a network's probabilities mean what they say, and when it had better not answer.

One temperature for all classes, fitted on pictures that the network was not trained on; thresholds for abstaining
(`abstain.py`) and class sets (`conformal.py`) from the same pictures. Which pictures those are is the pipeline's
matter, how it went on others `calibration_score.py`'s. NumPy and SciPy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.abstain import RiskThreshold, risk_thresholds
from budwood.evaluation.conformal import Conformal, fit_conformal
from budwood.evaluation.metrics import log_loss
from budwood.evaluation.plain_values import number, whole
from budwood.evaluation.predictions import Predictions

TEMPERATURES = (0.05, 20.0)
# The 95 % point of chi squared with one degree of freedom. A network that is calibrated already would be moved by the
# noise of a hundred pictures, and its calibration error with it (simulated: from .009 to .023).
_TOLD = 3.84
# A probability of 0 counts as the smallest that float32 holds in full: its logarithm must stay finite.
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a bundle knows about its own certainty.

    temperature: log-probabilities are divided by it; above 1: the network was too sure, below 1: not sure enough.
    fitted_on: which pictures, in words; num_pictures: how many. thresholds: from which certainty on to answer.
    conformal: class sets; None where there are none.
    """

    temperature: float
    fitted_on: str
    num_pictures: int
    thresholds: tuple[RiskThreshold, ...] = ()
    conformal: Conformal | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them."""
        return {
            "temperature": self.temperature,
            "fitted_on": self.fitted_on,
            "num_pictures": self.num_pictures,
            "thresholds": [t.to_dict() for t in self.thresholds],
            "conformal": self.conformal.to_dict() if self.conformal else None,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Read what `to_dict` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        temperature = number(values["temperature"], "temperature")
        if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
            raise ValueError(f"temperature is {temperature:g}; expected {TEMPERATURES[0]:g} to {TEMPERATURES[1]:g}")
        return cls(
            temperature=temperature,
            fitted_on=str(values["fitted_on"]),
            num_pictures=whole(values["num_pictures"], "num_pictures"),
            thresholds=tuple(RiskThreshold.from_dict(each) for each in values["thresholds"]),
            conformal=Conformal.from_dict(values["conformal"]) if values["conformal"] is not None else None,
        )


def apply_temperature(probs: NDArray[np.floating[Any]], t: float) -> NDArray[np.float32]:
    """``softmax(log(p) / t)`` of each row of ``probs`` ``[N, K]``; float32, rows sum to 1. The answer stays the same.

    It works for any probabilities, also those that are means over views or models and have no logits.

    Reference: C. Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    if t == 1:
        return np.asarray(probs, dtype=np.float32)
    return np.asarray(np.exp(_log_softened(_logs(probs), t)), dtype=np.float32)


def fit_temperature(predictions: Predictions) -> float:
    """The temperature under which the labels are most likely; 1 where it cannot be told from 1 (likelihood ratio, 5 %).

    One imagined mistake, spread over all pictures, is added: without it a handful of right answers would make the
    network certain of everything. The log loss on ``predictions`` is never higher than before.

    Raises:
        DataError: the predictions have no labels, or there are none.

    Reference: the imagined mistake: J. Platt, Probabilistic outputs for support vector machines (1999).
    """
    if predictions.targets is None or not len(predictions):
        raise DataError("a temperature needs labelled pictures, and there are none")
    from scipy.optimize import minimize_scalar

    num_pictures, num_classes = predictions.probs.shape
    if num_classes < 2:
        return 1.0
    doubt = 1 / (num_pictures + 2)
    truth = np.full((num_pictures, num_classes), doubt / (num_classes - 1))
    truth[np.arange(num_pictures), predictions.targets] = 1 - doubt
    logs = _logs(predictions.probs)

    def loss(log_t: float) -> float:
        return float(-(truth * _log_softened(logs, math.exp(log_t))).sum() / num_pictures)

    low, high = (math.log(t) for t in TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    temperature = round(math.exp(float(found.x)), 6)
    softened = replace(predictions, probs=apply_temperature(predictions.probs, temperature))
    told = 2 * num_pictures * (loss(0.0) - loss(math.log(temperature))) > _TOLD
    return temperature if told and log_loss(softened) < log_loss(predictions) else 1.0


def fit_calibration(predictions: Predictions, *, fitted_on: str) -> Calibration:
    """Temperature, then thresholds and class sets of the answers at that temperature.

    Args:
        predictions: uncalibrated, labelled answers to pictures that the network was not trained on.
        fitted_on: which pictures those are, in words that a user reads.

    Raises:
        DataError: the predictions have no labels, or there are none.
    """
    temperature = fit_temperature(predictions)
    calibrated = replace(predictions, probs=apply_temperature(predictions.probs, temperature))
    return Calibration(
        temperature=temperature,
        fitted_on=fitted_on,
        num_pictures=len(predictions),
        thresholds=risk_thresholds(calibrated),
        conformal=fit_conformal(calibrated),
    )


def _logs(probs: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.log(np.maximum(np.asarray(probs, dtype=np.float64), _SMALLEST))


def _log_softened(logs: NDArray[np.float64], t: float) -> NDArray[np.float64]:
    """The logarithm of ``softmax(logs / t)``."""
    scaled = (logs - logs.max(axis=1, keepdims=True)) / t
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)), dtype=np.float64)
