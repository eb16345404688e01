"""Near-duplicates by a network's features: small turns, which `duplicates` misses. No network is run here.

A pair is accepted when it is far more alike than either picture is to others, and the two agree coarsely in their
light. Measured on 1,000 pictures each of four data sets: of 50 copies turned by 5 degrees the search in `duplicates`
found 1 (plants), 39 (32 px photographs), 2 (hand signs) and 5 (medical scans); with these pairs 22, 50, 23 and 34. To
the flips, crops and compressions that it is made for they added nothing (0 of the 20 that it missed among 400).
Without a false pair in the first three sets; among the scans they also tie neighbouring slices of one body (13 pairs),
which is why nobody has to use them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from budwood.data.checks.duplicates import NearPair
from budwood.data.planes import PLANE_SIDE

# How near two pictures must be, as a part of the distance to a rival: the 8th nearest of either picture, so that up to
# seven copies do not hide one another. At .5, one pair of hand signs and nine more of scans were no copies.
NEAR_RATIO, RIVAL = 0.4, 8
COARSE_SIDE, COARSE_LIKENESS = 8, 0.9  # cells a side; correlation of the light in them. A turn by 20 degrees fails it
_BLOCK = 1024  # rows compared at once: 80 MB beside 20,000 pictures


def alike_pairs(paths: Sequence[str], features: NDArray[np.float32], planes: NDArray[np.uint8]) -> tuple[NearPair, ...]:
    """Pairs that show one picture, ordered by path; ``similarity`` is the cosine of the features.

    Pictures with equal planes, such as copies of one file, take part once: the first by path.

    Args:
        paths: of the N pictures. features: ``[N, D]``. planes: ``[N, 64, 64]``, see `planes.luma_plane`.
    """
    if planes.shape != (len(paths), PLANE_SIDE, PLANE_SIDE) or len(features) != len(paths):
        raise ValueError(
            f"{len(paths)} paths, {len(features)} features and planes {planes.shape} do not belong together"
        )
    first_of = {planes[i].tobytes(): i for i in sorted(range(len(paths)), key=lambda i: paths[i], reverse=True)}
    chosen = sorted(first_of.values(), key=lambda i: paths[i])
    if len(chosen) <= RIVAL:
        return ()
    unit = features[chosen] / np.maximum(np.linalg.norm(features[chosen], axis=1, keepdims=True), 1e-12)
    nearest, cosine = _nearest(unit)
    reach = NEAR_RATIO * (1.0 - cosine[:, -1])
    light = _coarse_light(planes[chosen])
    found = []
    for i in range(len(chosen)):
        for j, value in zip(nearest[i].tolist(), cosine[i].tolist(), strict=True):
            # The nearer rival of the two decides, and a mutual pair is taken once, from its first picture.
            if 1.0 - value < min(reach[i], reach[j]) and i < j and float(light[i] @ light[j]) > COARSE_LIKENESS:
                found.append((i, j, value))
    return tuple(
        NearPair(first=paths[chosen[i]], second=paths[chosen[j]], similarity=min(1.0, value), transform="nearly equal")
        for i, j, value in found
    )


def _nearest(unit: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The `RIVAL` nearest others of each row, nearest first: ``[N, RIVAL]`` places and cosines."""
    places = np.empty((len(unit), RIVAL), np.intp)
    cosines = np.empty((len(unit), RIVAL), np.float32)
    for start in range(0, len(unit), _BLOCK):
        block = unit[start : start + _BLOCK] @ unit.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf
        best = np.argpartition(-block, RIVAL - 1, axis=1)[:, :RIVAL]
        order = np.argsort(-np.take_along_axis(block, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        places[start : start + _BLOCK], cosines[start : start + _BLOCK] = best, np.take_along_axis(block, best, axis=1)
    return places, cosines


def _coarse_light(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The light in 8 x 8 cells of each plane, ``[N, 64]`` of mean 0 and length 1: products are correlations."""
    step = PLANE_SIDE // COARSE_SIDE
    cells = planes.reshape(len(planes), COARSE_SIDE, step, COARSE_SIDE, step).mean((2, 4), dtype=np.float32)
    flat = cells.reshape(len(planes), -1)
    flat -= flat.mean(1, keepdims=True)
    result: NDArray[np.float32] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return result
