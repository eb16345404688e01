"""The nouns of a comparison of several arms, and what they say in words; how they come about is in `versus.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from budwood.evaluation.compare import Difference
from budwood.evaluation.crossed import FEW_SEEDS, few_seeds_note
from budwood.evaluation.intervals import Estimate
from budwood.evaluation.noise import NoiseFloor
from budwood.evaluation.predictions import Predictions

Verdict = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One model, or one way of training with several seeds: the answers of each to the same pictures."""

    name: str
    answers: Mapping[str, Predictions]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmScores:
    """What an arm scores, over its seeds. deviation: of the accuracy from seed to seed; None with one."""

    name: str
    num_seeds: int
    accuracy: Estimate
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """B against A: ``b - a`` of each score. ``only_a``, ``only_b``: pictures named right (more often) by one of them.

    p: of the accuracies alone; adjusted_p: for all pairs together (Holm). f1: of each class with pictures, one at a
    time. within_noise: whether another seed could make as large a difference in accuracy; None: not measured.
    """

    a: str
    b: str
    only_a: int
    only_b: int
    p: float
    adjusted_p: float
    accuracy: Difference
    balanced_accuracy: Difference
    macro_f1: Difference
    f1: tuple[Difference, ...]
    within_noise: bool | None
    level: float

    @property
    def verdict(self) -> Verdict:
        """Of B's accuracy: the interval and the adjusted p value have to agree."""
        return self.accuracy.verdict if self.adjusted_p < 1 - self.level else "cannot tell"

    @property
    def words(self) -> str:
        """The verdict as the end of a sentence."""
        if self.verdict != "cannot tell":
            noise = ", but within the noise of another seed" if self.within_noise else ""
            return f"{self.verdict}{noise}"
        if self.accuracy.verdict != "cannot tell" and self.p < 1 - self.level:
            return "cannot tell; it would be told alone, but not among so many pairs"
        return self.accuracy.words


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """All arms and all pairs; ``noise`` holds the floors that were measured, by score (empty: none was)."""

    num_pictures: int
    level: float
    arms: tuple[ArmScores, ...]
    pairs: tuple[Pair, ...]
    noise: tuple[NoiseFloor, ...]

    @property
    def lead(self) -> str:
        """The answer in one sentence."""
        first = self.pairs[0]
        if len(self.pairs) == 1:
            found, ends = first.accuracy, first.accuracy.interval
            value = f"{100 * found.value:+.1f} points (95 % interval {100 * ends.low:+.1f} to {100 * ends.high:+.1f})"
            return f"{first.b} against {first.a} on {self.num_pictures} pictures: {value}: {first.words}."
        told = sum(pair.verdict != "cannot tell" for pair in self.pairs)
        return (
            f"{told} of {len(self.pairs)} pairs can be told apart in accuracy on {self.num_pictures} pictures, all"
            " pairs taken together."
        )

    def notes(self) -> tuple[str, ...]:
        """How the numbers have to be read."""
        pairs = f"{len(self.pairs)} pairs (Holm)" if len(self.pairs) > 1 else "one pair"
        found = [
            "Differences are paired: both sides answered the same pictures. Intervals are 95 % each; a verdict on"
            f" accuracy also needs McNemar's exact test, adjusted for {pairs}.",
            "F1 by class: each row for itself. Of many classes one in twenty differs by luck.",
        ]
        if self.noise:
            floor = self.noise[0]
            found.append(
                f"Noise floor: two trainings that differ by the seed alone differ by up to {100 * floor.floor:.1f}"
                f" points of accuracy in 95 of 100 cases (deviation {100 * floor.deviation:.2f} points,"
                f" {floor.degrees} degrees of freedom)."
            )
        else:
            found.append("The noise of seeds was not measured: name runs that differ by it alone with --noise.")
        if any(1 < arm.num_seeds <= FEW_SEEDS for arm in self.arms):
            found.append(few_seeds_note())
        if any(arm.num_seeds == 1 for arm in self.arms):
            found.append(
                "An arm with one run is one model: what is said holds for that model, not for its recipe. Add runs with"
                " other seeds on the same split to speak of recipes."
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with verdicts, words, lead and notes."""
        values = asdict(self)
        for each, pair in zip(values["pairs"], self.pairs, strict=True):
            each["verdict"], each["words"] = pair.verdict, pair.words
        return {**values, "lead": self.lead, "notes": list(self.notes())}
