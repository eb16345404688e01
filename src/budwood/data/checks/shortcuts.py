"""Shortcuts: what predicts the class without showing the subject, so that a network may learn it instead.

Each clue is given to a small forest that answers for pictures it was not trained on (the opinion's folds, groups
whole); a finding says how often it names the class, beside chance and the whole picture. A clue that predicts the
class need not be what a network uses; a clue that does not is no proof that there is none. Nothing is corrected here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budwood.data.checks.clues import Clue, Columns, gather_clues
from budwood.data.checks.judged import Judged, judged
from budwood.data.opinion import Opinion
from budwood.data.records import Catalog, Finding, Severity

MIN_PER_CLASS = 10  # pictures; rarer classes take no part
Z = 3.0  # of a 99.7 % interval: some seven clues are asked at once, and a false alarm costs trust
# Skill is 0 at chance and 1 when always right. From these lower ends on there is a finding, and a warning. A clue from
# inside the picture is a warning when it reaches this part of the whole picture's skill: in natural pictures whose
# subject fills the frame, borders reach .6-.8 of it.
LEAST_OUTSIDE, MUCH_OUTSIDE = 0.02, 0.1
LEAST_INSIDE, MUCH_INSIDE = 0.1, 0.85
_TREES, _LEAF = 30, 5

Mask = NDArray[np.bool_]


class Score(NamedTuple):
    """Accuracy averaged over the classes, with its interval, and what guessing would reach."""

    value: float
    low: float
    high: float
    chance: float

    @property
    def skill(self) -> float:
        """The lower end of the interval on a scale from chance (0) to always right (1)."""
        return (self.low - self.chance) / (1 - self.chance)


def find_shortcuts(catalog: Catalog, opinion: Opinion) -> list[Finding]:
    """One finding per clue that names the class clearly better than chance; they name no pictures."""
    known = _common_classes(judged(catalog, opinion))
    if len(np.unique(known.labels)) < 2:
        return []
    whole = balanced(opinion.probs[known.rows].argmax(axis=1) == known.labels, known.labels)
    findings = []
    for clue in gather_clues(known, opinion):
        hits = forest_hits(clue.columns, known.labels, opinion.folds[known.rows])
        findings += _finding(clue, balanced(hits, known.labels), whole)
    if opinion.border_probs is not None:
        hits = opinion.border_probs[known.rows].argmax(axis=1) == known.labels
        findings += _finding(_border_clue(opinion), balanced(hits, known.labels), whole)
    return findings


def balanced(hits: Mask, labels: NDArray[np.int64]) -> Score:
    """Score ``[N]`` answers, right or wrong, by class.

    The interval adds two right and two wrong answers to each class (Agresti and Coull 1998), so that a class without
    errors is not taken for certain.
    """
    classes, counts = np.unique(labels, return_counts=True)
    right = np.array([hits[labels == k].sum() for k in classes])
    value, smoothed = float((right / counts).mean()), (right + 2) / (counts + 4)
    half = Z * float(np.sqrt((smoothed * (1 - smoothed) / (counts + 4)).sum())) / len(classes)
    return Score(value, max(0.0, value - half), min(1.0, value + half), 1 / len(classes))


def forest_hits(columns: Columns, labels: NDArray[np.int64], folds: NDArray[np.int64]) -> Mask:
    """Whether a forest on ``[N, C]`` columns names the label of each picture in the fold that it was not shown."""
    from sklearn.ensemble import RandomForestClassifier

    hits = np.zeros(len(labels), bool)
    for fold in np.unique(folds):
        held = folds == fold
        if held.all():
            continue
        forest = RandomForestClassifier(
            _TREES, min_samples_leaf=_LEAF, class_weight="balanced", random_state=0, n_jobs=1
        ).fit(columns[~held], labels[~held])
        hits[held] = forest.predict(columns[held]) == labels[held]
    return hits


def _common_classes(known: Judged) -> Judged:
    counts = np.bincount(known.labels, minlength=1)
    kept = np.flatnonzero(counts[known.labels] >= MIN_PER_CLASS)
    return Judged([known.records[i] for i in kept.tolist()], known.rows[kept], known.labels[kept])


def _border_clue(opinion: Opinion) -> Clue:
    words = f"the border alone, the middle blanked, seen by {opinion.backbone or 'the network'},"
    advice = "look whether the ground goes with the class; crop to the subject, or take each class on several grounds"
    return Clue("border", words, "inside", np.empty((0, 0)), advice)


def _finding(clue: Clue, score: Score, whole: Score) -> list[Finding]:
    outside = clue.kind == "outside"
    if score.skill < (LEAST_OUTSIDE if outside else LEAST_INSIDE):
        return []
    much = score.skill >= (MUCH_OUTSIDE if outside else MUCH_INSIDE * max(whole.skill, LEAST_INSIDE))
    severity: Severity = "warning" if much else "info"
    evidence = (
        f"{clue.words} names the class of {100 * score.value:.0f} % of the pictures (mean over the classes, 99.7 %"
        f" interval {100 * score.low:.0f}-{100 * score.high:.0f} %); chance is {100 * score.chance:.0f} %,"
        f" the whole picture reaches {100 * whole.value:.0f} %"
    )
    evidence += "" if outside else "; the subject may show in it too"
    text = f"{evidence}: {clue.advice}"
    return [Finding(check="shortcut", severity=severity, paths=(), evidence=text, score=score.skill)]
