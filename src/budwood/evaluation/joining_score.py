"""What an ensemble is worth on the test part: beside each member, against the best one, and how alike its members err.

The best member is chosen on the validation part, as a person would have to; against the best one on the test part the
ensemble would look worse than it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budwood.evaluation.compare import Comparison, paired_difference
from budwood.evaluation.intervals import wilson
from budwood.evaluation.metrics import Estimate, log_loss, macro_f1
from budwood.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member. ``chosen_accuracy``, ``chosen_loss``: on the pictures by which was chosen; the rest on the test part.

    used: whether the ensemble asks it. seconds: for a picture, None where it is not known. weight: None where members
    have none.
    """

    name: str
    chosen_accuracy: float
    chosen_loss: float
    accuracy: Estimate
    macro_f1: float
    log_loss: float
    used: bool
    seconds: float | None
    weight: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How alike two members err on the test part.

    disagreement: the share of pictures that they name differently. both_wrong: the share that both name wrong.
    correlation: of their errors (phi), 1: they err on the same pictures, 0: independently; None where one has none.
    """

    first: str
    second: str
    disagreement: float
    both_wrong: float
    correlation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleScore:
    """Members, pairs, and the ensemble against the member that was best on the choosing pictures.

    seconds: for a picture, the sum of the members that are used; None where one is not known.
    """

    members: tuple[Member, ...]
    pairs: tuple[Pair, ...]
    best: str
    gain: Comparison
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "gain": self.gain.to_dict()}

    @property
    def words(self) -> str:
        """The gain as a sentence."""
        found = self.gain.accuracy
        low, high = 100 * found.interval.low, 100 * found.interval.high
        verdict = found.words if self.gain.verdict == found.verdict else "cannot tell"
        return (
            f"{100 * found.value:+.1f} points ({low:+.1f} to {high:+.1f}) against {self.best}, the best member in"
            f" validation: {verdict}"
        )


def score_ensemble(
    ensemble: Predictions,
    *,
    members: Sequence[Predictions],
    chosen_by: Sequence[Predictions],
    names: Sequence[str],
    used: Sequence[bool],
    weights: Sequence[float | None],
    seconds: Sequence[float | None],
    seed: int = 0,
) -> EnsembleScore:
    """Score an ensemble's answers beside its members'.

    Args:
        ensemble, members: labelled answers to the test part.
        chosen_by: the members' answers to the pictures by which was chosen.
        names, used, weights, seconds: one for each member, see `Member`.
        seed: of the bootstrap.

    Raises:
        DataError: the answers are not to the same pictures.
    """
    rows = [
        Member(
            name=name,
            chosen_accuracy=_accuracy(chosen),
            chosen_loss=log_loss(chosen),
            accuracy=_estimate(own),
            macro_f1=macro_f1(own),
            log_loss=log_loss(own),
            used=use,
            seconds=time,
            weight=weight,
        )
        for name, own, chosen, use, weight, time in zip(names, members, chosen_by, used, weights, seconds, strict=True)
    ]
    best = max(range(len(rows)), key=lambda i: (rows[i].chosen_accuracy, -rows[i].chosen_loss))
    times = [row.seconds for row in rows if row.used]
    known = [time for time in times if time is not None]
    return EnsembleScore(
        members=tuple(rows),
        pairs=tuple(_pair(names[a], names[b], members[a], members[b]) for a, b in _pairs(len(rows))),
        best=names[best],
        gain=paired_difference(members[best], ensemble, seed=seed),
        seconds=sum(known) if len(known) == len(times) else None,
    )


def _pairs(count: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(count), 2))


def _pair(first: str, second: str, a: Predictions, b: Predictions) -> Pair:
    named = a.predicted
    row = {path: i for i, path in enumerate(b.paths)}
    order = [row[path] for path in a.paths]
    column = np.array([a.classes.index(name) for name in b.classes])
    other = column[b.predicted[order]]
    wrong_a, wrong_b = named != a.targets, other != a.targets
    return Pair(
        first=first,
        second=second,
        disagreement=float((named != other).mean()),
        both_wrong=float((wrong_a & wrong_b).mean()),
        correlation=_phi(wrong_a, wrong_b),
    )


def _phi(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float | None:
    if a.all() or b.all() or not a.any() or not b.any():
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _accuracy(answers: Predictions) -> float:
    return float((answers.predicted == answers.targets).mean())


def _estimate(answers: Predictions) -> Estimate:
    right = int((answers.predicted == answers.targets).sum())
    return Estimate(value=right / len(answers), interval=wilson(right, len(answers)))
