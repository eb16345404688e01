"""Proposes, for each picture, the few others that it may be a copy, a flip, a turn or a crop of.

This is the cheap first step of the near-duplicate search: low-resolution descriptors and an index. It promises to
propose the true partner, not to be right about the others; `budwood.data.duplicates` verifies every proposal.

A picture as a whole, in its eight flips and turns, is looked up among fixed windows of all pictures. Descriptors are
8 x 8 luma, normalised, then whitened by the statistics of the set itself: what all pictures share (the outline of
a chest, the wall behind a hand) counts little, what sets them apart counts much. The index is an inverted file:
each window lies in the cell of its nearest pivot, each look-up reads the few nearest cells (Sivic and Zisserman 2003;
Jégou et al. 2011, without the quantiser).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.data.registration import Planes, reading_weights

_GRID = 8  # side of a descriptor. 8 x 8 with the windows below keeps the true partner within rank 10 in four sets
_EDGE = 0.075  # step of the windows' edges, parts of the side; at .1, 3 % of the medical copies fell below rank 10
_MOST_CUT = 0.3  # parts of a side that a crop may lose
_SHIFT = 0.08  # windows that reach over the border find pictures shifted by 2-3 of 32 px
_WHITENING = 0.35  # 0: plain correlation, 0.5: full whitening, which suffers more from windows not quite in place
_RIDGE = 0.003  # of the largest variance; keeps noise directions small in sets of few pictures
_LOWEST = 0.6  # planted copies score .83 or more at the first percentile (plants, hands, medical, cifar)
_SAMPLE = 20_000  # descriptors that the whitening is computed from
_READS = 16  # cells that a look-up reads; 32 found nothing more among 3,000 pictures of three sets
_CHUNK = 4096  # descriptors compared with the pivots at once
_BLOCK = 256  # pictures whose windows are held at once: 256 x 233 x 64 float32 = 15 MB

Progress = Callable[[int], None]
Hits = NDArray[np.void]
_HIT = np.dtype(
    [("whole", np.int32), ("owner", np.int32), ("turn", np.int8), ("window", np.int16), ("score", np.float32)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Pivots of the cells and, for each cell, the look-ups (picture * 8 + turn) that read it."""

    pivots: Planes
    readers: tuple[NDArray[np.int64], ...]


def crop_windows() -> Planes:
    """All windows that are searched, ``[W, 4]`` as ``y0, y1, x0, x1`` in parts of the side; the first is the whole."""
    cuts = [i * _EDGE for i in range(round(_MOST_CUT / _EDGE) + 1)]
    spans = [(a, 1 - b) for a in cuts for b in cuts if 1 - b - a >= 1 - _MOST_CUT - 1e-6]
    shifts = [(0.0, 1.0), (-_SHIFT, 1 - _SHIFT), (_SHIFT, 1 + _SHIFT)]
    inner = [(*y, *x) for y in spans for x in spans]
    return np.array(inner + [(*y, *x) for y in shifts for x in shifts][1:], np.float32)


def propose(planes: Planes, *, keep: int, progress: Progress) -> Hits:
    """The ``keep`` likeliest partners of each plane in ``[N, S, S]``, best first within each ``whole``.

    Returns:
        Rows (whole, owner, turn, window, score): the whole picture, turned, resembles the owner's window.
    """
    windows = crop_windows()
    whitening = _whitening(planes, windows)
    lookups = _unit(_turned_wholes(planes) @ whitening)
    index = _build_index(lookups)
    best, floor = np.empty(0, _HIT), np.full(len(planes), _LOWEST, np.float32)
    for start, stop in _blocks(len(planes)):
        described = _unit(_describe(planes[start:stop], windows) @ whitening)
        fresh = _block_hits(lookups, described, index, floor=floor, start=start)
        best = _keep_best(np.concatenate([best, fresh]), keep)
        _raise_floor(floor, best, keep)
        progress(stop - start)
    return best


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    """Small blocks first: they raise the floor, so that later blocks yield few hits."""
    start, size = 0, 16
    while start < count:
        stop = min(count, start + size)
        yield start, stop
        start, size = stop, min(_BLOCK, size * 2)


def _describe(planes: Planes, windows: Planes) -> Planes:
    """``[N, S, S]`` -> ``[N, W, 64]`` unit descriptors: every window is two of few rows' and columns' products."""
    spans, place = np.unique(windows.reshape(-1, 2), axis=0, return_inverse=True)
    rows, columns = place.reshape(-1, 2).T
    strips = reading_weights(spans[:, 0], spans[:, 1], source=planes.shape[-1], side=_GRID)
    flat = strips.reshape(-1, planes.shape[-1])
    grid = (flat @ planes @ flat.T).reshape(len(planes), len(spans), _GRID, len(spans), _GRID)
    chosen = grid[:, rows, :, columns, :].transpose(1, 0, 2, 3)
    flat_grids = chosen.reshape(len(planes), len(windows), _GRID * _GRID).astype(np.float32, copy=False)
    return _centred(flat_grids)


