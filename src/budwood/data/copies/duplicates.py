"""Finds pictures that are copies of one another: flipped, turned, cropped, scaled, re-compressed, recoloured.

`find_copies` proposes partners by an index (`copy_search.py`), takes a quick look at each, lays the hopeful pairs over
one another (`registration.py`) and accepts a pair when the fine detail agrees. Pairs that nearly agree are doubtful,
and handed out apart. It sees one exposure in two pictures; it does not tie different pictures of one subject, and it
ties nothing to a picture without detail (blank, very dark). Not found: turns by other angles, crops that keep less than
80 % of a side, collages, two crops of a third picture that overlap little. No file is read here.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from budwood.data.copies.copy_proof import Proved, batches, prove, shows_detail
from budwood.data.copies.copy_search import Hits, Progress, propose
from budwood.data.copies.registration import halved
from budwood.events import Listener, StepAdvanced, StepFinished, StepStarted, silent

DIHEDRAL: tuple[str, ...] = (
    "identity",
    "rot90",
    "rot180",
    "rot270",
    "mirror",
    "mirror rot90",
    "mirror rot180",
    "mirror rot270",
)

_STEP = "near-duplicates"
_WORDS = (
    "the same picture",
    "quarter turn",
    "upside down",
    "quarter turn",
    "mirrored",
    "mirrored quarter turn",
    "mirrored upside down",
    "mirrored quarter turn",
)
_KEEP = 4  # partners looked at; of planted copies 99 % stand at rank 4 or better, in four sets of pictures
_THREADS = 2  # more gain little: the blocks are small
_LATER_ROUNDS = 2  # searches about groups that may be larger than found, see `_contracted`


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePair:
    """Two pictures of one exposure: positions in the input (``first < second``), 0-1 likeness, and how they differ."""

    first: int
    second: int
    similarity: float
    transform: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What a search found, both ordered by ``first``, then ``second``.

    pairs: pictures of one exposure; their connected components are the groups of copies. doubtful: pairs that nearly
        reach the bars; most are look-alikes, a few copies. A split that keeps them together loses little.
    """

    pairs: list[DuplicatePair]
    doubtful: list[DuplicatePair]


