"""`BalanceComparison`: ways of training, each against the first of them on the same pictures, as values and text.

It knows names and answers only, not how they were made. The intervals of differences are widened so that those of all
arms hold together: of eight arms that change nothing, one in three tables would else call some arm better or worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from budwood.evaluation.compare import Comparison, Difference, paired_difference
from budwood.evaluation.metrics import Metrics, summarise
from budwood.evaluation.predictions import Predictions

_RESAMPLES = 10_000  # the widened intervals lie far out in the tails
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One way of training and its out-of-fold answers: what goes into a comparison.

    words: what was done, a few words. penalty: the chosen one. converged: whether all its heads were solved.
    """

    name: str
    words: str
    predictions: Predictions
    penalty: float
    converged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way of training: its scores, and what it changes against the baseline (None for the baseline itself)."""

    name: str
    words: str
    penalty: float
    converged: bool
    metrics: Metrics
    difference: Comparison | None

    def change(self, measure: Literal["F1", "recall"], label: str) -> Difference:
        """What it changes in the F1 or the recall of one class that has pictures; not of the baseline."""
        assert self.difference is not None
        found = self.difference.f1 if measure == "F1" else self.difference.recall
        return next(each for each in found if each.name == f"{measure} of {label}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A way of training that was not tried, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceComparison:
    """Ways to balance classes, measured on the same pictures, features and folds; ``arms[0]`` is the baseline.

    counts: pictures of each class. rarest: the class with the fewest. level: of each interval of a difference; so that
    all arms hold together at 95 %. sheet: a PNG of pictures that SMOTE made of raw pixels, where it was asked for.
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    rarest: str
    num_folds: int
    num_views: int
    seed: int
    strength: float
    penalties: tuple[float, ...]
    level: float
    arms: tuple[Arm, ...]
    skipped: tuple[Skipped, ...] = ()
    sheet: bytes | None = None

    def sentences(self) -> tuple[str, ...]:
        """One sentence for each arm but the baseline: better, worse or cannot tell."""
        return tuple(_sentence(arm, self.rarest) for arm in self.arms if arm.difference)

    def notes(self) -> tuple[str, ...]:
        """How the numbers have to be read."""
        names = {arm.name for arm in self.arms}
        found = [
            f"{sum(self.counts)} pictures, {self.num_folds} folds, {self.num_views} views; every arm has the same"
            f" features, folds, penalties and start (a convex problem, solved from zero). Seed {self.seed}.",
            "These are selection scores: each picture was answered by a head that had not seen it, but the penalty was"
            " chosen by the same answers (the least of the loss that the arm trains). No test picture was used.",
            f"Scores carry 95 % intervals; differences are paired, and all {len(self.arms) - 1} arms hold together at"
            f" 95 % ({100 * self.level:.2f} % each; for one score at a time).",
            f"The rarest class is {self.rarest}, with {min(count for count in self.counts if count)} pictures.",
        ]
        if "weighted_sampler" in names and "class_weights" in names:
            found.append(
                "On a linear head a weighted sampler is class weights in expectation: what differs is the luck of its"
                " draws, here those of 25 epochs."
            )
        if "logit_adjustment" in names:
            found.append(
                "Logit adjustment in training and afterwards are one here: a linear head's free bias takes the offset"
                " up. They differ in a network that is fine-tuned."
            )
        if "smote_pixels" in names:
            found.append(
                "SMOTE on raw pixels makes double exposures: two pictures shine through each other, which no camera"
                " sees. It is here because it is widely used, not because it is sound."
            )
        found += [f"{arm.name}: not all heads were solved to the end." for arm in self.arms if not arm.converged]
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the sheet."""
        return {
            "classes": list(self.classes),
            "counts": list(self.counts),
            "rarest": self.rarest,
            "num_folds": self.num_folds,
            "num_views": self.num_views,
            "seed": self.seed,
            "strength": self.strength,
            "penalties": list(self.penalties),
            "level": self.level,
            "arms": [_arm_to_dict(arm, self.rarest) for arm in self.arms],
            "skipped": [{"name": skipped.name, "reason": skipped.reason} for skipped in self.skipped],
            "notes": list(self.notes()),
        }

    def to_text(self) -> str:
        """Tables that a terminal shows: scores, F1 of each class, differences, sentences, notes."""
        lines = [*_scores_table(self), "", *_f1_table(self), "", *self.sentences()]
        lines += [f"{skipped.name}: not tried: {skipped.reason}" for skipped in self.skipped]
        return "\n".join([*lines, "", *self.notes()]) + "\n"


def compare_arms(
    answered: Sequence[Answered],
    *,
    num_folds: int,
    num_views: int,
    strength: float,
    penalties: tuple[float, ...],
    seed: int,
    skipped: Sequence[Skipped] = (),
    sheet: bytes | None = None,
) -> BalanceComparison:
    """Score each arm and compare it with the first.

    Raises:
        DataError: the answers are not for the same labelled pictures.
    """
    baseline = answered[0].predictions
    counts = np.bincount(baseline.targets if baseline.targets is not None else [], minlength=len(baseline.classes))
    present = np.flatnonzero(counts)
    level = 1 - (1 - _LEVEL) / max(1, len(answered) - 1)

    def arm(number: int, each: Answered) -> Arm:
        against = None
        if number:
            against = paired_difference(baseline, each.predictions, seed=seed, resamples=_RESAMPLES, level=level)
        return Arm(
            name=each.name,
            words=each.words,
            penalty=each.penalty,
            converged=each.converged,
            metrics=summarise(each.predictions, seed=seed, level=_LEVEL),
            difference=against,
        )

    return BalanceComparison(
        classes=baseline.classes,
        counts=tuple(int(count) for count in counts),
        rarest=baseline.classes[int(present[counts[present].argmin()])],
        num_folds=num_folds,
        num_views=num_views,
        seed=seed,
        strength=strength,
        penalties=penalties,
        level=level,
        arms=tuple(arm(number, each) for number, each in enumerate(answered)),
        skipped=tuple(skipped),
        sheet=sheet,
    )


def _sentence(arm: Arm, rarest: str) -> str:
    assert arm.difference is not None
    changes = {
        "macro F1": arm.difference.macro_f1,
        f"F1 of {rarest}": arm.change("F1", rarest),
        f"recall of {rarest}": arm.change("recall", rarest),
        "accuracy": arm.difference.accuracy,
    }
    return f"{arm.name}: {'; '.join(f'{name} {_change(found)}' for name, found in changes.items())}."


def _change(found: Difference) -> str:
    low, high = found.interval.low, found.interval.high
    return f"{found.value:+.3f} ({low:+.3f} to {high:+.3f}): {found.verdict}"


def _scores_table(comparison: BalanceComparison) -> list[str]:
    rows = [["arm", "accuracy", "balanced accuracy", "macro F1", "penalty", "what it does"]]
    for arm in comparison.arms:
        m = arm.metrics
        estimates = (m.accuracy, m.balanced_accuracy, m.macro_f1)
        shown = [f"{e.value:.3f} ({e.interval.low:.3f}-{e.interval.high:.3f})" for e in estimates]
        rows.append([arm.name, *shown, f"{arm.penalty:g}", arm.words])
    return _aligned(rows)


def _f1_table(comparison: BalanceComparison) -> list[str]:
    names = [f"{name} ({count})" for name, count in zip(comparison.classes, comparison.counts, strict=True)]
    rows = [["F1 of", *(arm.name for arm in comparison.arms)]]
    for k, name in enumerate(names):
        each = [arm.metrics.per_class[k].f1 for arm in comparison.arms]
        rows.append([name, *(f"{e.value:.3f} ({e.interval.low:.3f}-{e.interval.high:.3f})" for e in each)])
    return _aligned(rows)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _arm_to_dict(arm: Arm, rarest: str) -> dict[str, Any]:
    return {
        "name": arm.name,
        "words": arm.words,
        "penalty": arm.penalty,
        "converged": arm.converged,
        "metrics": arm.metrics.to_dict(),
        "difference": arm.difference.to_dict() if arm.difference else None,
        "sentence": _sentence(arm, rarest) if arm.difference else None,
    }
