"""How to join models, chosen by labelled answers that none of them was trained on: `choose_joining`.

What is chosen here was chosen by these pictures, so every score in it is a selection score; what it is worth is seen on
other pictures (`joining_score.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from budwood.errors import DataError
from budwood.evaluation.calibrate import apply_temperature, fit_temperature
from budwood.evaluation.ensemble import Combine, combine
from budwood.evaluation.joining_fits import (
    Labels,
    Table,
    fit_greedy,
    fit_stacking,
    fit_weights,
    losses,
    out_of_fold,
    stacking_out_of_fold,
)
from budwood.evaluation.joining_votes import answer_shares, choose_voters
from budwood.evaluation.predictions import Predictions

JoinMethod = Literal["auto", "mean", "weighted", "vote", "logit-mean", "stacking", "greedy", "complementary"]

# What "auto" tries besides the mean. A vote gives shares of votes, whose log loss says nothing.
AUTO = ("logit-mean", "weighted", "greedy", "stacking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One way to join and what it did on the choosing pictures; fitted ways answered out of fold.

    loss, accuracy: mean log loss (at the best temperature) and accuracy. against_mean, error: its log loss minus the
    mean's on the same pictures, and the standard error of that.
    """

    method: str
    loss: float
    accuracy: float
    against_mean: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """How to join: ``how`` for the members at ``members`` (positions, rising), why, and what else was tried.

    method: the one that was taken.
    """

    how: Combine
    members: tuple[int, ...]
    method: str
    why: str
    tried: tuple[Tried, ...]
    num_pictures: int

    def answer(self, tables: Table) -> NDArray[np.float32]:
        """Joined probabilities ``[N, K]`` of *all* members' tables ``[M, N, K]``."""
        return combine(tables[list(self.members)], self.how)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "how": self.how.to_dict()}


def align_tables(answers: Sequence[Predictions], *, names: Sequence[str]) -> tuple[Table, Predictions]:
    """The members' answers to the same labelled pictures as one table ``[M, N, K]``, matched by path and class name.

    Returns:
        The table, and the first member's answers, in whose order of pictures and classes it is.

    Raises:
        DataError: they are of other pictures, classes or labels; ``names`` tell which.
    """
    first = answers[0]
    if first.targets is None:
        raise DataError(f"{names[0]} holds answers without labels; only labelled pictures show how to join")
    tables = [first.probs]
    for name, other in zip(names[1:], answers[1:], strict=True):
        tables.append(_in_order_of(first, other, name=name, first_name=names[0]))
    return np.stack(tables), first


def _in_order_of(first: Predictions, other: Predictions, *, name: str, first_name: str) -> NDArray[np.float32]:
    if set(first.classes) != set(other.classes):
        odd = sorted(set(first.classes) ^ set(other.classes))[0]
        raise DataError(
            f'only one of {first_name} and {name} knows the class "{odd}"; members of an ensemble need the same classes'
        )
    row = {path: i for i, path in enumerate(other.paths)}
    if set(row) != set(first.paths) or len(row) != len(other):
        raise DataError(
            f"{first_name} and {name} did not answer the same pictures ({len(first)} and {len(other)}); train both on"
            " one split: budwood fit PHOTOS --split split.json"
        )
    order = [row[path] for path in first.paths]
    columns = [other.classes.index(label) for label in first.classes]
    if other.targets is None or first.targets is None:
        raise DataError(f"{name} holds answers without labels; only labelled pictures show how to join")
    labels = np.array([first.classes.index(label) for label in other.classes])[other.targets[order]]
    if (labels != first.targets).any():
        at = int(np.flatnonzero(labels != first.targets)[0])
        raise DataError(f"{first.paths[at]} is labelled differently in {first_name} and {name}: train both again")
    return other.probs[order][:, columns]


def choose_joining(tables: Table, targets: Labels, *, method: JoinMethod = "auto", seed: int = 0) -> Joining:
    """Choose how to join by answers ``[M, N, K]`` to N labelled pictures that no member was trained on.

    ``auto`` takes the way with the least log loss, unless the plain mean is within one standard error of it: weights
    that a few hundred pictures cannot tell from equal ones are not worth having.

    Args:
        tables: the members' probabilities.
        targets: ``[N]`` classes.
        method: ``mean``, ``logit-mean``, ``weighted``, ``greedy``, ``stacking``, ``vote`` (all members), or
            ``complementary`` (members chosen by their confusion matrices, then a vote); or ``auto``.
        seed: of the folds and of imagined pictures.

    Raises:
        DataError: there are fewer than two members, or no pictures.
    """
    if len(tables) < 2 or not len(targets):
        raise DataError(f"an ensemble needs two members and labelled pictures; found {len(tables)} and {len(targets)}")
    tried = [_try(name, tables, targets, seed=seed) for name in ("mean", *AUTO, "vote", "complementary")]
    taken, why = (method, "as asked") if method != "auto" else by_one_standard_error(tried)
    return Joining(
        **_fit(taken, tables, targets, seed=seed, why=why), method=taken, tried=tuple(tried), num_pictures=len(targets)
    )