def dihedral(image: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """Flip and turn ``[H, W, ...]`` as ``DIHEDRAL[k]`` says: 4-7 mirror left to right first, then turn by k % 4."""
    return np.rot90(np.fliplr(image) if k >= 4 else image, k % 4)


def near_duplicate_pairs(planes: NDArray[np.uint8], *, listen: Listener = silent) -> list[DuplicatePair]:
    """The sure pairs of `find_copies`."""
    return find_copies(planes, listen=listen).pairs


def find_copies(planes: NDArray[np.uint8], *, listen: Listener = silent) -> Copies:
    """Pairs of pictures that show one exposure, and pairs that may.

    Not every pair of a group is listed. The result does not depend on the order of the pictures.

    Args:
        planes: ``[N, 64, 64]`` uint8, see `budwood.data.planes.luma_plane`; up to about 100,000.
        listen: told of the progress; every picture counts twice, once when searched, once when verified.
    """
    started = monotonic()
    listen(StepStarted(step=_STEP, total=2 * len(planes), unit="looks"))

    def progress(count: int) -> None:
        listen(StepAdvanced(step=_STEP, count=count))

    order, copies = _canonical(planes)
    found = Copies(pairs=[_pair(a, b, 1.0, _WORDS[0]) for a, b in copies], doubtful=[])
    searched = len(order) if len(order) > 1 else 0
    progress(2 * (len(planes) - searched))
    if searched:
        # Thousands of small products: with several BLAS threads a busy machine took 8 times as long.
        threads = min(_THREADS, os.cpu_count() or 1)
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            near = _search(planes, order, pool=pool, progress=progress)
        found = Copies(pairs=_ordered([*found.pairs, *near.pairs]), doubtful=_ordered(near.doubtful))
    listen(StepFinished(step=_STEP, seconds=monotonic() - started, note=f"{len(found.pairs)} pairs"))
    return found


def _canonical(planes: NDArray[np.uint8]) -> tuple[NDArray[np.intp], list[tuple[int, int]]]:
    """The pictures in an order that depends on their content only, and pairs of equal planes that are not blank.

    Of equal planes one takes part in the search: many equal pictures would fill one another's list of partners.
    """
    by_content: dict[bytes, list[int]] = {}
    for i, plane in enumerate(planes):
        by_content.setdefault(sha256(plane.tobytes()).digest(), []).append(i)
    groups = [by_content[key] for key in sorted(by_content)]
    repeated = [group for group in groups if len(group) > 1]
    shown = shows_detail(planes[[group[0] for group in repeated]])
    copies = [(group[0], other) for group, able in zip(repeated, shown, strict=True) if able for other in group[1:]]
    return np.array([group[0] for group in groups], np.intp), copies


def _search(planes: NDArray[np.uint8], names: NDArray[np.intp], *, pool: Executor, progress: Progress) -> Copies:
    """The near pairs among the named planes, which differ from one another."""
    everyone = np.ones(len(names), bool)
    proved = _look_about(everyone, planes=planes, names=names, crowd=None, pool=pool, progress=progress)
    progress(len(names))
    found, doubtful = _pairs(proved, sure=True), _pairs(proved, sure=False)
    pairs = found
    for _ in range(_LATER_ROUNDS):
        names, first_two = _contracted(names, found)
        if not first_two.any():
            break
        proved = _look_about(
            first_two, planes=planes, names=names, crowd=proved.crowd, pool=pool, progress=lambda count: None
        )
        found = _pairs(proved, sure=True)
        pairs, doubtful = _best_of_each(pairs + found), _best_of_each(doubtful + _pairs(proved, sure=False))
    surely = {(pair.first, pair.second) for pair in pairs}
    return Copies(pairs=pairs, doubtful=[pair for pair in doubtful if (pair.first, pair.second) not in surely])


def _look_about(
    about: NDArray[np.bool_],
    *,
    planes: NDArray[np.uint8],
    names: NDArray[np.intp],
    crowd: float | None,
    pool: Executor,
    progress: Progress,
) -> Proved:
    """The copies among the named planes, of which at least one is marked in ``about [len(names)]``."""
    halves = np.empty((len(names), planes.shape[1] // 2, planes.shape[2] // 2), np.uint8)
    for block in batches(len(names)):
        halves[block] = halved(planes[names[block]])
    hits = _distinct(propose(halves, keep=_KEEP, pool=pool, progress=progress))
    hits = hits[about[hits["whole"]] | about[hits["owner"]]]
    return prove(hits, planes=planes, names=names, crowd=crowd, pool=pool)


def _contracted(names: NDArray[np.intp], pairs: list[DuplicatePair]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The names, but of each group in which a picture's list of partners is full only the first two; which these are.

    Such a picture may have more copies than its list holds: five copies of a crop name one another, and not the
    original. A search among fewer finds it.
    """
    place = {name: k for k, name in enumerate(names.tolist())}
    ends = np.array([(place[p.first], place[p.second]) for p in pairs], np.intp).reshape(-1, 2)
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    group = connected_components(links, directed=False)[1]
    full = np.bincount(ends.ravel(), minlength=len(names)) >= _KEEP
    crowded = np.isin(group, group[full])
    order = np.argsort(group, kind="stable")
    rank = np.empty(len(names), np.intp)
    rank[order] = np.arange(len(names)) - np.searchsorted(group[order], group[order])
    kept = ~crowded | (rank < 2)
    return names[kept], crowded[kept]


def _distinct(hits: Hits) -> Hits:
    """The better hit of each pair of pictures, whichever of the two is the whole."""
    low, high = np.minimum(hits["whole"], hits["owner"]), np.maximum(hits["whole"], hits["owner"])
    pair = (low.astype(np.int64) << 32) + high
    order = np.lexsort((-hits["score"], pair))
    return hits[order[np.flatnonzero(np.diff(pair[order], prepend=-1))]]


def _pairs(proved: Proved, *, sure: bool) -> list[DuplicatePair]:
    chosen = np.flatnonzero((proved.margin >= 0) == sure).tolist()
    hits, likeness, cropped = proved.hits[chosen], proved.likeness[chosen].tolist(), proved.cropped[chosen].tolist()
    return [
        _pair(int(hit["whole"]), int(hit["owner"]), value, _words(int(hit["turn"]), crop))
        for hit, value, crop in zip(hits, likeness, cropped, strict=True)
    ]


def _ordered(pairs: list[DuplicatePair]) -> list[DuplicatePair]:
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def _best_of_each(pairs: list[DuplicatePair]) -> list[DuplicatePair]:
    best: dict[tuple[int, int], DuplicatePair] = {}
    for pair in pairs:
        key = (pair.first, pair.second)
        if key not in best or best[key].similarity < pair.similarity:
            best[key] = pair
    return list(best.values())


def _words(turn: int, crop: bool) -> str:
    if not crop:
        return _WORDS[turn]
    return "crop" if turn == 0 else f"{_WORDS[turn]} crop"


def _pair(one: int, other: int, similarity: float, transform: str) -> DuplicatePair:
    first, second = sorted((one, other))
    return DuplicatePair(first=first, second=second, similarity=min(1.0, similarity), transform=transform)
