"""The learning curve: errors at several sizes of the training part -> a power law, and what twice as many would bring.

It knows answers and sizes, not how they were made. The law is an assumption: it holds for more pictures of the same
kind, and says nothing of better labels, another camera or another network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.intervals import Estimate, Interval
from budwood.seeding import named_generator

# Exponents that are tried. Measured curves of classifiers lie between about 0.1 and 1 (T. Viering, M. Loog, The shape
# of learning curves: a review, IEEE TPAMI 45, 2023); beyond, the law is a step or a flat line.
_EXPONENTS = np.geomspace(0.1, 2.0, 40)
_LEVEL = 0.95
_TELLING = 0.0005  # half a tenth of a point: less is shown as nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One size: the accuracy over repeats and pictures with its interval, and each repeat's."""

    num_pictures: int
    accuracy: Estimate
    repeats: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """``error = floor + scale * n ** -exponent``."""

    floor: float
    scale: float
    exponent: float

    def error(self, sizes: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """The error at ``sizes``."""
        return np.asarray(self.floor + self.scale * np.asarray(sizes, dtype=np.float64) ** -self.exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """Points from few to all pictures, the law, and what it promises.

    band: (size, low, high) of the law's accuracy, for a plot. doubled: how much twice the pictures would raise the
    accuracy. judged: pictures that the accuracies are of.
    """

    points: tuple[CurvePoint, ...]
    law: PowerLaw
    doubled: Estimate
    band: tuple[tuple[float, float, float], ...]
    judged: int

    @property
    def can_tell(self) -> bool:
        """Whether the interval of the gain leaves no gain out, at the digits that are shown."""
        return self.doubled.interval.low > _TELLING

    @property
    def words(self) -> str:
        """What twice the pictures would bring, as a sentence."""
        low, high = (100 * end for end in (self.doubled.interval.low, self.doubled.interval.high))
        now = self.points[-1].num_pictures
        if self.can_tell:
            return (
                f"Twice the pictures ({2 * now:,} instead of {now:,}) would bring about {100 * self.doubled.value:+.1f}"
                f" points of accuracy (95 % interval {low:+.1f} to {high:+.1f})."
            )
        return (
            f"It cannot be told whether twice the pictures ({2 * now:,} instead of {now:,}) would bring anything:"
            f" between {low:+.1f} and {high:+.1f} points of accuracy. {self.judged} pictures judge it; more of them, or"
            " more repeats, would tell."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the words."""
        return {**asdict(self), "can_tell": self.can_tell, "words": self.words}


def fit_curve(
    sizes: Sequence[int], right: Sequence[NDArray[np.bool_]], *, seed: int = 0, resamples: int = 500
) -> LearningCurve:
    """Fit the law to what was answered, and repeat it on pictures and repeats drawn again.

    Args:
        sizes: training pictures, ascending; three or more.
        right: for each size ``[R, N]``: whether each repeat named each of the same N pictures right.

    Raises:
        DataError: there are fewer than three sizes: a curve has three unknowns.

    Reference: R. L. Figueroa et al., Predicting sample size required for classification performance, BMC Medical
    Informatics and Decision Making 12 (2012).
    """
    if len(sizes) < 3 or len(set(sizes)) < len(sizes):
        raise DataError(
            f"a learning curve needs at least 3 different sizes of the training part; found {sorted(set(sizes))}: give"
            " more --sizes, or add pictures"
        )
    at = np.asarray(sizes, dtype=np.float64)
    tables = [each.astype(np.float64) for each in right]
    law = _fit(at, 1 - np.array([table.mean() for table in tables]))
    generator = named_generator(seed, "learning_curve")
    num = tables[0].shape[1]
    grid = np.geomspace(at[0], 2 * at[-1], 40)
    ends, gains, means = [], [], []
    for _ in range(resamples):
        pictures = generator.integers(0, num, num)  # the same for all sizes: they answered the same pictures
        drawn = [table[generator.integers(0, len(table), len(table))][:, pictures].mean() for table in tables]
        found = _fit(at, 1 - np.array(drawn))
        means.append(drawn)
        ends.append(1 - found.error(grid))
        gains.append(_gain(found, at[-1]))
    tail = 50 * (1 - _LEVEL)
    low, high = np.percentile(ends, [tail, 100 - tail], axis=0)
    first, last = np.percentile(gains, [tail, 100 - tail])
    below, above = np.percentile(means, [tail, 100 - tail], axis=0)
    gain = _gain(law, at[-1])
    return LearningCurve(
        points=tuple(
            CurvePoint(
                num_pictures=int(size),
                accuracy=Estimate(value=float(table.mean()), interval=Interval(low=float(a), high=float(b))),
                repeats=tuple(float(row.mean()) for row in table),
            )
            for size, table, a, b in zip(sizes, tables, below, above, strict=True)
        ),
        law=law,
        doubled=Estimate(value=gain, interval=Interval(low=min(float(first), gain), high=max(float(last), gain))),
        band=tuple((float(n), float(a), float(b)) for n, a, b in zip(grid, low, high, strict=True)),
        judged=num,
    )


def _gain(law: PowerLaw, now: float) -> float:
    errors = law.error(np.array([now, 2 * now]))
    return float(errors[0] - errors[1])


def _fit(sizes: NDArray[np.float64], errors: NDArray[np.float64]) -> PowerLaw:
    """Least squares over a grid of exponents; floor and scale are not below 0."""
    from scipy.optimize import nnls

    best, least = PowerLaw(floor=float(errors.mean()), scale=0.0, exponent=1.0), np.inf
    for exponent in _EXPONENTS:
        # Relative sizes keep both columns near 1, whatever the exponent.
        columns = np.stack([np.ones_like(sizes), (sizes / sizes[-1]) ** -exponent], axis=1)
        (floor, scale), residual = nnls(columns, errors)
        if residual < least - 1e-12:
            least = residual
            whole = float(scale * sizes[-1] ** exponent)
            best = PowerLaw(floor=float(floor), scale=whole, exponent=float(exponent))
    return best
