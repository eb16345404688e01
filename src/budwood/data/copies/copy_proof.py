"""Decides which proposed pairs are copies: a quick look at each, registration of the hopeful ones, and the bars.

A pair is proved when the fine detail of one picture, laid over the other, agrees better than different subjects of
the same set do. Nothing is searched here; `budwood.data.copies.copy_search` proposes.
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
    Planes,
    detail_activity,
    detail_likeness,
    first_order_likeness,
    halved,
    refine,
)

BATCH = 128  # pictures or pairs worked on at once: they fit the processor's cache
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
# A bright blob on black has little to compare: two skull-caps reach .98. So the bar also rises as the part of the
# picture that shows detail shrinks. Measured on head, abdomen and breast scans.
_ACTIVITY, _ACTIVITY_BAR = (0.22, 0.36, 0.50), (0.985, 0.94, 0.70)
_LEAST_ACTIVITY = 0.06  # below, a picture counts as blank and is tied to none


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """The copies among the hits, their wholes and owners now as positions in the planes.

    ``likeness [n]`` 0-1; ``cropped [n]``: whether it is a crop; ``crowd``: how alike the set's look-alikes are.
    """

    hits: Hits
    likeness: Planes
    cropped: NDArray[np.bool_]
    crowd: float


def prove(
    hits: Hits, *, planes: NDArray[np.uint8], names: NDArray[np.intp], crowd: float | None, pool: Executor
) -> Proved:
    """The hits that are copies.

    Args:
        hits: one for each pair of pictures; wholes and owners are positions in ``names``.
        planes: ``[N, S, S]`` uint8.
        names: which of the planes were searched.
        crowd: as in `Proved`, of an earlier round; None: learnt from the hits.
        pool: its threads share the work.
    """
    hits, places = _ends(names, hits), hits
    looks = pool.map(lambda block: _first_look(planes, hits[block]), batches(len(hits)))
    look = np.concatenate([np.empty(0, np.float32), *looks])
    if crowd is None:
        crowd = float(np.median(_rivals(places, np.where(look < _GATE_SURE, look, 0), len(names))))
    hopeful = np.flatnonzero(look >= np.interp(crowd, _GATE_CROWD, _GATE))
    parts = list(pool.map(lambda block: _register(planes, hits[hopeful[block]]), batches(len(hopeful))))
    likeness, cropped = np.zeros(len(hits), np.float32), np.zeros(len(hits), bool)
    likeness[hopeful] = np.concatenate([np.empty(0, np.float32), *(part[0] for part in parts)])
    cropped[hopeful] = np.concatenate([np.empty(0, bool), *(part[1] for part in parts)])
    rival = _rivals(places, np.where(likeness < _SURE, look, 0), len(names))
    good = np.flatnonzero(likeness >= _crowd_bar(places, rival, crowd=crowd))
    good = good[likeness[good] >= _activity_bar(planes, hits[good])]
    return Proved(hits=hits[good], likeness=likeness[good], cropped=cropped[good], crowd=crowd)


def batches(count: int) -> Iterator[slice]:
    """Slices of ``range(count)`` of `BATCH` each."""
    for start in range(0, count, BATCH):
        yield slice(start, start + BATCH)


def shows_detail(planes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each of ``[N, S, S]`` has detail to compare; what has not is tied to nothing."""
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


def _first_look(planes: NDArray[np.uint8], hits: Hits) -> Planes:
    wholes = _turned(halved(planes[hits["whole"]]), hits["turn"])
    return first_order_likeness(wholes, halved(planes[hits["owner"]]), crop_windows(), hits["window"])


def _register(planes: NDArray[np.uint8], hits: Hits) -> tuple[Planes, NDArray[np.bool_]]:
    """The likeness of each pair after registration, and whether one is a crop."""
    wholes, owners = _turned(planes[hits["whole"]], hits["turn"]), planes[hits["owner"]]
    coarse = halved(wholes).astype(np.float32), halved(owners).astype(np.float32)
    windows, _ = refine(*coarse, crop_windows()[hits["window"]], side=24, steps=3, coarse=3.0)
    likeness = detail_likeness(wholes.astype(np.float32), owners.astype(np.float32), windows)
    return likeness, (windows[:, 1::2] - windows[:, 0::2]).min(axis=1) < _CROPPED


def _turned(planes: NDArray[np.uint8], turn: NDArray[np.int8]) -> NDArray[np.uint8]:
    result = np.empty_like(planes)
    for k in range(8):
        chosen = planes[turn == k]
        result[turn == k] = np.rot90(chosen[:, :, ::-1] if k >= 4 else chosen, k % 4, axes=(1, 2))
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
    """The likeness that pictures with little detail must reach; more than 1, i.e. never, where there is none."""
    used, place = np.unique(np.stack([hits["whole"], hits["owner"]]), return_inverse=True)
    shown = _activities(planes, used)[place.reshape(2, -1)].min(axis=0)
    return np.where(shown < _LEAST_ACTIVITY, 2, np.interp(shown, _ACTIVITY, _ACTIVITY_BAR)).astype(np.float32)
