"""Proposes, for each picture, the few others that it may be a copy, a flip, a turn or a crop of.

This is the cheap first step of the near-duplicate search. It promises to propose the true partner, not to be right
about the others; `duplicates.py` verifies every proposal.

A picture as a whole, in its eight flips and turns, is looked up among 38 fixed windows of all pictures
(`copy_descriptors.py`). The index is an inverted file: each window lies in one cell, each look-up reads eight,
and only what shares a cell is compared. A cell is a pair of pivots, one for each half of a descriptor (Babenko and
Lempitsky 2012): 2 x 128 products choose among 16,384 cells. There are the more cells the more pictures, so the time
for one picture hardly grows with the set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from budwood.data.copies.copy_descriptors import SIZE, Describer, crop_windows, learn_describer
from budwood.data.copies.registration import Planes

_LOWEST = 0.78  # of 4,800 planted copies 2 % are not reached so: crops between the windows, shifts. More hits below
_MEMBERS = 10  # pictures for each cell
_PIVOTS = (4, 128)  # least and most pivots of a half: 16 to 16,384 cells, whose numbers fit 16 bits
# A look-up reads the nearest cells of those that the nearest pivots of each half make, 4 x 4. Of 5,000 planted pairs
# the nearest 2 x 2 missed 2, and 15 in 1,000 of the looks in one direction, by which alone a crop is found; the nearest
# 8 missed none, and 6 in 1,000. They cost 20 us a picture more.
_PROBES, _NEAR_PIVOTS = 8, 4
_ROUNDS = 3  # of k-means, for the pivots
_BLOCK = 128  # pictures described at once: their planes fit the processor's cache
_PART = 24_576  # pictures whose windows are held at once: 120 MB
_SCORES = 1 << 18  # compared at once in a large cell: 1 MB
_PENDING = 8  # hits a picture that wait to be ranked; in a set without crowds there are fewer
_CROWDED = 64  # hits of one look-up in one cell; more are cut, or 2,000 near copies would give 10 million hits

Progress = Callable[[int], None]
Hits = NDArray[np.void]
HIT = np.dtype(
    [("whole", np.int32), ("owner", np.int32), ("turn", np.int8), ("window", np.int16), ("score", np.float32)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """What lies in cell c: ``vectors[rows[edges[c]:edges[c + 1]]]``; ``names``, like ``rows``, says whose they are."""

    vectors: Planes
    rows: NDArray[np.int64]
    names: NDArray[np.int64]
    edges: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The cells: pairs of pivots ``[K, D / 2]``, one for each half of a descriptor."""

    first: Planes
    second: Planes

    def __len__(self) -> int:
        return len(self.first) * len(self.second)

    def cell(self, vectors: Planes) -> NDArray[np.uint16]:
        """The cell ``[n]`` that each descriptor lies in."""
        one = _closeness(vectors[:, : SIZE // 2], self.first).argmax(axis=1)
        two = _closeness(vectors[:, SIZE // 2 :], self.second).argmax(axis=1)
        cells: NDArray[np.intp] = one * len(self.second) + two
        return cells.astype(np.uint16)

    def near_cells(self, vectors: Planes) -> NDArray[np.uint16]:
        """The nearest cells ``[n, _PROBES]`` in any order, of those that the nearest pivots of each half make."""
        ones, one_close = _nearest_pivots(vectors[:, : SIZE // 2], self.first)
        twos, two_close = _nearest_pivots(vectors[:, SIZE // 2 :], self.second)
        distant = -(one_close[:, :, None] + two_close[:, None, :]).reshape(len(vectors), -1)
        cells = (ones[:, :, None] * len(self.second) + twos[:, None, :]).reshape(len(vectors), -1)
        nearest = distant.argpartition(_PROBES - 1, axis=1)[:, :_PROBES]
        return np.take_along_axis(cells, nearest, axis=1).astype(np.uint16)


def propose(halves: NDArray[np.uint8], *, keep: int, pool: Executor, progress: Progress) -> Hits:
    """The ``keep`` likeliest partners of each picture, best first within each ``whole``.

    Args:
        halves: ``[N, 32, 32]`` uint8.
        keep: partners wanted; pictures with fewer that score at all have fewer.
        pool: its threads share the work; their number does not change the result.
        progress: told how many more pictures were described.

    Returns:
        Rows (whole, owner, turn, window, score): the whole picture, turned, resembles the owner's window.
    """
    describer = learn_describer(halves)
    lookups = _lookups(halves, describer, pool)
    grid = _lay_grid(lookups)
    readers = _readers(lookups, grid, pool)
    best, floor = np.empty(0, HIT), np.full(len(halves), _LOWEST, np.float32)
    pending: list[Hits] = []
    for start in range(0, len(halves), _PART):
        part = slice(start, min(len(halves), start + _PART))
        members = _members(halves, part, describer=describer, grid=grid, pool=pool, progress=progress)
        for cells in _rounds(len(grid)):
            pending += pool.map(partial(_cell_hits, readers, members, floor=floor), cells)
            if sum(map(len, pending)) > _PENDING * len(halves):
                best, pending = _keep_best(np.concatenate([best, *pending]), keep), []
                _raise_floor(floor, best, keep)
    return _keep_best(np.concatenate([best, *pending]), keep)


def _blocks(start: int, stop: int) -> Iterator[slice]:
    for first in range(start, stop, _BLOCK):
        yield slice(first, min(stop, first + _BLOCK))


def _lookups(halves: NDArray[np.uint8], describer: Describer, pool: Executor) -> Planes:
    """The descriptors ``[N * 8, D]`` of the wholes in all turns."""
    result = np.empty((len(halves), 8 * SIZE), np.float32)

    def describe(block: slice) -> None:
        result[block] = describer.turned_wholes(halves[block]).reshape(-1, 8 * SIZE)

    list(pool.map(describe, _blocks(0, len(halves))))
    return result.reshape(-1, SIZE)


def _lay_grid(lookups: Planes) -> Grid:
    """Pivots by k-means on look-ups: as many that a cell holds few."""
    pictures = len(lookups) // 8
    count = int(np.clip(round((pictures / _MEMBERS) ** 0.5), *_PIVOTS))
    some = lookups[np.sort(np.random.default_rng(1).permutation(len(lookups))[: 40 * count])]
    return Grid(first=_pivots(some[:, : SIZE // 2], count), second=_pivots(some[:, SIZE // 2 :], count))


def _pivots(halves: Planes, count: int) -> Planes:
    pivots = halves[np.linspace(0, len(halves) - 1, count).astype(np.intp)]
    for _ in range(_ROUNDS):
        near = _closeness(halves, pivots).argmax(axis=1)
        order = np.argsort(near, kind="stable")
        edges = np.flatnonzero(np.diff(near[order], prepend=-1))
        sizes = np.diff(np.append(edges, len(order)))
        pivots[near[order][edges]] = np.add.reduceat(halves[order], edges, axis=0) / sizes[:, None]
    return pivots


def _closeness(halves: Planes, pivots: Planes) -> Planes:
    """``[n, K]``, the larger the nearer the pivot is to the half-descriptor."""
    closeness: Planes = halves @ pivots.T
    closeness -= np.einsum("kd,kd->k", pivots, pivots) / 2
    return closeness


def _nearest_pivots(halves: Planes, pivots: Planes) -> tuple[NDArray[np.intp], Planes]:
    """The nearest pivots ``[n, _NEAR_PIVOTS]`` of each half-descriptor, nearest first, and their closeness."""
    closeness, every = _closeness(halves, pivots), np.arange(len(halves))
    nearest, values = np.empty((len(halves), _NEAR_PIVOTS), np.intp), np.empty((len(halves), _NEAR_PIVOTS), np.float32)
    for k in range(_NEAR_PIVOTS):
        nearest[:, k] = closeness.argmax(axis=1)
        values[:, k] = closeness[every, nearest[:, k]]
        closeness[every, nearest[:, k]] = -np.inf
    return nearest, values


def _readers(lookups: Planes, grid: Grid, pool: Executor) -> Members:
    """For each cell the look-ups (picture * 8 + turn) that read it."""
    blocks = (lookups[block.start * 8 : block.stop * 8] for block in _blocks(0, len(lookups) // 8))
    cells = np.concatenate(list(pool.map(grid.near_cells, blocks))).ravel()
    order = np.argsort(cells, kind="stable")  # radix sort: the cells are 16-bit
    edges = np.searchsorted(cells[order], np.arange(len(grid) + 1))
    rows = order // _PROBES
    return Members(vectors=lookups, rows=rows, names=rows, edges=edges)


def _members(
    halves: NDArray[np.uint8],
    part: slice,
    *,
    describer: Describer,
    grid: Grid,
    pool: Executor,
    progress: Progress,
) -> Members:
    """All windows (picture * W + window) of a part of the pictures, sorted by cell."""

    width, first = len(crop_windows()), part.start
    vectors = np.empty(((part.stop - first) * width, SIZE), np.float32)
    cells = np.empty(len(vectors), np.uint16)

    def describe(block: slice) -> int:
        here = slice((block.start - first) * width, (block.stop - first) * width)
        vectors[here] = describer.all_windows(halves[block])
        cells[here] = grid.cell(vectors[here])
        size: int = block.stop - block.start
        return size

    for count in pool.map(describe, _blocks(first, part.stop)):
        progress(count)
    order = np.argsort(cells, kind="stable")
    edges = np.searchsorted(cells[order], np.arange(len(grid) + 1))
    return Members(vectors=vectors, rows=order, names=order + first * width, edges=edges)


def _rounds(cells: int) -> Iterator[list[range]]:
    """Small rounds first: they raise the floor, so that later rounds yield few hits in a crowded set."""
    start, size = 0, max(16, cells // 32)
    while start < cells:
        stop = min(cells, start + size)
        step = max(16, (stop - start) // 4)
        yield [range(k, min(stop, k + step)) for k in range(start, stop, step)]
        start, size = stop, size * 2


def _cell_hits(readers: Members, members: Members, cells: range, *, floor: Planes) -> Hits:
    """All (look-up, window) that share one of the cells and score above the look-up's floor."""
    found = [np.empty(0, HIT)]
    for cell in cells:
        lookups = readers.rows[readers.edges[cell] : readers.edges[cell + 1]]
        here = slice(members.edges[cell], members.edges[cell + 1])
        vectors = members.vectors.take(members.rows[here], axis=0).T
        if vectors.shape[1] == 0:
            continue
        step = max(1, _SCORES // vectors.shape[1])
        for k in range(0, len(lookups), step):
            some = lookups[k : k + step]
            scores = readers.vectors.take(some, axis=0) @ vectors
            row, column = _above(scores, floor[some // 8])
            if len(row):
                found.append(_hits(some[row], members.names[here][column], scores[row, column]))
    return np.concatenate(found)


def _above(scores: Planes, floor: Planes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the scores above each row's floor; where that is a crowd, only each row's best."""
    even = floor.min(initial=np.inf) == floor.max(initial=-np.inf)
    over = scores > (floor[0] if even else floor[:, None])  # with one number it takes a third of the time
    places = np.flatnonzero(over)
    if len(places) > _CROWDED * len(scores) and scores.shape[1] > _CROWDED:
        over &= scores >= np.partition(scores, -_CROWDED, axis=1)[:, -_CROWDED, None]
        places = np.flatnonzero(over)
    row, column = np.divmod(places, scores.shape[1])
    return row, column


def _hits(lookup: NDArray[np.int64], member: NDArray[np.int64], score: Planes) -> Hits:
    hits = np.empty(len(lookup), HIT)
    hits["whole"], hits["turn"] = np.divmod(lookup, 8)
    hits["owner"], hits["window"] = np.divmod(member, len(crop_windows()))
    hits["score"] = score
    others: Hits = hits[hits["whole"] != hits["owner"]]
    return others


def _keep_best(hits: Hits, keep: int) -> Hits:
    """The best hit of each (whole, owner), and the ``keep`` best of these for each whole, best first."""
    if not len(hits):
        return hits
    pair = (hits["whole"].astype(np.int64) << 32) + hits["owner"]
    order = np.argsort(pair)  # not stable, which is faster by half; the first of equal hits is chosen below
    pair, score = pair[order], hits["score"][order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    best = np.maximum.reduceat(score, starts).repeat(np.diff(starts, append=len(pair)))
    hits = hits[np.minimum.reduceat(np.where(score == best, order, len(order)), starts)]
    # The bits of positive numbers are ordered as the numbers are: one sort of whole numbers instead of two.
    rank = (hits["whole"].astype(np.int64) << 32) - hits["score"].copy().view(np.int32)
    hits = hits[np.argsort(rank, kind="stable")]
    return hits[rank_in_whole(hits) < keep]


def rank_in_whole(hits: Hits) -> NDArray[np.int64]:
    """The place of each hit among those of its whole; hits must be ordered by whole."""
    first = np.searchsorted(hits["whole"], hits["whole"])
    return np.arange(len(hits)) - first


def _raise_floor(floor: Planes, hits: Hits, keep: int) -> None:
    last = hits[rank_in_whole(hits) == keep - 1]
    floor[last["whole"]] = np.maximum(floor[last["whole"]], last["score"])
