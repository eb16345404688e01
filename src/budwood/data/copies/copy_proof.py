"""Decides which proposed pairs are copies: a quick look at each, registration of the hopeful ones, and the bars.

A pair is proved when the fine detail of one picture, laid over the other, agrees better than different subjects of
the same set do; it is doubtful when it nearly does. Nothing is searched here; `copy_search.py` proposes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.data.copies.copy_descriptors import crop_windows
from budwood.data.copies.copy_search import Hits
from budwood.data.copies.registration import (
    FIRST_SIDE,
    WHITE,
    Planes,
    Readers,
    clipped_likeness,
    detail_activity,
    detail_likeness,
    first_order_likeness,
    halved,
    read_windows,
    refine,
)

BATCH = 128  # pictures or pairs worked on at once: they fit the processor's cache
FEW = 64  # pairs, where many numbers are made of each
_CROPPED = 0.96  # windows with a shorter side than this are called crops

# The likeness that a pair must reach. Copies of 32 px pictures at quality 20 fall to .77, while hands before one wall
# or skulls of two patients reach .92: so the bar rises with the crowd, i.e. how alike a picture's third best partner
# looks at first (what proves a copy is set aside, or a picture with many copies would raise its own bar), and with the
# median of this over the set. Medians: plants and natural 32 px pictures (cifar) 0, hands .82, medical .88. The best
# likenesses of different subjects: natural .83, hands .92, slices of two bodies .96; the poorest of 99 % of the copies:
# plants .99, cifar .90, hands .95, medical .93.
_RIVAL, _SURE = 2, 0.9
_SET_CROWD, _SET_BAR = (0.60, 0.80, 0.90), (0.72, 0.92, 0.96)
_OWN_CROWD, _OWN_BAR = (0.70, 0.85, 0.93), (0.72, 0.85, 0.95)
# The first look that a pair must reach to be laid over one another: it saves time, and 98 % of the copies pass.
_GATE_CROWD, _GATE, _GATE_SURE = (0.70, 0.82, 0.88), (0.78, 0.90, 0.92), 0.97
# A pair of which each is the other's best first look is laid over one another anyway: crops of scans look worse than
# the crowd. These are at most 3 % more pairs.
_GATE_FIRST = 0.70
# Brightened by 30 %, 8 of 166 hands before white paper missed their bar by up to .034; clipped alike, 2 by up to .006.
_SECOND_LOOK = 0.15  # how far below its bar a pair is judged anew
_UNLIKE_WHITE = 0.01  # of the picture more clipped than in the other: below, clipping explains nothing
# How far below its bar a pair may yet be one exposure. The copies of hands that miss it do so by .041 or less; most of
# what else lies so near are look-alikes.
_DOUBT = 0.06
_BARE_DOUBT = 0.10  # the same for the bar of pictures with little detail: at JPEG 40 they fall to .085 below it
# A bright blob on black has little to compare: two skull-caps reach .98. So the bar also rises as the part of the
# picture that shows detail shrinks. Measured on head, abdomen and breast scans.
_ACTIVITY, _ACTIVITY_BAR = (0.22, 0.36, 0.50), (0.985, 0.94, 0.70)
_LEAST_ACTIVITY = 0.06  # below, a picture counts as blank and is surely a copy of none
_BLANK_BAR = 1.05  # never reached; but at .95 a blank picture is a doubtful copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """The copies among the hits, their wholes and owners now as positions in the planes.

    ``likeness [n]`` 0-1; ``margin [n]``: the likeness less the bar, below 0 for doubtful copies; ``cropped [n]``: if it
    is a crop; ``crowd``: how alike the set's look-alikes are.
    """

    hits: Hits
    likeness: Planes
    margin: NDArray[np.floating]
    cropped: NDArray[np.bool_]
    crowd: float


def prove(
    hits: Hits, *, planes: NDArray[np.uint8], names: NDArray[np.intp], crowd: float | None, pool: Executor
) -> Proved:
    """The hits that are copies, and those that may be.

    Args:
        hits: one for each pair of pictures; wholes and owners are positions in ``names``.
        planes: ``[N, S, S]`` uint8.
        names: which of the planes were searched.
        crowd: as in `Proved`, of an earlier round; None: learnt from the hits.
        pool: its threads share the work.
    """
    hits, places = _ends(names, hits), hits
    readers = read_windows(crop_windows(), source=planes.shape[-1] // 2, side=FIRST_SIDE)
    looks = pool.map(lambda block: _first_look(planes, hits[block], readers), batches(len(hits), FEW))
    look = np.concatenate([np.empty(0, np.float32), *looks])
    if crowd is None:
        crowd = float(np.median(_rivals(places, np.where(look < _GATE_SURE, look, 0), len(names))))
    gate = np.where(_first_of_both(places, look), _GATE_FIRST, np.interp(crowd, _GATE_CROWD, _GATE))
    laid = _lay(hits, np.flatnonzero(look >= gate), planes=planes, pool=pool)
    rival = _rivals(places, np.where(laid.likeness < _SURE, look, 0), len(names))
    bar = _crowd_bar(places, rival, crowd=crowd)
    likeness = _second_look(planes, hits, laid, bar=bar)
    near = np.flatnonzero(likeness >= bar - _DOUBT)
    bare = likeness[near] - _activity_bar(planes, hits[near])
    near, bare = near[bare >= -_BARE_DOUBT], bare[bare >= -_BARE_DOUBT]
    margin = np.minimum(bare, likeness[near] - bar[near])
    return Proved(hits=hits[near], likeness=likeness[near], margin=margin, cropped=laid.cropped[near], crowd=crowd)


@dataclass(frozen=True, slots=True)
class _Laid:
    """The likeness of each hit after registration, 0 without; its window ``[n, 4]``; and if it is a crop."""

    likeness: Planes
    windows: Planes
    cropped: NDArray[np.bool_]


def batches(count: int, size: int = BATCH) -> Iterator[slice]:
    """Slices of ``range(count)`` of ``size`` each."""
    for start in range(0, count, size):
        yield slice(start, start + size)


def shows_detail(planes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each of ``[N, S, S]`` has detail to compare; what has not is surely a copy of nothing."""
    shown: NDArray[np.bool_] = _activities(planes, np.arange(len(planes))) >= _LEAST_ACTIVITY
    return shown


