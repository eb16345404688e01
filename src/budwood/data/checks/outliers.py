"""Pictures whose content is unlike all the others: another subject, a screenshot, a hand before the lens.

They are found among frozen features, by how far a picture is from the class that it is nearest to. What is rare but
of its kind is found too, and odd content that many pictures share is not. Light and blur have checks of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from budwood.data.checks.judged import judged
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding

MIN_PICTURES = 40  # below, the tail of the distances is not known
# The distance is to this part of a class: a handful of outliers of one kind in one class do not vouch for one another.
NEAREST_SHARE, NEAREST_LEAST = 0.15, 5
# Outlying: so many times as far above the median distance as nine tenths of the pictures stay below. Of a normal tail
# 1 in 4,700 is there; of four real data sets 1 in 300 or fewer.
OUTLYING = 2.75
_BLOCK = 1024  # rows compared at once: 80 MB beside 20,000 pictures


def find_outliers(catalog: Catalog, opinion: Opinion) -> list[Finding]:
    """One finding per outlier; the score is its distance in the units of `OUTLYING`."""
    records, rows, labels = judged(catalog, opinion)
    if len(records) < MIN_PICTURES:
        return []
    excess = outlyingness(opinion.features[rows], labels)
    return [
        Finding(
            check="outlier",
            severity="info",
            paths=(records[row].path,),
            evidence=f"its content is far from every class in the features of {opinion.backbone or 'the network'}:"
            f" {excess[row]:.1f}, where 0 is usual, one picture in ten passes 1, and odd begins at {OUTLYING}",
            score=float(excess[row]),
        )
        for row in np.flatnonzero(excess > OUTLYING).tolist()
    ]


def outlyingness(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far each row of ``[N, D]`` features lies from its nearest class: 0 is the median, 1 the ninth decile."""
    distance = 1.0 - nearest_class_likeness(features, labels)
    middle, ninth = np.quantile(distance, [0.5, 0.9])
    # Equal features for nine pictures in ten: the rest is odd without measure, and a finite score is asked for.
    result: NDArray[np.float64] = (distance - middle) / max(float(ninth - middle), 1e-6)
    return result


def nearest_class_likeness(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean cosine with the nearest 15 % of a class, of the class where it is largest, ``[N]``; itself left out."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    likeness = np.full(len(unit), -1.0)
    for members in (np.flatnonzero(labels == k) for k in np.unique(labels)):
        nearest = min(max(NEAREST_LEAST, round(NEAREST_SHARE * len(members))), len(members) - 1)
        if not nearest:
            continue
        for start in range(0, len(unit), _BLOCK):
            cosines = unit[start : start + _BLOCK] @ unit[members].T
            inside = np.flatnonzero((members >= start) & (members < start + _BLOCK))
            cosines[members[inside] - start, inside] = -np.inf
            best = -np.partition(-cosines, nearest - 1, axis=1)[:, :nearest]
            part = slice(start, start + _BLOCK)
            likeness[part] = np.maximum(likeness[part], best.mean(axis=1, dtype=np.float64))
    return likeness
