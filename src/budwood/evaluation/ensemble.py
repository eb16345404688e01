"""`Combine`: how the answers of several models become one, and `combine`, which does it. NumPy only.

Which way to take, with which weights, is found by `joining.py`; here nothing is chosen and no label is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Method = Literal["mean", "weighted", "vote", "logit-mean", "stacking"]

# A probability below it counts as it: one member that is sure and wrong must not outweigh all others.
FLOOR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Combine:
    """How M members' probabilities for K classes are joined.

    method: ``mean`` of probabilities; ``weighted`` mean; ``vote``: each member names one class; ``logit-mean``: the
        mean of log-probabilities, normalised again (a geometric mean); ``stacking``: a linear layer and a softmax on
        the members' log-probabilities.
    weights: M numbers, not negative, that sum to 1, for ``weighted``; empty for all others.
    coef: for ``stacking``, K rows of M * K numbers: the share of each member's log-probability of each class in a
        class's logit, members one after the other. intercept: K numbers. Both empty for all others.

    Raises:
        ValueError: the numbers do not fit the method.
    """

    method: Method = "mean"
    weights: tuple[float, ...] = ()
    coef: tuple[tuple[float, ...], ...] = ()
    intercept: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(
                f"there is no way {self.method!r} to join answers; known are {', '.join(get_args(Method))}"
            )
        if bool(self.weights) != (self.method == "weighted"):
            raise ValueError(f"weights belong to the method weighted, and only to it; found {self.method}")
        if self.weights and not _is_simplex(self.weights):
            raise ValueError(f"weights must not be negative and must sum to 1; found {list(self.weights)}")
        if bool(self.coef) != (self.method == "stacking") or bool(self.intercept) != (self.method == "stacking"):
            raise ValueError(f"coef and intercept belong to the method stacking, and only to it; found {self.method}")
        if self.coef and not _is_layer(self.coef, self.intercept):
            raise ValueError(
                "stacking needs one row of finite numbers for each class, each as long as members times classes, and"
                f" one intercept for each; found {len(self.coef)} rows and {len(self.intercept)} intercepts"
            )

    def check(self, *, members: int, classes: int) -> None:
        """Raises ValueError unless this joins so many members that answer so many classes."""
        if self.weights and len(self.weights) != members:
            raise ValueError(f"{len(self.weights)} weights for {members} members")
        if self.coef and (len(self.coef), len(self.coef[0])) != (classes, members * classes):
            raise ValueError(
                f"stacking of {len(self.coef)} x {len(self.coef[0])} numbers; {members} members and {classes} classes"
                f" need {classes} x {members * classes}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them."""
        values: dict[str, Any] = {"method": self.method}
        if self.weights:
            values["weights"] = list(self.weights)
        if self.coef:
            values["stacking"] = {"coef": [list(row) for row in self.coef], "intercept": list(self.intercept)}
        return values

    @classmethod
    def from_dict(cls, values: Any) -> Combine:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(values, dict) or set(values) - {"method", "weights", "stacking"}:
            raise ValueError("expected a table with method, and with weights or stacking where the method needs them")
        stacking = values.get("stacking") or {}
        if not isinstance(stacking, dict) or set(stacking) - {"coef", "intercept"}:
            raise ValueError("stacking is no table of coef and intercept")
        rows = stacking.get("coef", [])
        if not isinstance(rows, list):
            raise ValueError("stacking.coef is no list of rows")
        return cls(
            method=values.get("method", ""),
            weights=_numbers(values.get("weights", []), "weights"),
            coef=tuple(_numbers(row, "stacking.coef") for row in rows),
            intercept=_numbers(stacking.get("intercept", []), "stacking.intercept"),
        )


def combine(tables: NDArray[np.float32], how: Combine) -> NDArray[np.float32]:
    """Join probabilities ``[M, N, K]`` of M members into ``[N, K]`` float32, rows sum to 1.

    ``vote`` gives each class the share of members that named it. Classes with equally many votes are put in order by
    the members' mean probability, and in the order of the classes where that is equal too: less than half a vote,
    spread over the tied classes by that mean, is added before the shares are taken, so that ``argmax`` is the winner.

    Raises:
        ValueError: the shape is another, or ``how`` is for other members or classes.
    """
    if tables.ndim != 3 or not tables.shape[0] or not tables.shape[2]:
        raise ValueError(f"expected probabilities [M, N, K], found shape {tables.shape}")
    members, _, classes = tables.shape
    how.check(members=members, classes=classes)
    probs = tables.astype(np.float64)
    if how.method == "mean":
        joined = probs.mean(axis=0)
    elif how.method == "weighted":
        joined = np.einsum("m,mnk->nk", np.asarray(how.weights), probs)
    elif how.method == "vote":
        joined = _votes(probs)
    elif how.method == "logit-mean":
        joined = softmax(log_probs(probs).mean(axis=0))
    else:
        joined = softmax(stacked(probs) @ np.asarray(how.coef).T + np.asarray(how.intercept))
    return np.asarray(joined / joined.sum(axis=1, keepdims=True), dtype=np.float32)


def log_probs(probs: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Logarithms of probabilities, none taken for less than `FLOOR`; same shape."""
    return np.log(np.maximum(np.asarray(probs, dtype=np.float64), FLOOR))


def stacked(probs: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """What stacking looks at: log-probabilities ``[M, N, K]`` side by side, ``[N, M * K]``."""
    members, pictures, classes = probs.shape
    return log_probs(probs).transpose(1, 0, 2).reshape(pictures, members * classes)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of logits ``[..., K]``."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float64)


def _votes(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    named = probs.argmax(axis=2)
    votes = (named[:, :, None] == np.arange(probs.shape[2])).sum(axis=0).astype(np.float64)
    tied = votes == votes.max(axis=1, keepdims=True)
    mean = probs.mean(axis=0)
    winner = np.where(tied, mean, -1.0).argmax(axis=1)
    share = np.where(tied, mean, 0.0)
    share[np.arange(len(share)), winner] += 1e-3  # equal means: the first class leads by what float32 can hold
    several = tied.sum(axis=1, keepdims=True) > 1
    return np.asarray(votes + np.where(several, 0.49 * share / share.sum(axis=1, keepdims=True), 0.0))


def _is_simplex(weights: Sequence[float]) -> bool:
    return all(math.isfinite(w) and w >= 0 for w in weights) and abs(math.fsum(weights) - 1) < 1e-6


def _is_layer(coef: Sequence[Sequence[float]], intercept: Sequence[float]) -> bool:
    widths = {len(row) for row in coef}
    finite = all(math.isfinite(value) for row in (*coef, intercept) for value in row)
    return finite and len(coef) == len(intercept) and len(widths) == 1 and not widths.pop() % len(coef)


def _numbers(values: Any, name: str) -> tuple[float, ...]:
    if not isinstance(values, list | tuple) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    ):
        raise ValueError(f"{name} is no list of numbers")
    return tuple(float(v) for v in values)