def _ends(names: NDArray[np.intp], hits: Hits) -> Hits:
    """The hits with wholes and owners as positions in the planes."""
    hits = hits.copy()
    hits["whole"], hits["owner"] = names[hits["whole"]], names[hits["owner"]]
    return hits


def _activities(planes: NDArray[np.uint8], chosen: NDArray[np.intp]) -> Planes:
    parts = [detail_activity(planes[chosen[block]].astype(np.float32)) for block in batches(len(chosen))]
    return np.concatenate([np.empty(0, np.float32), *parts])


def _first_look(planes: NDArray[np.uint8], hits: Hits, readers: Readers) -> Planes:
    wholes = _turned(halved(planes[hits["whole"]]), hits["turn"])
    return first_order_likeness(wholes, halved(planes[hits["owner"]]), readers, hits["window"])


def _lay(hits: Hits, chosen: NDArray[np.intp], *, planes: NDArray[np.uint8], pool: Executor) -> _Laid:
    """Lay the chosen hits over one another."""
    parts = list(pool.map(lambda block: _register(planes, hits[chosen[block]]), batches(len(chosen), FEW)))
    likeness, windows = np.zeros(len(hits), np.float32), np.zeros((len(hits), 4), np.float32)
    if parts:
        likeness[chosen] = np.concatenate([part[0] for part in parts])
        windows[chosen] = np.concatenate([part[1] for part in parts])
    return _Laid(likeness, windows, (windows[:, 1::2] - windows[:, 0::2]).min(axis=1) < _CROPPED)


