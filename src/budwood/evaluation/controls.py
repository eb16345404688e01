"""What a model still answers when part of each picture is taken away: the middle, the surroundings, shape, colour.

A high score with the middle covered says that the surroundings tell the class; a high score on shuffled patches says
that texture does, without shape. How pictures are changed is in `covering`. Answers only; the validation part is asked
(`explaining`), so these are selection scores. Covered and shuffled pictures are such as no camera takes, so a *low*
score proves little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from budwood.evaluation.compare import Comparison, paired_difference
from budwood.evaluation.covering import Pixels, cover_middle, grey, keep_middle, low_pass, shuffle_patches
from budwood.evaluation.intervals import Interval, wilson
from budwood.evaluation.predictions import Predictions

Change = Callable[[Pixels, Sequence[str], int], Pixels]
Kind = Literal["background", "middle", "texture", "colour", "detail"]

_RESAMPLES = 1000
# Shares of what a model knows beyond chance: below the first it is called little, above the second most of it.
_LITTLE, _MOST = 1 / 3, 0.8
_LITTLE_COVERED = "a quarter covered"  # most subjects are still to be seen then


class ExplainSpec(BaseModel):
    """What a run finds out about why its model answers as it does.

    controls: ask again with parts of the pictures covered; ``"auto"`` does where that takes less than a tenth of the
        run, or 20 seconds. pictures: how many of the validation part are asked at most. cams: how many right, and how
        many wrong answers get a map of where they come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    controls: Literal["auto"] | bool = "auto"
    pictures: int = Field(default=300, ge=20, le=10_000)
    cams: int = Field(default=12, ge=0, le=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One way of taking something away. ``left`` ends the sentence "with ... it still names"."""

    name: str
    kind: Kind
    left: str
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlResult:
    """How many of the same pictures are named right with something taken away (``b``) against the whole ones (``a``).

    difference: of the accuracies, paired on the same pictures. mcnemar_p: exact, two-sided.
    """

    name: str
    kind: Kind
    left: str
    accuracy: float
    interval: Interval
    difference: float
    difference_interval: Interval
    mcnemar_p: float
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """All controls on the same pictures. ``chance``: the share of the commonest class among them."""

    num_pictures: int
    part: str
    chance: float
    whole: float
    whole_interval: Interval
    results: tuple[ControlResult, ...]

    @property
    def lead(self) -> str:
        """What matters most, in a sentence or two: whether the background tells it, and whether texture does."""
        behind = [r for r in self.results if r.kind == "background" and r.name != _LITTLE_COVERED]
        if not behind:
            return "Nothing was covered."
        # Of those the least covered one: on a bare frame any network fails.
        found = f"{behind[0].sentence[:-1]}: {self._of_background(behind[0])}."
        shuffled = next((r for r in self.results if r.kind == "texture"), None)
        if shuffled and self._kept(shuffled) > _MOST:
            found += f" {shuffled.sentence[:-1]}: texture and colour do most of it, shape little."
        return found

    def _of_background(self, result: ControlResult) -> str:
        if result.interval.low <= self.chance:
            return "what lies around the middle tells it nothing that can be seen"
        if self._kept(result) < _LITTLE:
            return "what lies around the middle tells it little"
        return "it may read the background"

    def _kept(self, result: ControlResult) -> float:
        """How much of what it knows beyond chance it still knows."""
        return (result.accuracy - self.chance) / max(self.whole - self.chance, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "results": [asdict(r) for r in self.results], "lead": self.lead}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Controls:
        """Read what `to_dict` wrote.

        Raises:
            KeyError, TypeError: it is not that.
        """
        results = tuple(
            ControlResult(
                **{
                    **r,
                    "interval": Interval(**r["interval"]),
                    "difference_interval": Interval(**r["difference_interval"]),
                }
            )
            for r in values["results"]
        )
        kept = {name: values[name] for name in ("num_pictures", "part", "chance", "whole")}
        return cls(**kept, whole_interval=Interval(**values["whole_interval"]), results=results)


CONTROLS: tuple[Control, ...] = (
    Control(
        name=_LITTLE_COVERED,
        kind="background",
        left="with a quarter of the picture covered in its middle",
        change=lambda pixels, keys, seed: cover_middle(pixels, 0.25),
    ),
    Control(
        name="half covered",
        kind="background",
        left="with half of the picture covered in its middle",
        change=lambda pixels, keys, seed: cover_middle(pixels, 0.5),
    ),
    Control(
        name="three quarters covered",
        kind="background",
        left="with three quarters covered, so that only a frame is left,",
        change=lambda pixels, keys, seed: cover_middle(pixels, 0.75),
    ),
    Control(
        name="only the middle half",
        kind="middle",
        left="with only the middle half to see",
        change=lambda pixels, keys, seed: keep_middle(pixels, 0.5),
    ),
    Control(
        name="only the middle quarter",
        kind="middle",
        left="with only the middle quarter to see",
        change=lambda pixels, keys, seed: keep_middle(pixels, 0.25),
    ),
    Control(
        name="4 × 4 patches shuffled",
        kind="texture",
        left="with 16 patches in another order",
        change=lambda pixels, keys, seed: shuffle_patches(pixels, 4, keys=keys, seed=seed),
    ),
    Control(
        name="8 × 8 patches shuffled",
        kind="texture",
        left="with 64 patches in another order",
        change=lambda pixels, keys, seed: shuffle_patches(pixels, 8, keys=keys, seed=seed),
    ),
    Control(
        name="no colour",
        kind="colour",
        left="without colour",
        change=lambda pixels, keys, seed: grey(pixels),
    ),
    Control(
        name="no detail",
        kind="detail",
        left="with 8 × 8 pixels of detail",
        change=lambda pixels, keys, seed: low_pass(pixels, 8),
    ),
)


def judge_controls(
    whole: Predictions, changed: Sequence[tuple[Control, Predictions]], *, part: str, seed: int = 0
) -> Controls:
    """Compare the answers to changed pictures with those to the whole ones.

    Raises:
        DataError: the answers are not for the same labelled pictures.
    """
    assert whole.targets is not None
    total, counts = len(whole), np.bincount(whole.targets, minlength=len(whole.classes))
    right = int((whole.predicted == whole.targets).sum())
    chance = float(counts.max()) / max(1, total)
    results = []
    for control, answers in changed:
        found = paired_difference(_as_right(whole), _as_right(answers), seed=seed, resamples=_RESAMPLES)
        results.append(_result(control, found, whole_accuracy=right / total, chance=chance))
    return Controls(
        num_pictures=total,
        part=part,
        chance=chance,
        whole=right / total,
        whole_interval=wilson(right, total),
        results=tuple(results),
    )


def _as_right(answers: Predictions) -> Predictions:
    """Right or wrong as two classes: the paired test of the accuracy then costs the same for any number of classes."""
    assert answers.targets is not None
    right = answers.predicted == answers.targets
    probs = np.stack([~right, right], axis=1).astype(np.float32)
    return Predictions(
        probs=probs, targets=np.ones(len(right), np.int64), paths=answers.paths, classes=("wrong", "right")
    )


def _result(control: Control, found: Comparison, *, whole_accuracy: float, chance: float) -> ControlResult:
    accuracy = found.accuracy.b
    interval = wilson(round(accuracy * found.num_pictures), found.num_pictures)
    sentence = (
        f"{control.left[:1].upper()}{control.left[1:]} it still names {_percent(accuracy)} right"
        f" (whole pictures {_percent(whole_accuracy)}, chance {_percent(chance)})."
    )
    return ControlResult(
        name=control.name,
        kind=control.kind,
        left=control.left,
        accuracy=accuracy,
        interval=interval,
        difference=found.accuracy.value,
        difference_interval=found.accuracy.interval,
        mcnemar_p=found.mcnemar_p,
        sentence=sentence,
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
