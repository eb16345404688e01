"""Finds pictures that are copies of one another: flipped, turned, cropped, scaled, re-compressed, recoloured.

`near_duplicate_pairs` proposes partners by an index (`budwood.data.copy_search`), lays each pair over one another
(`budwood.data.registration`) and accepts it when the fine detail agrees. It sees one exposure in two pictures; it
does not tie different pictures of one subject, and it ties nothing to a picture without detail (blank, very dark).
Not found: turns by other angles, crops that keep less than 70 % of a side, collages, two crops of a third picture
that overlap little. No file is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from budwood.data.copy_search import Hits, crop_windows, propose, rank_in_whole
from budwood.data.registration import Planes, detail_activity, detail_likeness, refine
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
_SIDE = 64  # luma planes are squares of this side, whatever the picture's shape: quarter turns stay quarter turns
_KEEP = 16  # partners verified per picture; planted copies stand at rank 10 or better in four sets
_BATCH = 256  # pairs verified at once: about 30 MB of work space
_ROUGH_PASS = 0.75  # of 1,700 planted copies, registered at 16 x 16, the poorest scored .90; drawn frames .79
_CROPPED = 0.96  # windows with a shorter side than this are called crops

# The likeness that a pair must reach. Copies of 32 px pictures at quality 20 fall to .7, while hands before one wall
# or skulls of two patients reach .9: so the bar rises with the crowd, i.e. how alike a picture's look-alikes are
# (the _RIVAL-th best likeness of either picture, at least the median over the set; what reaches _SURE is set aside,
# or a picture with many copies would raise its own bar). Medians: plants 0, natural 32 px pictures (cifar) .2,
# medical .55, hands .65. The best likenesses of different subjects: plants .5, cifar .87, hands .92, skulls .97.
_RIVAL, _SURE = 4, 0.9
_BAR_LOW, _BAR_SLOPE, _BAR_FLOOR, _BAR_TOP = 0.60, 0.50, 0.70, 0.96
# A bright blob on black has little to compare: two skull-caps reach .98. So the bar also rises as the part of the
# picture that shows detail shrinks. Measured on head, abdomen and breast scans.
_ACTIVITY = (0.22, 0.36, 0.50)
_ACTIVITY_BAR = (0.985, 0.94, 0.70)
_LEAST_ACTIVITY = 0.06  # below, a picture counts as blank and is tied to none


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePair:
    """Two pictures of one exposure: positions in the input (``first < second``), 0-1 likeness, and how they differ."""

    first: int
    second: int
    similarity: float
    transform: str


def dihedral(image: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """Flip and turn ``[H, W, ...]`` as ``DIHEDRAL[k]`` says: 4-7 mirror left to right first, then turn by k % 4."""
    return np.rot90(np.fliplr(image) if k >= 4 else image, k % 4)


def near_duplicate_pairs(pictures: Sequence[NDArray[np.uint8]], *, listen: Listener = silent) -> list[DuplicatePair]:
    """Pairs of pictures that show one exposure; their connected components are the groups of copies.

    Not every pair of a group is listed. The result does not depend on the order of the pictures.

    Args:
        pictures: ``[H, W, 3]`` uint8 each, shorter side 32-320 px; up to about 10,000.
        listen: told of the progress; every picture counts twice, once when searched, once when verified.

    Returns:
        Pairs ordered by ``first``, then ``second``.
    """
    started = monotonic()
    listen(StepStarted(step=_STEP, total=2 * len(pictures), unit="looks"))
    planes = np.stack([_luma_plane(p) for p in pictures]) if pictures else np.empty((0, _SIDE, _SIDE), np.float32)
    detailed = np.flatnonzero(_activities(planes) >= _LEAST_ACTIVITY)
    order, copies = _canonical(planes, detailed)
    pairs = [_pair(a, b, 1.0, _WORDS[0]) for a, b in copies]
    searched = len(order) if len(order) > 1 else 0
    listen(StepAdvanced(step=_STEP, count=2 * (len(pictures) - searched)))
    if searched:
        # Thousands of small products: with several BLAS threads a busy machine took 8 times as long.
        with threadpool_limits(limits=1, user_api="blas"):
            pairs += _search(planes[order], order, listen)
    listen(StepFinished(step=_STEP, seconds=monotonic() - started, note=f"{len(pairs)} pairs"))
    return sorted(pairs, key=lambda p: (p.first, p.second))


def _luma_plane(picture: NDArray[np.uint8]) -> Planes:
    luma = Image.fromarray(picture).convert("L").convert("F")
    return np.asarray(luma.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float32)


def _activities(planes: Planes) -> Planes:
    parts = [detail_activity(planes[k : k + _BATCH]) for k in range(0, len(planes), _BATCH)]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _canonical(planes: Planes, chosen: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[tuple[int, int]]]:
    """The chosen pictures in an order that depends on their content only, and pairs of pixel-equal planes.

    Of equal planes one takes part in the search: many equal pictures would fill one another's list of partners.
    """
    by_content: dict[bytes, list[int]] = {}
    for i in chosen:
        by_content.setdefault(sha256(planes[i].tobytes()).digest(), []).append(int(i))
    groups = [by_content[key] for key in sorted(by_content)]
    copies = [(group[0], other) for group in groups for other in group[1:]]
    return np.array([group[0] for group in groups], np.intp), copies


def _search(planes: Planes, names: NDArray[np.intp], listen: Listener) -> list[DuplicatePair]:
    def progress(count: int) -> None:
        listen(StepAdvanced(step=_STEP, count=count))

    hits = propose(planes, keep=_KEEP, progress=progress)
    likeness = np.zeros(len(hits), np.float32)
    cropped = np.zeros(len(hits), bool)
    seen = 0
    for k in range(0, len(hits), _BATCH):
        part = slice(k, k + _BATCH)
        likeness[part], cropped[part] = _verify(planes, hits[part])
        reached = int(hits["whole"][part][-1])
        progress(reached - seen)
        seen = reached
    progress(len(planes) - seen)
    accepted = likeness >= _bars(hits, likeness, _activities(planes))
    return _best_of_each(hits[accepted], likeness[accepted], cropped[accepted], names)


def _verify(planes: Planes, hits: Hits) -> tuple[Planes, NDArray[np.bool_]]:
    """The likeness of each proposed pair after registration (0 when hopeless), and whether one is a crop."""
    likeness, cropped = np.zeros(len(hits), np.float32), np.zeros(len(hits), bool)
    wholes, owners = _turned(planes[hits["whole"]], hits["turn"]), planes[hits["owner"]]
    windows = crop_windows()[hits["window"]]
    windows, rough = refine(_halved(wholes), _halved(owners), windows, side=16, steps=5, coarse=4.0)
    hopeful = np.flatnonzero(rough >= _ROUGH_PASS)
    if len(hopeful):
        wholes, owners = wholes[hopeful], owners[hopeful]
        windows, _ = refine(wholes, owners, windows[hopeful], side=32, steps=4, coarse=3.0)
        likeness[hopeful] = detail_likeness(wholes, owners, windows)
        sides = windows[:, 1::2] - windows[:, 0::2]
        cropped[hopeful] = sides.min(axis=1) < _CROPPED
    return likeness, cropped


def _turned(planes: Planes, turn: NDArray[np.int8]) -> Planes:
    result = np.empty_like(planes)
    for k in range(8):
        chosen = planes[turn == k]
        result[turn == k] = np.rot90(chosen[:, :, ::-1] if k >= 4 else chosen, k % 4, axes=(1, 2))
    return result


def _halved(planes: Planes) -> Planes:
    half = planes.shape[-1] // 2
    result: Planes = planes.reshape(-1, half, 2, half, 2).mean(axis=(2, 4))
    return result


def _bars(hits: Hits, likeness: Planes, activity: Planes) -> Planes:
    """The likeness that each hit must reach, see the constants above."""
    whole, owner = hits["whole"], hits["owner"]
    unsure = np.where(likeness >= _SURE, 0, likeness)
    ranked = np.lexsort((-unsure, whole))
    at = ranked[rank_in_whole(hits) == _RIVAL]
    rival = np.zeros(len(activity), np.float32)
    rival[whole[at]] = unsure[at]
    crowd = np.maximum(np.maximum(rival[whole], rival[owner]), np.median(rival))
    bar = np.clip(_BAR_LOW + _BAR_SLOPE * crowd, _BAR_FLOOR, _BAR_TOP)
    shown = np.minimum(activity[whole], activity[owner])
    result: Planes = np.maximum(bar, np.interp(shown, _ACTIVITY, _ACTIVITY_BAR)).astype(np.float32)
    return result


def _best_of_each(
    hits: Hits, likeness: Planes, cropped: NDArray[np.bool_], names: NDArray[np.intp]
) -> list[DuplicatePair]:
    best: dict[tuple[int, int], DuplicatePair] = {}
    for hit, value, crop in zip(hits, likeness.tolist(), cropped.tolist(), strict=True):
        pair = _pair(int(names[hit["whole"]]), int(names[hit["owner"]]), value, _words(int(hit["turn"]), crop))
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