def _fit(method: str, tables: Table, targets: Labels, *, seed: int, why: str) -> dict[str, Any]:
    """Members, way and reason, fitted on all pictures."""
    members = tuple(range(len(tables)))
    if method == "complementary":
        chosen = choose_voters(answer_shares(tables, targets), seed=seed)
        why += (
            f"; by their confusion matrices {chosen.expected:.3f} mean recall is expected of the vote of"
            f" {len(chosen.members)}, {chosen.all_members:.3f} of all, if they erred independently"
        )
        return {"how": Combine(method="vote"), "members": chosen.members, "why": why}
    how = FITS[method](tables, targets, seed)
    if how.method == "weighted":  # members without weight are left out: they would only cost time
        members = tuple(i for i in members if how.weights[i] > 0)
        how = replace(how, weights=tuple(how.weights[i] for i in members))
    return {"how": how, "members": members, "why": why}


FITS: dict[str, Callable[[Table, Labels, int], Combine]] = {
    "mean": lambda tables, targets, seed: Combine(method="mean"),
    "logit-mean": lambda tables, targets, seed: Combine(method="logit-mean"),
    "vote": lambda tables, targets, seed: Combine(method="vote"),
    "weighted": lambda tables, targets, seed: fit_weights(tables, targets),
    "greedy": lambda tables, targets, seed: fit_greedy(tables, targets),
    "stacking": lambda tables, targets, seed: fit_stacking(tables, targets, seed=seed),
}


def held_out_answers(method: str, tables: Table, targets: Labels, *, seed: int = 0) -> NDArray[np.float32]:
    """Joined answers ``[N, K]`` to the choosing pictures, each fifth of them by a fit on the rest.

    Ways without weights have nothing to fit, and answer as they are.
    """
    if method == "complementary":
        return _complementary_out_of_fold(tables, targets, seed=seed)
    if method == "stacking":
        return stacking_out_of_fold(tables, targets, seed=seed)
    return out_of_fold(tables, targets, lambda some, own: FITS[method](some, own, seed), seed=seed)


def _try(method: str, tables: Table, targets: Labels, *, seed: int) -> Tried:
    joined = held_out_answers(method, tables, targets, seed=seed)
    own, plain = _tempered_losses(joined, targets), _tempered_losses(combine(tables, Combine()), targets)
    error = float((own - plain).std(ddof=1)) / math.sqrt(len(own)) if len(own) > 1 else 0.0
    return Tried(
        method=method,
        loss=float(own.mean()),
        accuracy=float((joined.argmax(axis=1) == targets).mean()),
        against_mean=float((own - plain).mean()),
        error=error,
    )


def _tempered_losses(probs: NDArray[np.float32], targets: Labels) -> NDArray[np.float64]:
    """Losses at the best temperature: a bundle is calibrated at the end, so its lack is no fault of a way to join."""
    answers = Predictions(
        probs=probs,
        targets=targets,
        paths=tuple(map(str, range(len(probs)))),
        classes=tuple(map(str, range(probs.shape[1]))),
    )
    return losses(apply_temperature(probs, fit_temperature(answers)), targets)


def _complementary_out_of_fold(tables: Table, targets: Labels, *, seed: int) -> NDArray[np.float32]:
    """A vote of others counts nothing: weights of 0 and 1 stand for who votes, on answers made one-hot."""
    named = np.eye(tables.shape[2], dtype=np.float32)[tables.argmax(axis=2)]
    # Half a hundredth of the probabilities breaks ties as `combine` does: by the members' mean.
    softened = np.asarray(0.995 * named + 0.005 * tables, dtype=np.float32)

    def fit(some: Table, own: Labels) -> Combine:
        members = choose_voters(answer_shares(some, own), seed=seed).members
        return Combine(method="weighted", weights=tuple(1 / len(members) * (i in members) for i in range(len(tables))))

    return out_of_fold(softened, targets, fit, seed=seed)


def by_one_standard_error(tried: Sequence[Tried]) -> tuple[str, str]:
    """What ``auto`` takes of `AUTO` and the mean, and why."""
    rivals = [t for t in tried if t.method in AUTO]
    best = min(rivals, key=lambda t: t.loss)
    if best.against_mean < -best.error:
        return best.method, (
            f"{best.method} has the least log loss, {-best.against_mean:.4f} less than the mean's with a standard error"
            f" of {best.error:.4f}"
        )
    if best.against_mean < 0:
        return "mean", (
            f"{best.method} has {-best.against_mean:.4f} less log loss than the mean, which is within its standard"
            f" error of {best.error:.4f}: the mean is taken"
        )
    return "mean", "no other way has less log loss than the mean"
