"""Which pictures to look at, or to label, first: those about which a model is least sure, or most surely wrong.

Five reasons, each a number that is compared with its own usual values, so that no reason crowds out the others. For
pictures with labels, a sure answer that contradicts the label comes first: the label may be wrong. Arrays only; what
they are of is the caller's matter, and nothing is relabelled here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Reason = Literal[
    "contradicts the label", "torn between two", "unsure of all", "changes with the view", "unlike the others"
]

# From which value on a reason is one: of the answers in docs/doubts.md, each names a few in a hundred pictures.
_LEAST: dict[Reason, float] = {
    "contradicts the label": 0.5,
    "torn between two": 0.7,
    "unsure of all": 0.5,
    "changes with the view": 0.2,
    "unlike the others": 0.98,
}
# What a reason at its full weighs: a wrong label spoils training and scores, an odd picture perhaps neither.
_WEIGHT: dict[Reason, float] = {
    "contradicts the label": 2.0,
    "torn between two": 1.0,
    "unsure of all": 1.0,
    "changes with the view": 0.9,
    "unlike the others": 0.8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One picture to look at: its row, what speaks for looking (the strongest first), and how much, 0-1.

    suggestion: the class that the model would give it, where that contradicts the label; else empty.
    """

    row: int
    score: float
    reasons: tuple[Reason, ...]
    sentence: str
    suggestion: str = ""


def find_doubts(
    probs: NDArray[np.float32],
    *,
    classes: Sequence[str],
    targets: NDArray[np.int64] | None = None,
    other_views: NDArray[np.float32] | None = None,
    unusual: NDArray[np.float64] | None = None,
    limit: int | None = None,
) -> tuple[Doubt, ...]:
    """The pictures that deserve a look, the most doubtful first.

    Args:
        probs: ``[N, K]`` the model's answers, from a model that was not trained on these pictures.
        classes: the K names.
        targets: ``[N]`` labels as class indices, -1 where there is none; None: no labels at all.
        other_views: ``[N, K]`` answers to another view of the same pictures (upright alone, say).
        unusual: ``[N]`` 0-1, the share of known pictures that are less unusual (`drift.unusualness`).
        limit: how many at most.
    """
    amounts = _amounts(probs, targets=targets, other_views=other_views, unusual=unusual)
    found = []
    for row in range(len(probs)):
        speaking = {r: _WEIGHT[r] * _over(float(values[row]), r) for r, values in amounts.items()}
        reasons = sorted((r for r, weight in speaking.items() if weight > 0), key=lambda r: -speaking[r])
        if not reasons:
            continue
        label = int(targets[row]) if targets is not None else -1
        suggestion = classes[int(probs[row].argmax())] if reasons[0] == "contradicts the label" else ""
        found.append(
            Doubt(
                row=row,
                score=round(min(1.0, sum(speaking.values()) / sum(_WEIGHT.values())), 4),
                reasons=tuple(reasons),
                sentence=_sentence(reasons, probs[row], classes=classes, label=label),
                suggestion=suggestion,
            )
        )
    found.sort(key=lambda doubt: (-doubt.score, doubt.row))
    return tuple(found[:limit])


def margin(probs: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far the likeliest class is before the next, ``[N]`` in 0-1."""
    if probs.shape[1] < 2:
        return np.ones(len(probs))
    ordered = np.partition(probs.astype(np.float64), -2, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def entropy(probs: NDArray[np.float32]) -> NDArray[np.float64]:
    """How evenly the probabilities are spread, ``[N]``: 0 all on one class, 1 on all alike."""
    if probs.shape[1] < 2:
        return np.zeros(len(probs))
    safe = np.maximum(probs.astype(np.float64), 1e-12)
    return np.asarray(-(safe * np.log(safe)).sum(axis=1) / np.log(probs.shape[1]))


def view_change(probs: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much probability moves between two answers to one picture, ``[N]`` in 0-1 (total variation)."""
    return np.asarray(np.abs(probs.astype(np.float64) - other.astype(np.float64)).sum(axis=1) / 2)


def _amounts(
    probs: NDArray[np.float32],
    *,
    targets: NDArray[np.int64] | None,
    other_views: NDArray[np.float32] | None,
    unusual: NDArray[np.float64] | None,
) -> dict[Reason, NDArray[np.float64]]:
    amounts: dict[Reason, NDArray[np.float64]] = {
        "torn between two": 1 - margin(probs),
        "unsure of all": entropy(probs),
    }
    if targets is not None:
        rows = np.arange(len(probs))
        best = probs.argmax(axis=1)
        wrong = (targets >= 0) & (best != targets)
        sure = probs[rows, best].astype(np.float64) - probs[rows, np.maximum(targets, 0)]
        amounts["contradicts the label"] = np.where(wrong, sure, 0.0)
    if other_views is not None:
        amounts["changes with the view"] = view_change(probs, other_views)
    if unusual is not None:
        amounts["unlike the others"] = unusual
    return amounts


def _over(value: float, reason: Reason) -> float:
    """0 below the least value of a reason, rising to 1."""
    least = _LEAST[reason]
    return max(0.0, value - least) / (1 - least) if value >= least else 0.0


def _sentence(reasons: Sequence[Reason], probs: NDArray[np.float32], *, classes: Sequence[str], label: int) -> str:
    first, second = (int(k) for k in np.argsort(-probs, kind="stable")[[0, min(1, len(probs) - 1)]])
    said = {
        "contradicts the label": f'labelled "{classes[label]}" ({_percent(probs[label])}), but the model says'
        f' "{classes[first]}" ({_percent(probs[first])})',
        "torn between two": f'torn between "{classes[first]}" ({_percent(probs[first])}) and "{classes[second]}"'
        f" ({_percent(probs[second])})",
        "unsure of all": f'unsure of all classes; the likeliest, "{classes[first]}", has {_percent(probs[first])}',
        "changes with the view": "the answer changes when the picture is turned or cropped",
        "unlike the others": "it looks like few of the known pictures",
    }
    text = "; ".join(said[reason] for reason in reasons)
    return text[:1].upper() + text[1:]


def _percent(value: float) -> str:
    """Never 0 or 100 %, which nobody can know."""
    return "under 1 %" if value < 0.01 else "over 99 %" if value > 0.99 else f"{100 * value:.0f} %"
