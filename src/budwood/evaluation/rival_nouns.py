"""The nouns of a judgement of rivals, and what they say in words; how they come about is in `rivals.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from budwood.evaluation.crossed import FEW_SEEDS, few_seeds_note
from budwood.evaluation.intervals import Estimate, Interval
from budwood.evaluation.predictions import Predictions

LEVEL = 0.95  # of all intervals, and 1 less it of all tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One way of training: its answers to the same N pictures with each seed, and its accuracy on each fold."""

    name: str
    answers: Mapping[int, Predictions]
    fold_accuracies: Mapping[int, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstWinner:
    """A rival against the winner. ``value`` is the rival's accuracy minus the winner's, with its 95 % interval.

    only_rival, only_winner: pictures named right more often by one of them. p: of the difference alone; adjusted_p:
    when all pairs are looked at. words: the verdict as the end of a sentence.
    """

    value: float
    interval: Interval
    only_rival: int
    only_winner: int
    p: float
    adjusted_p: float
    words: str

    @property
    def verdict(self) -> Literal["worse", "cannot tell"]:
        """What is said of the rival."""
        return "worse" if self.adjusted_p < 1 - LEVEL and self.value < 0 else "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one contestant stands.

    accuracy: over pictures and seeds. fold_deviation, seed_deviation: of the accuracies of folds (of one seed) and of
    seeds; None where there is one. first: the share of resamples in which it came first. against: None for the winner.
    """

    name: str
    accuracy: Estimate
    macro_f1: float
    log_loss: float
    fold_deviation: float | None
    seed_deviation: float | None
    first: float
    against: AgainstWinner | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All contestants in the order given; ``winner`` is the position of the one with the highest accuracy.

    corrected: the accuracy to expect of the winner on other pictures, since it was chosen by these.
    num_pairs: comparisons that the p values are adjusted for.
    """

    num_pictures: int
    num_seeds: int
    num_folds: int
    winner: int
    standings: tuple[Standing, ...]
    corrected: Estimate
    num_pairs: int

    @property
    def order(self) -> tuple[int, ...]:
        """Positions from the best to the worst."""
        rest = (i for i in range(len(self.standings)) if i != self.winner)
        return (self.winner, *sorted(rest, key=lambda i: (-self.standings[i].accuracy.value, i)))

    @property
    def lead(self) -> str:
        """The answer in two sentences."""
        best = self.standings[self.winner]
        low, high = best.accuracy.interval.low, best.accuracy.interval.high
        text = f"{best.name} came first with {best.accuracy.value:.3f} (95 % interval {low:.3f} to {high:.3f})"
        if len(self.standings) == 1:
            return f"{text}; it has no rivals."
        ahead = self.num_pictures * (best.accuracy.value - self.standings[self.order[1]].accuracy.value)
        unsure = sum(s.against is not None and s.against.verdict == "cannot tell" for s in self.standings)
        rivals = len(self.standings) - 1
        found = f"{unsure} of {rivals} rivals cannot be told from it" if unsure else "every rival is worse"
        if rivals == 1:
            found = "its rival cannot be told from it" if unsure else "its rival is worse"
        return f"{text}, {ahead:.3g} of {self.num_pictures} pictures ahead of the next. {found[0].upper()}{found[1:]}."

    def notes(self) -> tuple[str, ...]:
        """How the numbers have to be read."""
        found = [
            "These are selection scores: the settings, and the epoch where there are epochs, were chosen by the same"
            f" pictures. Expect {self.corrected.value:.3f} ({self.corrected.interval.low:.3f} to"
            f" {self.corrected.interval.high:.3f}) of the winner on other ones. No test picture was used.",
            "Intervals are 95 % each and speak of the luck in which pictures were drawn; training once more with"
            " another seed may move an accuracy too.",
        ]
        if self.num_pairs > 1:
            found.append(
                f"A rival is called worse when that holds for all {self.num_pairs} pairs together (Holm), since any of"
                " them might have come first."
            )
        if self.num_seeds > 1:
            found[1] = "Intervals are 95 % each and speak of the luck in which pictures were drawn and in the seed."
        if 1 < self.num_seeds <= FEW_SEEDS:
            found.append(few_seeds_note())
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with lead and notes."""
        values = asdict(self)
        for each, standing in zip(values["standings"], self.standings, strict=True):
            if standing.against:
                each["against"]["verdict"] = standing.against.verdict
        return {**values, "lead": self.lead, "notes": list(self.notes())}
