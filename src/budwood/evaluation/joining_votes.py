"""Which members to let vote, by their confusion matrices: those whose errors fall on different pairs of classes.

Report A2 wished for it: "models with a particular confusion matrix to maximize the concept of majority voting".

**What it assumes:** that members err independently of each other, given the class. They do not: what is hard for one is
mostly hard for all. So the recall that is expected here is too high, and too many members look good; the vote's real
score stands beside it wherever it is shown. What speaks for it: a confusion matrix holds far fewer numbers than all
joint answers, so that with few pictures it is less a matter of luck.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.seeding import named_generator

_DRAWS = 8000  # imagined pictures, equally many of each class: an expected recall is known to half a point
_ALL_SUBSETS = 10  # with more members than this, they are added one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The members that are to vote (positions, rising), and the mean recall over classes that is expected of them.

    all_members: what is expected of all of them together.
    """

    members: tuple[int, ...]
    expected: float
    all_members: float


def answer_shares(tables: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each member names each class, by the true class: ``[M, K, K]``, rows sum to 1.

    One imagined picture, spread over all classes, is added to each row: what was not seen is not impossible.
    """
    members, _, classes = tables.shape
    counts = np.full((members, classes, classes), 1 / classes)
    for member, named in enumerate(tables.argmax(axis=2)):
        np.add.at(counts[member], (targets, named), 1)
    return np.asarray(counts / counts.sum(axis=2, keepdims=True))


def choose_voters(shares: NDArray[np.float64], *, seed: int = 0, least: int = 1) -> Chosen:
    """The members whose majority vote has the highest expected recall, as the mean over classes.

    Args:
        shares: ``[M, K, K]``, see `answer_shares`.
        seed: of the imagined pictures; all sets are judged by the same ones.
        least: so many members at the least.

    Of sets that are expected to be equal to a thousandth the smallest is taken.
    """
    members = len(shares)
    named = _drawn(shares, seed=seed)
    if members <= _ALL_SUBSETS:
        sizes = range(least, members + 1)
        sets = [chosen for size in sizes for chosen in itertools.combinations(range(members), size)]
    else:
        sets = _one_by_one(named, least=least)
    expected = [expected_recall(named, chosen) for chosen in sets]
    enough = max(expected) - 1e-3
    size = min(len(chosen) for chosen, value in zip(sets, expected, strict=True) if value >= enough)
    at = max((i for i, chosen in enumerate(sets) if len(chosen) == size), key=lambda i: expected[i])
    return Chosen(
        members=tuple(sorted(sets[at])),
        expected=expected[at],
        all_members=expected_recall(named, tuple(range(members))),
    )


def expected_recall(named: NDArray[np.int64], chosen: Sequence[int]) -> float:
    """The mean recall over classes of the vote of some members on drawn answers ``[M, K, R]``; ties are shared."""
    classes, draws = named.shape[1:]
    votes = np.zeros((classes, draws, classes), dtype=np.int16)
    rows, columns = np.arange(classes)[:, None], np.arange(draws)[None]
    for member in chosen:
        votes[rows, columns, named[member]] += 1
    most = votes.max(axis=2)
    own = votes[np.arange(classes), :, np.arange(classes)]
    return float(((own == most) / (votes == most[:, :, None]).sum(axis=2)).mean())


def _drawn(shares: NDArray[np.float64], *, seed: int) -> NDArray[np.int64]:
    """Answers ``[M, K, R]`` to R imagined pictures of each class, drawn from each member's own shares."""
    generator = named_generator(seed, "voters")
    members, classes, _ = shares.shape
    luck = generator.random((members, classes, max(20, _DRAWS // classes)))
    found = np.empty(luck.shape, dtype=np.int64)
    for member, own in np.ndindex(members, classes):
        found[member, own] = np.searchsorted(shares[member, own].cumsum()[:-1], luck[member, own], side="right")
    return found


def _one_by_one(named: NDArray[np.int64], *, least: int) -> list[tuple[int, ...]]:
    """Sets that grow by the member that helps most."""
    chosen: tuple[int, ...] = ()
    found = []
    while len(chosen) < len(named):
        rest = [i for i in range(len(named)) if i not in chosen]
        chosen = max(((*chosen, i) for i in rest), key=lambda tried: expected_recall(named, tried))
        if len(chosen) >= least:
            found.append(chosen)
    return found