def _register(planes: NDArray[np.uint8], hits: Hits) -> tuple[Planes, Planes]:
    """The likeness of each pair after registration, and the window."""
    wholes, owners = _turned(planes[hits["whole"]], hits["turn"]), planes[hits["owner"]]
    coarse = halved(wholes).astype(np.float32), halved(owners).astype(np.float32)
    windows, _ = refine(*coarse, crop_windows()[hits["window"]], side=24, steps=3, coarse=3.0)
    return detail_likeness(wholes.astype(np.float32), owners.astype(np.float32), windows), windows


def _second_look(planes: NDArray[np.uint8], hits: Hits, laid: _Laid, *, bar: NDArray[np.float64]) -> Planes:
    """The likenesses ``[n]``, for pairs that miss their bar by little the better one of with and without clipping."""
    near = np.flatnonzero((laid.likeness < bar) & (laid.likeness >= bar - _SECOND_LOOK))
    white = np.stack([(planes[hits[end][near]] >= WHITE).mean(axis=(1, 2)) for end in ("whole", "owner")])
    near = near[np.abs(white[0] - white[1]) >= _UNLIKE_WHITE]
    likeness = laid.likeness.copy()
    for block in batches(len(near)):
        some = near[block]
        wholes, owners = _turned(planes[hits["whole"][some]], hits["turn"][some]), planes[hits["owner"][some]]
        again = clipped_likeness(wholes.astype(np.float32), owners.astype(np.float32), laid.windows[some])
        likeness[some] = np.maximum(likeness[some], again)
    return likeness


def _turned(planes: NDArray[np.uint8], turn: NDArray[np.int8]) -> NDArray[np.uint8]:
    result = np.empty_like(planes)
    for k in range(8):
        chosen = planes[turn == k]
        result[turn == k] = np.rot90(chosen[:, :, ::-1] if k >= 4 else chosen, k % 4, axes=(1, 2))
    return result


def _first_of_both(hits: Hits, look: Planes) -> NDArray[np.bool_]:
    """Whether a hit has the best look of all that touch its whole, and of all that touch its owner."""
    most = np.zeros(1 + max(hits["whole"].max(initial=0), hits["owner"].max(initial=0)), np.float32)
    for end in ("whole", "owner"):
        np.maximum.at(most, hits[end], look)
    result: NDArray[np.bool_] = (look == most[hits["whole"]]) & (look == most[hits["owner"]])
    return result


def _rivals(hits: Hits, unsure: Planes, count: int) -> Planes:
    """The third best look of each picture's unsure hits, as whole or as owner; 0 if it has fewer."""
    who, look = np.concatenate([hits["whole"], hits["owner"]]), np.tile(unsure, 2)
    order = np.lexsort((-look, who))
    who = who[order]
    third = np.arange(len(who)) - np.searchsorted(who, who) == _RIVAL
    rival = np.zeros(count, np.float32)
    rival[who[third]] = look[order][third]
    return rival


def _crowd_bar(hits: Hits, rival: Planes, *, crowd: float) -> NDArray[np.float64]:
    """The likeness that each hit must reach among the look-alikes of its two pictures and of the set."""
    own = np.maximum(rival[hits["whole"]], rival[hits["owner"]])
    bar: NDArray[np.float64] = np.maximum(np.interp(crowd, _SET_CROWD, _SET_BAR), np.interp(own, _OWN_CROWD, _OWN_BAR))
    return bar


def _activity_bar(planes: NDArray[np.uint8], hits: Hits) -> Planes:
    """The likeness that pictures with little detail must reach; more than 1 where there is none."""
    used, place = np.unique(np.stack([hits["whole"], hits["owner"]]), return_inverse=True)
    shown = _activities(planes, used)[place.reshape(2, -1)].min(axis=0)
    return np.where(shown < _LEAST_ACTIVITY, _BLANK_BAR, np.interp(shown, _ACTIVITY, _ACTIVITY_BAR)).astype(np.float32)