def _turned_wholes(planes: Planes) -> Planes:
    """``[N, S, S]`` -> ``[N * 8, 64]``: the descriptors of each whole plane in its eight flips and turns."""
    whole = np.array([[0, 1, 0, 1]], np.float32)
    parts = [_describe(planes[start:stop], whole) for start, stop in _blocks(len(planes))]
    grids = np.concatenate(parts).reshape(-1, _GRID, _GRID)
    return turns(grids).reshape(-1, _GRID * _GRID)


def turns(grids: Planes) -> Planes:
    """``[N, n, n]`` -> ``[N, 8, n, n]`` in the order of `budwood.data.duplicates.DIHEDRAL`."""
    both = (grids, grids[:, :, ::-1])
    return np.stack([np.rot90(both[k // 4], k % 4, axes=(1, 2)) for k in range(8)], axis=1)


def _whitening(planes: Planes, windows: Planes) -> Planes:
    """The ``[64, 64]`` map that makes the set's descriptors (in all turns) less alike."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(planes))[: _SAMPLE // 8])
    some = np.sort(rng.permutation(len(windows))[:8])
    described = np.concatenate([_describe(planes[c : c + 1], windows[some])[0] for c in chosen])
    grids = turns(described.reshape(-1, _GRID, _GRID)).reshape(-1, _GRID * _GRID)
    variances, directions = np.linalg.eigh(grids.T @ grids / len(grids))
    scale = (np.maximum(variances, 0) + _RIDGE * variances[-1] + 1e-9) ** -_WHITENING
    result: Planes = (directions * scale).astype(np.float32)
    return result


def _build_index(lookups: Planes) -> Index:
    """Random look-ups serve as pivots: they lie as densely as the data and cost no clustering."""
    cells = max(1, int(2 ** np.round(np.log2(len(lookups) / 64))))
    reads = min(cells, _READS)
    pivots = lookups[np.sort(np.random.default_rng(1).permutation(len(lookups))[:cells])]
    near = _nearest(lookups, pivots, count=reads).ravel()
    order = np.argsort(near, kind="stable")
    edges = np.searchsorted(near[order], np.arange(1, cells))
    return Index(pivots=pivots, readers=tuple(np.split(order // reads, edges)))


def _nearest(vectors: Planes, pivots: Planes, *, count: int) -> NDArray[np.int64]:
    """The ``count`` pivots nearest to each vector, in no particular order: ``[n, count]``."""
    chunks = (vectors[k : k + _CHUNK] for k in range(0, len(vectors), _CHUNK))
    parts = [np.argpartition(-(chunk @ pivots.T), count - 1, axis=1)[:, :count] for chunk in chunks]
    return np.concatenate(parts)


def _block_hits(lookups: Planes, described: Planes, index: Index, *, floor: Planes, start: int) -> Hits:
    """All (look-up, window) of one block that share a cell and score above the look-up's floor."""
    flat = described.reshape(-1, described.shape[-1])
    cell = _nearest(flat, index.pivots, count=1).ravel()
    order = np.argsort(cell, kind="stable")
    members = np.split(order, np.searchsorted(cell[order], np.arange(1, len(index.pivots))))
    parts = [np.empty(0, _HIT)]
    for lookup, member in zip(index.readers, members, strict=True):
        if len(lookup) and len(member):
            scores = lookups[lookup] @ flat[member].T
            row, column = np.nonzero(scores > floor[lookup // 8][:, None])
            parts.append(_hits(lookup[row], member[column], scores[row, column], described.shape[1], start))
    return np.concatenate(parts)


def _hits(lookup: NDArray[np.int64], member: NDArray[np.int64], score: Planes, windows: int, start: int) -> Hits:
    hits = np.empty(len(lookup), _HIT)
    hits["whole"], hits["turn"] = np.divmod(lookup, 8)
    hits["owner"], hits["window"] = np.divmod(member, windows)
    hits["owner"] += start
    hits["score"] = score
    others: Hits = hits[hits["whole"] != hits["owner"]]
    return others


def _keep_best(hits: Hits, keep: int) -> Hits:
    """The best hit of each (whole, owner), and the ``keep`` best of these for each whole, best first."""
    hits = hits[np.lexsort((-hits["score"], hits["owner"], hits["whole"]))]
    new = np.ones(len(hits), bool)
    new[1:] = (hits["whole"][1:] != hits["whole"][:-1]) | (hits["owner"][1:] != hits["owner"][:-1])
    hits = hits[new]
    hits = hits[np.lexsort((-hits["score"], hits["whole"]))]
    return hits[rank_in_whole(hits) < keep]


def rank_in_whole(hits: Hits) -> NDArray[np.int64]:
    """The place of each hit among those of its whole; hits must be ordered by whole."""
    first = np.searchsorted(hits["whole"], hits["whole"])
    return np.arange(len(hits)) - first


def _raise_floor(floor: Planes, hits: Hits, keep: int) -> None:
    last = hits[rank_in_whole(hits) == keep - 1]
    floor[last["whole"]] = np.maximum(floor[last["whole"]], last["score"])


def _centred(vectors: Planes) -> Planes:
    return _unit(vectors - vectors.mean(-1, keepdims=True))


def _unit(vectors: Planes) -> Planes:
    result: Planes = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    return result
