"""Test-time views: how the answers to several views of a picture become one, which views to take, what they bring.

Which views are tried is the caller's matter; a choice is made by labelled pictures that nothing was trained on, and
what it is worth is seen on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.compare import Difference, paired_difference
from budwood.evaluation.ensemble import Combine, combine
from budwood.evaluation.intervals import Interval
from budwood.evaluation.joining_fits import losses
from budwood.evaluation.predictions import Predictions
from budwood.evaluation.views import View, view_to_json
from budwood.seeding import named_generator

Average = Literal["probabilities", "logits"]

_RESAMPLES = 2000
_ALPHA = 0.05


def average_views(tables: NDArray[np.float32], average: Average = "probabilities") -> NDArray[np.float32]:
    """Answers ``[V, N, K]`` to V views as ``[N, K]``: the mean of probabilities, or of logits.

    The mean of logits is that of log-probabilities, normalised again: what a softmax drops cancels out.
    """
    return combine(tables, Combine(method="mean" if average == "probabilities" else "logit-mean"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TtaGain:
    """What several views brought on the test part, and what they cost.

    difference: all views minus one, in accuracy. cost: the time of all views as a multiple of one's.
    seconds_a_picture: with all views.
    """

    views: int
    one_view: float
    all_views: float
    difference: Difference
    mcnemar_p: float
    cost: float
    seconds_a_picture: float

    @property
    def verdict(self) -> Literal["better", "worse", "cannot tell"]:
        """What is said of all views: the interval and McNemar's test have to agree."""
        return self.difference.verdict if self.mcnemar_p < _ALPHA else "cannot tell"

    @property
    def words(self) -> str:
        """The gain as a sentence."""
        low, high = 100 * self.difference.interval.low, 100 * self.difference.interval.high
        verdict = self.difference.words if self.verdict == self.difference.verdict else self.verdict
        return (
            f"{self.views} views of each picture against one: {100 * self.difference.value:+.1f} points"
            f" ({low:+.1f} to {high:+.1f}), {verdict}; {self.cost:.1f} times the time"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the verdict and the words."""
        values = asdict(self)
        values["difference"]["verdict"] = self.verdict
        return {**values, "words": self.words}


def tta_gain(
    one: Predictions, several: Predictions, *, views: int, seconds_one: float, seconds_all: float, seed: int = 0
) -> TtaGain:
    """Compare one view with all of them on the same labelled pictures.

    Args:
        one, several: the same model's answers with one view and with ``views``.
        seconds_one, seconds_all: what each took, timed alike.
        seed: of the bootstrap.

    Raises:
        DataError: the answers are not to the same pictures.
    """
    found = paired_difference(one, several, seed=seed)
    return TtaGain(
        views=views,
        one_view=found.accuracy.a,
        all_views=found.accuracy.b,
        difference=found.accuracy,
        mcnemar_p=found.mcnemar_p,
        cost=seconds_all / max(seconds_one, 1e-9),
        seconds_a_picture=seconds_all / len(several),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewStep:
    """A set of views on the way, the last of which was just added: mean log loss and accuracy.

    against_best: its log loss minus that of the best set on the way, with the interval of a paired bootstrap.
    """

    added: View
    loss: float
    accuracy: float
    against_best: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChoice:
    """The views that were chosen, from what number of them, the way there, and why."""

    views: tuple[View, ...]
    tried: int
    steps: tuple[ViewStep, ...]
    why: str
    num_pictures: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        values["views"] = [view_to_json(view) for view in self.views]
        for step, own in zip(values["steps"], self.steps, strict=True):
            step["added"] = view_to_json(own.added)
        return values


def choose_views_by(
    tables: NDArray[np.float32],
    targets: NDArray[np.int64],
    *,
    menu: Sequence[View],
    average: Average = "probabilities",
    seed: int = 0,
) -> ViewChoice:
    """Add views one by one, each time the one that lowers the log loss most; keep no more than the noise allows.

    Of all sets on the way the smallest is taken whose log loss cannot be told from the lowest (95 % interval of the
    paired bootstrap). The picture as it is (or the menu's first view) is always among them.

    Args:
        tables: ``[V, N, K]`` answers to the views of ``menu``, in its order.
        targets: ``[N]`` classes of pictures that nothing was trained on.
        seed: of the bootstrap.

    Raises:
        DataError: there is no picture.
    """
    if not len(targets) or not len(menu):
        raise DataError("views can only be chosen by labelled pictures: there are none in the validation part")
    way = _greedy(tables, targets, start=menu.index(View()) if View() in menu else 0, average=average)
    rows = [losses(average_views(tables[way[: n + 1]], average), targets) for n in range(len(way))]
    best = min(range(len(rows)), key=lambda n: (round(float(rows[n].mean()), 9), n))
    intervals = [_interval(row - rows[best], seed=seed) for row in rows]
    taken = next(n for n in range(len(rows)) if n == best or intervals[n].low <= 0)
    named = [average_views(tables[way[: n + 1]], average).argmax(axis=1) for n in range(len(way))]
    steps = tuple(
        ViewStep(
            added=menu[way[n]],
            loss=float(rows[n].mean()),
            accuracy=float((named[n] == targets).mean()),
            against_best=float((rows[n] - rows[best]).mean()),
            interval=intervals[n],
        )
        for n in range(len(way))
    )
    return ViewChoice(
        views=tuple(menu[i] for i in way[: taken + 1]),
        tried=len(menu),
        steps=steps,
        why=_why(steps, taken=taken, best=best),
        num_pictures=len(targets),
    )


def _greedy(tables: NDArray[np.float32], targets: NDArray[np.int64], *, start: int, average: Average) -> list[int]:
    """All views in the order in which each lowers the mean log loss most."""
    way = [start]
    while len(way) < len(tables):
        rest = [i for i in range(len(tables)) if i not in way]
        way.append(min(rest, key=lambda i: float(losses(average_views(tables[[*way, i]], average), targets).mean())))
    return way


def _interval(differences: NDArray[np.float64], *, seed: int) -> Interval:
    """The mean of paired differences when the pictures are drawn again."""
    generator = named_generator(seed, "views")
    num = len(differences)
    drawn = generator.multinomial(num, np.full(num, 1 / num), size=_RESAMPLES) @ differences / num
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))


def _why(steps: Sequence[ViewStep], *, taken: int, best: int) -> str:
    first, own = steps[0].loss, steps[taken].loss
    if taken == best:
        return (
            f"{taken + 1} views have the lowest log loss in validation, {own:.4f} against {first:.4f} with one"
            if taken
            else f"no further view lowered the log loss of {first:.4f} in validation"
        )
    return (
        f"{best + 1} views have the lowest log loss in validation ({steps[best].loss:.4f}), but {taken + 1} cannot be"
        f" told from them ({own:.4f}; one alone {first:.4f}): the smaller set is taken"
    )
