"""How well scores tell abnormal pictures from normal ones: AUROC, and what a threshold makes of them. NumPy only.

Detectors are compared on the same pictures. The intervals speak of the luck in which pictures were drawn, not of
another training run. Where scores and thresholds come from is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.intervals import Interval, wilson
from budwood.evaluation.metrics import Estimate
from budwood.seeding import named_generator

RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """The answers of one detector: ``scores [N]``, larger is less normal; above ``threshold`` it says abnormal."""

    name: str
    scores: NDArray[np.float64]
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorScore:
    """What a detector is worth on labelled pictures.

    auroc: the chance that an abnormal picture scores above a normal one; .5 is guessing. found: the share of abnormal
    pictures above the threshold. false_alarms: that of the normal ones.
    """

    name: str
    threshold: float
    auroc: Estimate
    accuracy: Estimate
    found: Estimate
    false_alarms: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocDifference:
    """AUROC of a rival minus that of the first detector, on the same pictures."""

    name: str
    value: float
    interval: Interval

    @property
    def verdict(self) -> Literal["better", "worse", "cannot tell"]:
        """What the interval says of the rival."""
        if self.interval.low > 0:
            return "better"
        return "worse" if self.interval.high < 0 else "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """All detectors on the same pictures; ``differences`` are those of the others against the first."""

    num_normal: int
    num_abnormal: int
    level: float
    scores: tuple[DetectorScore, ...]
    differences: tuple[AurocDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the verdicts included."""
        told = [{**asdict(difference), "verdict": difference.verdict} for difference in self.differences]
        return {**asdict(self), "differences": told}


def auroc(scores: NDArray[np.float64], abnormal: NDArray[np.bool_]) -> float:
    """The chance that an abnormal picture scores above a normal one; equal scores count half.

    Args:
        scores: ``[N]``.
        abnormal: ``[N]``; some are and some are not.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    positive, negative = int(abnormal.sum()), int((~abnormal).sum())
    return float((ranks[abnormal].sum() - positive * (positive + 1) / 2) / (positive * negative))


def normal_threshold(scores: NDArray[np.float64], *, false_alarms: float) -> float:
    """The score that a share ``false_alarms`` of normal pictures, such as those of the validation part, would pass.

    Raises:
        DataError: there are no scores.
    """
    if not len(scores):
        raise DataError("a threshold needs normal pictures in the validation part, and there are none: add pictures")
    return float(np.quantile(scores, 1 - false_alarms))


def judge_detectors(
    detectors: tuple[Detector, ...], abnormal: NDArray[np.bool_], *, seed: int = 0, level: float = 0.95
) -> Detection:
    """Score detectors on the same labelled pictures, and compare all others with the first.

    Intervals of AUROC are from a bootstrap stratified by kind; where it sees no error, Wilson's for the rarer kind.

    Args:
        detectors: at least one.
        abnormal: ``[N]`` which pictures are abnormal.
        seed: of the bootstrap.
        level: of the intervals.

    Raises:
        DataError: there is no normal, or no abnormal picture.
    """
    positive, negative = int(abnormal.sum()), int((~abnormal).sum())
    if not positive or not negative:
        raise DataError(f"{positive} abnormal and {negative} normal pictures: scoring a detector needs some of both")
    drawn = _draws(detectors, abnormal, seed=seed)
    points = {each.name: auroc(each.scores, abnormal) for each in detectors}
    first = detectors[0].name
    return Detection(
        num_normal=negative,
        num_abnormal=positive,
        level=level,
        scores=tuple(
            _score(
                each,
                abnormal,
                _around(points[each.name], drawn[each.name], min(positive, negative), level),
                level,
            )
            for each in detectors
        ),
        differences=tuple(
            AurocDifference(
                name=each.name,
                value=points[each.name] - points[first],
                interval=_percentiles(drawn[each.name] - drawn[first], level),
            )
            for each in detectors[1:]
        ),
    )


def _draws(
    detectors: tuple[Detector, ...], abnormal: NDArray[np.bool_], *, seed: int
) -> Mapping[str, NDArray[np.float64]]:
    """AUROC ``[RESAMPLES]`` of each detector when the same pictures are drawn again, as many of each kind."""
    generator = named_generator(seed, "detection")
    positive, negative = int(abnormal.sum()), int((~abnormal).sum())
    ups = generator.multinomial(positive, np.full(positive, 1 / positive), size=RESAMPLES).astype(np.float32)
    downs = generator.multinomial(negative, np.full(negative, 1 / negative), size=RESAMPLES).astype(np.float32)
    found = {}
    for each in detectors:
        high, low = each.scores[abnormal][:, None], each.scores[~abnormal][None]
        wins = (high > low).astype(np.float32) + 0.5 * (high == low).astype(np.float32)
        sums = ((ups @ wins) * downs).sum(axis=1, dtype=np.float64)
        found[each.name] = sums / (positive * negative)
    return found


def _score(each: Detector, abnormal: NDArray[np.bool_], area: Estimate, level: float) -> DetectorScore:
    said = each.scores > each.threshold
    return DetectorScore(
        name=each.name,
        threshold=each.threshold,
        auroc=area,
        accuracy=_share(said == abnormal, level),
        found=_share(said[abnormal], level),
        false_alarms=_share(said[~abnormal], level),
    )


def _share(hits: NDArray[np.bool_], level: float) -> Estimate:
    count = int(hits.sum())
    return Estimate(value=count / len(hits), interval=wilson(count, len(hits), level))


def _around(point: float, drawn: NDArray[np.float64], rarer: int, level: float) -> Estimate:
    """With the percentiles of the draws; all are alike where no pair, or each, was in the wrong order."""
    if point in (0.0, 1.0):
        return Estimate(value=point, interval=wilson(round(point) * rarer, rarer, level))
    return Estimate(value=point, interval=_percentiles(drawn, level))


def _percentiles(drawn: NDArray[np.float64], level: float) -> Interval:
    tail = 50 * (1 - level)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Interval(low=float(low), high=float(high))
