"""Is model B better than model A? Paired on the same pictures, so that their luck is shared and cancels out.

Differences are B minus A. The intervals speak of the luck in which pictures were drawn; another training run of either
model may differ by more. NumPy over `Predictions`; it does not know how they were made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.intervals import Interval
from budwood.evaluation.paired import PairedCells
from budwood.evaluation.paired_tests import mcnemar as mcnemar
from budwood.evaluation.paired_tests import paired_share_interval
from budwood.evaluation.predictions import Predictions

# With fewer disagreements than this a bootstrap says next to nothing; an interval for few ones is joined to its own.
FEW = 4
IMAGINED = 2.0  # pictures of each class; chosen by simulation (docs/coverage.md), like the degrees of freedom
_LEAST_DEGREES = 10.0
_RECALLS = 3  # the place of the first class's recall in `_names`
POWER = 0.8  # the chance of telling a true difference that `pictures_needed` is reckoned for


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One score of two models on the same pictures. ``value`` is ``b - a``, with its interval.

    disagreements: pictures on which the models differ in what this score counts. pictures_needed: about how many
    pictures such a difference would need to be told, with a chance of 80 %; None where no difference was seen, or
    no number of them would do (hidden_by_seeds).
    """

    name: str
    a: float
    b: float
    value: float
    interval: Interval
    disagreements: int
    pictures_needed: int | None
    hidden_by_seeds: bool = False

    @property
    def verdict(self) -> Literal["better", "worse", "cannot tell"]:
        """What the interval says of B."""
        if self.interval.low > 0:
            return "better"
        return "worse" if self.interval.high < 0 else "cannot tell"

    @property
    def words(self) -> str:
        """The verdict as a sentence's end: "better", or "cannot tell; would need about 900 pictures"."""
        if self.verdict != "cannot tell":
            return self.verdict
        if self.hidden_by_seeds:
            return "cannot tell; the luck of seeds hides it, however many pictures: train with more seeds"
        if self.pictures_needed is None:
            return "cannot tell; no difference was seen"
        return f"cannot tell; a difference of this size would need about {self.pictures_needed:,} pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same pictures. ``only_a`` pictures were named right by A only, ``only_b`` by B only.

    mcnemar_p: the exact two-sided p value that both are right equally often (Q. McNemar, Psychometrika 12, 1947).
    recall, f1: one difference for each class that has pictures, in the order of the classes.
    """

    num_pictures: int
    level: float
    only_a: int
    only_b: int
    mcnemar_p: float
    accuracy: Difference
    balanced_accuracy: Difference
    macro_f1: Difference
    recall: tuple[Difference, ...]
    f1: tuple[Difference, ...]

    @property
    def verdict(self) -> Literal["better", "worse", "cannot tell"]:
        """What is said of B's accuracy: its interval and McNemar's test agree."""
        return self.accuracy.verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the verdict included."""
        return {**asdict(self), "verdict": self.verdict}


def paired_difference(
    a: Predictions, b: Predictions, *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Comparison:
    """Compare two models by accuracy, recalls, balanced accuracy and F1.

    Accuracy and recalls are shares of pictures: Tango's interval, which agrees with McNemar's test. The others have a
    paired bootstrap, stratified by class and smoothed by two imagined pictures of each: the difference and Student's
    quantile times the bootstrap's standard error to either side. Plain percentiles held the difference of balanced
    accuracies of 200 uneven pictures in 91 % of cases.

    Args:
        a, b: labelled predictions for the same pictures, in any order.
        seed, resamples: of the bootstrap.
        level: of the intervals, such as 0.95.

    Raises:
        DataError: pictures, classes or labels are not the same, or there are none.
        ValueError: ``resamples`` or ``level`` make no sense.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples {resamples}, level {level}: expected 1 or more, and a number inside 0..1")
    targets, first, second = aligned(a, b)
    num = len(a.classes)
    cells = PairedCells.count(targets, first, second, num_classes=num)
    point = cells.scores(cells.counts[None])[:, 0]
    drawn = _bootstrapped(cells, point[1] - point[0], seed=seed, resamples=resamples, level=level)
    shares = _of_shares(targets, first == targets, second == targets, num_classes=num, level=level)
    made = [
        _difference(name, (float(one), float(other)), shares.get(s, drawn[s]), total=len(targets), level=level)
        for s, (name, one, other) in enumerate(zip(_names(a.classes), *point, strict=True))
    ]
    right_a, right_b = first == targets, second == targets
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    present = np.bincount(targets, minlength=num) > 0
    return Comparison(
        num_pictures=len(targets),
        level=level,
        only_a=only_a,
        only_b=only_b,
        mcnemar_p=mcnemar(only_a, only_b),
        accuracy=made[0],
        balanced_accuracy=made[1],
        macro_f1=made[2],
        recall=tuple(made[3 + k] for k in range(num) if present[k]),
        f1=tuple(made[3 + num + k] for k in range(num) if present[k]),
    )


def aligned(a: Predictions, b: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Targets and both models' answers ``[N]``, in A's order of pictures and classes.

    Raises:
        DataError: they are not of the same pictures, classes and labels.
    """
    if a.targets is None or b.targets is None:
        raise DataError("predictions without labels cannot be compared; label the pictures and predict again")
    if set(a.classes) != set(b.classes):
        odd = sorted(set(a.classes) ^ set(b.classes))[0]
        raise DataError(f'only one of the two knows the class "{odd}": models of the same classes can be compared')
    row = {path: i for i, path in enumerate(b.paths)}
    if len(row) != len(b) or len(set(a.paths)) != len(a):
        raise DataError("a picture is named twice in the predictions; each picture counts once")
    if not len(a) or set(a.paths) != set(b.paths):
        odd_path = sorted(set(a.paths) ^ set(b.paths))[:1]
        what = f"such as {odd_path[0]}" if odd_path else "there are none at all"
        raise DataError(
            f"the two were not scored on the same pictures ({len(a)} and {len(b)}, {what}):"
            " give both the same split file with --split"
        )
    order = np.array([row[path] for path in a.paths])
    column = {name: k for k, name in enumerate(a.classes)}
    renamed = np.array([column[name] for name in b.classes], dtype=np.int64)
    labels = renamed[b.targets[order]]
    if (labels != a.targets).any():
        at = int(np.flatnonzero(labels != a.targets)[0])
        raise DataError(
            f'{a.paths[at]} is labelled "{a.classes[int(a.targets[at])]}" in one and "{a.classes[int(labels[at])]}" in'
            " the other: only answers to the same question can be compared"
        )
    return a.targets, a.predicted, renamed[b.predicted[order]]


def _quantile(cells: PairedCells, level: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + level / 2, max(cells.freedom(), _LEAST_DEGREES)))


