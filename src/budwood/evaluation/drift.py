"""Are new pictures like those that a model was judged on, in what do they differ, and what will it be worth on them?

Arrays only; `drifting` makes them. The reference are validation pictures: on its own training pictures a fine-tuned
network is surer than on any others, and all new pictures would seem odd. What is said of the accuracy on unlabelled
pictures is an estimate that holds only as long as alike pictures have alike labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.intervals import Interval, wilson
from budwood.evaluation.two_samples import LEAST, Separation, separation, told_apart

_NEIGHBOURS = 5
_MOST_WEIGHT = 20.0  # a validation picture counts for so many at most: more would be the answer of a few
# With fewer pictures behind it, a weighted accuracy says nothing; the interval of 30 is about 35 points wide.
_LEAST_EFFECTIVE = 30
_LEAST_OVERLAP = 0.5
_FAR = 0.9  # told apart so well, and the model's confidence is about pictures that it does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSet:
    """Pictures as a model sees them. Row i of all belongs to ``paths[i]``.

    features: ``[N, D]`` float32, of the picture as it is. probs: ``[N, K]`` float32, the model's answers. targets:
    ``[N]`` class indices; -1 where the label is not known. measures: plain numbers ``[N]`` each, by name.
    """

    paths: tuple[str, ...]
    classes: tuple[str, ...]
    features: NDArray[np.float32]
    probs: NDArray[np.float32]
    targets: NDArray[np.int64]
    measures: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a label, ``[N]``."""
        return np.asarray(self.targets >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureDrift:
    """A plain measure in both sets: medians, and how often a new picture has more of it than one of the reference."""

    name: str
    reference: float
    new: float
    separation: Separation

    @property
    def amount(self) -> float:
        """0 where nothing differs, 0.5 where all new ones have more, or less, of it."""
        return abs(self.separation.auc - 0.5)

    @property
    def is_seen(self) -> bool:
        """Whether more than luck, for one measure looked at alone."""
        found = self.separation.interval
        return found.low > 0.5 or found.high < 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDrift:
    """One class in both sets. ``separation``: None where one of them has fewer than `two_samples.LEAST` pictures."""

    name: str
    num_reference: int
    num_new: int
    separation: Separation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the accuracy on the new pictures may be, without their labels. ``value`` is None where it cannot be told."""

    name: str
    value: float | None
    interval: Interval | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """All that was found. ``unusual``: (row of the new pictures, share of the reference that is less unusual)."""

    num_reference: int
    num_new: int
    separation: Separation
    classes: tuple[ClassDrift, ...]
    measures: tuple[MeasureDrift, ...]
    forecasts: tuple[Forecast, ...]
    reference_accuracy: float
    reference_interval: Interval
    new_accuracy: float | None
    new_interval: Interval | None
    unusual: tuple[tuple[int, float], ...]
    share_unusual: float

    @property
    def lead(self) -> str:
        """The answer in two sentences."""
        found = self.separation
        span = f"{100 * found.interval.low:.0f}-{100 * found.interval.high:.0f}"
        told = f"{100 * found.auc:.0f} of 100 pairs, interval {span}"
        first = f"The new pictures and the validation pictures {found.words} ({told}; 50 is guessing)."
        seen = [measure for measure in self.measures if measure.is_seen]
        if not seen or not found.is_seen:
            return first
        most = seen[0]
        way = "more" if most.separation.auc > 0.5 else "less"
        return f"{first} What differs most is {most.name}: the new ones have {way} of it."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "lead": self.lead}


def compare_sets(reference: PictureSet, new: PictureSet, *, seed: int = 0, num_unusual: int = 24) -> Drift:
    """Compare new pictures with the reference.

    Args:
        reference: all labelled. new: of the same classes, labelled or not.
        num_unusual: how many of the most unusual new pictures are named.

    Raises:
        ValueError: a set has fewer than `two_samples.LEAST` pictures, or the classes differ.
    """
    if reference.classes != new.classes:
        raise ValueError("the two sets were answered by models of other classes")
    found, odds = told_apart(reference.features, new.features, seed=seed)
    right = reference.probs.argmax(axis=1) == reference.targets
    named = new.labelled
    new_right = int((new.probs.argmax(axis=1) == new.targets)[named].sum())
    oddness = unusualness(reference.features, new.features)
    order = np.argsort(-oddness, kind="stable")[:num_unusual]
    confidence = from_confidence(reference.probs, right, new.probs)
    if found.auc >= _FAR:
        warning = "do not rely on it: such pictures are beyond what it knows"
        confidence = replace(confidence, note=f"{confidence.note}; {warning}")
    measures = tuple(_measure(name, reference.measures[name], new.measures[name]) for name in reference.measures)
    return Drift(
        num_reference=len(reference),
        num_new=len(new),
        separation=found,
        classes=_classes(reference, new, seed=seed) if named.any() else (),
        measures=tuple(sorted(measures, key=lambda m: (-m.amount, m.name))),
        forecasts=(
            confidence,
            from_alike(right, odds[: len(reference)]),
        ),
        reference_accuracy=float(right.mean()),
        reference_interval=wilson(int(right.sum()), len(right)),
        new_accuracy=new_right / int(named.sum()) if named.any() else None,
        new_interval=wilson(new_right, int(named.sum())) if named.any() else None,
        unusual=tuple((int(i), float(oddness[i])) for i in order),
        share_unusual=float((oddness >= 0.99).mean()),
    )


def unusualness(reference: NDArray[np.float32], new: NDArray[np.float32]) -> NDArray[np.float64]:
    """How unusual new rows are, ``[M]`` in 0-1: the share of the reference that is nearer to the rest of it.

    Nearness is the mean cosine with the five nearest rows of the reference, a row of it left out for itself.
    """
    known = _unit(reference)
    own = known @ known.T
    np.fill_diagonal(own, -np.inf)
    usual, found = np.sort(_nearest(own)), _nearest(_unit(new) @ known.T)
    return np.asarray(1 - np.searchsorted(usual, found, side="left") / len(usual), dtype=np.float64)


def from_confidence(reference: NDArray[np.float32], right: NDArray[np.bool_], new: NDArray[np.float32]) -> Forecast:
    """The accuracy on the reference, changed by as much as the model is less (or more) sure on the new pictures.

    Args:
        reference, new: ``[N, K]`` and ``[M, K]`` probabilities. right: ``[N]``, which of the reference's were right.

    Reference: D. Guillory and others, Predicting with confidence on unseen distributions, ICCV 2021.
    """
    known, fresh = reference.max(axis=1).astype(np.float64), new.max(axis=1).astype(np.float64)
    gap = right - known
    value = float(gap.mean() + fresh.mean())
    half = 1.96 * math.sqrt(_spread(gap) / len(gap) + _spread(fresh) / len(fresh))
    note = f"mean confidence {100 * fresh.mean():.0f} % on the new pictures, {100 * known.mean():.0f} % on the old"
    return Forecast(name="from its confidence", value=_share(value), interval=_around(value, half), note=note)


def from_alike(right: NDArray[np.bool_], odds: NDArray[np.float64]) -> Forecast:
    """The accuracy on the reference, where a picture counts the more, the more it looks like the new ones.

    Args:
        right: ``[N]``, which of the reference's were right. odds: ``[N]``, the probability that each is a new one, from
            a classifier that did not see it and for which both sets were equally large.

    Reference: H. Shimodaira, Improving predictive inference under covariate shift by weighting the log-likelihood
    function, Journal of Statistical Planning and Inference 90 (2000).
    """
    weights = np.minimum(odds / np.maximum(1 - odds, 1e-9), _MOST_WEIGHT)
    effective = float(weights.sum() ** 2 / max(float((weights**2).sum()), 1e-300))
    note = f"as if {effective:.0f} of the {len(right)} validation pictures were like the new ones"
    # The weights are a ratio of densities: where both sets overlap, their mean over the reference is 1.
    if weights.mean() < _LEAST_OVERLAP:
        return Forecast(
            name="from those alike",
            value=None,
            interval=None,
            note="hardly any old picture is like the new ones; label some",
        )
    if effective < _LEAST_EFFECTIVE:
        return Forecast(
            name="from those alike", value=None, interval=None, note=f"{note}: too few to say anything; label some"
        )
    value = float((weights * right).sum() / weights.sum())
    # Wilson's formula with the effective number, which counts the luck of the weighted pictures.
    interval = wilson(round(value * effective), round(effective))
    return Forecast(name="from those alike", value=value, interval=interval, note=note)


def _classes(reference: PictureSet, new: PictureSet, *, seed: int) -> tuple[ClassDrift, ...]:
    found = []
    for k, name in enumerate(reference.classes):
        known, fresh = np.flatnonzero(reference.targets == k), np.flatnonzero(new.targets == k)
        enough = min(len(known), len(fresh)) >= LEAST
        found.append(
            ClassDrift(
                name=name,
                num_reference=len(known),
                num_new=len(fresh),
                separation=told_apart(reference.features[known], new.features[fresh], seed=seed)[0] if enough else None,
            )
        )
    return tuple(found)


def _measure(name: str, reference: NDArray[np.float64], new: NDArray[np.float64]) -> MeasureDrift:
    return MeasureDrift(
        name=name,
        reference=float(np.median(reference)),
        new=float(np.median(new)),
        separation=separation(reference, new),
    )


def _nearest(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    count = min(_NEIGHBOURS, cosines.shape[1] - 1)
    return np.asarray(-np.partition(-cosines, count - 1, axis=1)[:, :count].mean(axis=1))


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = np.asarray(features, dtype=np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.25


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _around(value: float, half: float) -> Interval:
    return Interval(low=_share(value - half), high=_share(value + half))
