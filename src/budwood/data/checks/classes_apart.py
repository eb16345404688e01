"""Classes that a network takes for one another. Whether people could tell them apart is not known here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budwood.data.checks.judged import judged
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding

MIN_CONFUSED = 0.05  # of two classes' pictures, as the lower end of the interval: fewer are not worth a line
CLOSE = 0.2  # and from here on it is a warning
MOST_PAIRS, MOST_PATHS = 5, 24
_Z = 1.96  # of a 95 % interval


class Pair(NamedTuple):
    """Two classes: how many of their pictures are taken for the other one, and the interval of that share."""

    first: int
    second: int
    first_as_second: int
    second_as_first: int
    pictures: int
    low: float
    high: float


def find_confusable_classes(catalog: Catalog, opinion: Opinion) -> list[Finding]:
    """One finding per pair of classes, at most `MOST_PAIRS`; the paths are confused pictures, the surest first."""
    records, rows, labels = judged(catalog, opinion)
    probs = opinion.probs[rows]
    answers = probs.argmax(axis=1)
    pairs = sorted(_pairs(labels, answers, len(opinion.classes)), key=lambda pair: (-pair.low, pair.first, pair.second))
    findings = []
    for pair in pairs[:MOST_PAIRS]:
        confused = np.flatnonzero(
            ((labels == pair.first) & (answers == pair.second)) | ((labels == pair.second) & (answers == pair.first))
        )
        surest = confused[np.argsort(-probs[confused, answers[confused]], kind="stable")]
        findings.append(
            Finding(
                check="confusable_classes",
                severity="warning" if pair.low >= CLOSE else "info",
                paths=tuple(records[row].path for row in surest[:MOST_PATHS].tolist()),
                evidence=_evidence(pair, opinion),
                score=pair.low,
            )
        )
    return findings


def wilson_bounds(successes: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927), ``n`` at least 1."""
    share, pull = successes / n, _Z * _Z / n
    centre = (share + pull / 2) / (1 + pull)
    half = _Z * (share * (1 - share) / n + pull / (4 * n)) ** 0.5 / (1 + pull)
    return max(0.0, centre - half), min(1.0, centre + half)


def _pairs(labels: NDArray[np.int64], answers: NDArray[np.int64], num_classes: int) -> Iterator[Pair]:
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    counts = confusion.sum(axis=1)
    for a, b in combinations(range(num_classes), 2):
        confused, pictures = int(confusion[a, b] + confusion[b, a]), int(counts[a] + counts[b])
        if not confused:
            continue
        low, high = wilson_bounds(confused, pictures)
        if low >= MIN_CONFUSED:
            yield Pair(a, b, int(confusion[a, b]), int(confusion[b, a]), pictures, low, high)


def _evidence(pair: Pair, opinion: Opinion) -> str:
    first, second = opinion.classes[pair.first], opinion.classes[pair.second]
    confused = pair.first_as_second + pair.second_as_first
    return (
        f'"{first}" and "{second}" are hard to tell apart for {opinion.backbone or "the network"}: of their'
        f" {pair.pictures} pictures, {confused} are taken for the other ({100 * confused / pair.pictures:.0f} %, 95 %"
        f' interval {100 * pair.low:.0f}-{100 * pair.high:.0f} %): {pair.first_as_second} of "{first}",'
        f' {pair.second_as_first} of "{second}"; look whether you can, and whether their labels are right'
    )