def _names(classes: Sequence[str]) -> list[str]:
    return [
        "accuracy",
        "balanced accuracy",
        "macro F1",
        *(f"recall of {name}" for name in classes),
        *(f"F1 of {name}" for name in classes),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    interval: Interval
    disagreements: int


def _of_shares(
    targets: NDArray[np.int64],
    right_a: NDArray[np.bool_],
    right_b: NDArray[np.bool_],
    *,
    num_classes: int,
    level: float,
) -> dict[int, _Found]:
    """The scores that are shares of pictures, by their place in `_names`: accuracy, and the recalls of classes."""
    found = {}
    for place, own in [(0, targets >= 0), *((_RECALLS + k, targets == k) for k in range(num_classes))]:
        if own.any():
            only_a, only_b = int((own & right_a & ~right_b).sum()), int((own & right_b & ~right_a).sum())
            interval = paired_share_interval(only_a, only_b, int(own.sum()), level=level)
            found[place] = _Found(interval=interval, disagreements=only_a + only_b)
    return found


def _bootstrapped(
    cells: PairedCells, value: NDArray[np.float64], *, seed: int, resamples: int, level: float
) -> list[_Found]:
    """An interval for each of `_names`, whose values ``[S]`` are given."""
    drawn = cells.draw(resamples, seed=seed, imagined=IMAGINED)
    half = _quantile(cells, level) * (drawn[1] - drawn[0]).std(axis=0)
    low, high = np.maximum(value - half, -1.0), np.minimum(value + half, 1.0)
    found = []
    for s, (count, size) in enumerate(zip(*cells.disagreements(), strict=True)):
        interval = Interval(low=float(low[s]), high=float(high[s]))
        if count < FEW:
            cautious = _with_two_imagined(float(value[s]), int(count), float(size), level)
            interval = Interval(low=min(interval.low, cautious.low), high=max(interval.high, cautious.high))
        found.append(_Found(interval=interval, disagreements=int(count)))
    return found


def _difference(name: str, scores: tuple[float, float], found: _Found, *, total: int, level: float) -> Difference:
    value, half = scores[1] - scores[0], found.interval.width / 2
    needed = None
    if abs(value) > 1e-12 and half > 0:
        normal = NormalDist()
        # The half width shrinks with the root of the number of pictures.
        reach = 1 + normal.inv_cdf(POWER) / normal.inv_cdf(0.5 + level / 2)
        needed = max(total, rounded_up(total * (half * reach / value) ** 2))
    return Difference(
        name=name,
        a=scores[0],
        b=scores[1],
        value=value,
        interval=found.interval,
        disagreements=found.disagreements,
        pictures_needed=needed,
    )


def rounded_up(value: float) -> int:
    """A number of pictures to two digits: more would pretend to know."""
    unit = int(10 ** max(0, math.floor(math.log10(value)) - 1))
    return math.ceil(value / unit) * unit


def _with_two_imagined(value: float, disagreements: int, size: float, level: float) -> Interval:
    """An interval for few disagreements: as if one more picture had gone either way.

    Without any disagreement the true rate of them may still be some per ``size``, so this is never a point.

    Reference: D. G. Bonett, R. M. Price, Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data, Journal of Educational and Behavioral Statistics 37 (2012).
    """
    size = max(size, 1.0)
    share, shrunk = (disagreements + 2) / (size + 2), value * size / (size + 2)
    half = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(max(share - shrunk**2, 0.0) / (size + 2))
    return Interval(low=max(-1.0, shrunk - half), high=min(1.0, shrunk + half))
