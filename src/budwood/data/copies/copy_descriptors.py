"""Short descriptors in which a picture, flipped or turned, lies near the windows of its copies. No search here.

A descriptor is 6 x 6 luma, its mean taken off, whitened by the statistics of the set itself and of length 1: what all
pictures share (the outline of a chest, the wall behind a hand) counts little, what sets them apart counts much. All
of this but the length is linear, so a picture's 38 windows are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from budwood.data.copies.registration import Planes, halved, reading_weights

_GRID = 6  # a side; at 8 the copies that lie 4 % beside a window fall below the look-alikes, in four sets of pictures
_SOURCE = 16  # side of the planes that are read; a window of 77 % still gives two samples a cell
SIZE = 32  # components kept of 36: the last are noise
_WHITENING = 0.35  # 0: plain correlation, 0.5: full whitening, which suffers more from windows not quite in place
_RIDGE = 0.003  # of the largest variance; keeps noise directions small in sets of few pictures
_SAMPLE = 2_000  # pictures that the whitening is computed from


@dataclass(frozen=True, slots=True, kw_only=True)
class Describer:
    """Linear maps from 16 x 16 planes to descriptors.

    ``whole [256, 36]`` reads the cells of the whole, ``white [36, D]`` whitens them (in any turn), ``windows
    [256, W * D]`` does both for all windows.
    """

    whole: Planes
    white: Planes
    windows: Planes

    def turned_wholes(self, halves: NDArray[np.uint8]) -> Planes:
        """``[N, 32, 32]`` -> ``[N * 8, D]``: the wholes in their eight flips and turns, see `turn_cells`."""
        grids: Planes = _flat(halves) @ self.whole
        white: Planes = grids[:, turn_cells(_GRID)].reshape(-1, _GRID**2) @ self.white
        return _unit(white)

    def all_windows(self, halves: NDArray[np.uint8]) -> Planes:
        """``[N, 32, 32]`` -> ``[N * W, D]``, a picture's windows in the order of `crop_windows`."""
        flat: Planes = _flat(halves) @ self.windows
        return _unit(flat.reshape(-1, SIZE))


def _flat(halves: NDArray[np.uint8]) -> Planes:
    return halved(halves).reshape(len(halves), _SOURCE**2).astype(np.float32)


@cache
def crop_windows() -> Planes:
    """All windows that are searched, ``[W, 4]`` as ``y0, y1, x0, x1`` in parts of the side; the first is the whole.

    They keep 90 % of both sides, 77 % of both, or 92 % of one and 77 % of the other. Crops lie between them: measured
    on plants, 97 % of those that keep 80 % of a side are found, 83 % at 75 %, half at 70 %.
    """
    near, far, long, short = _spans(0.9, 3), _spans(0.77, 4), _spans(0.92, 2), _spans(0.77, 3)
    kinds = ((near, near), (far, far), (short, long), (long, short))
    inner = [(*y, *x) for rows, columns in kinds for y in rows for x in columns]
    return np.array([(0, 1, 0, 1), *inner], np.float32)


def _spans(side: float, count: int) -> list[tuple[float, float]]:
    return [(start, start + side) for start in np.linspace(0, 1 - side, count).tolist()]


def learn_describer(halves: NDArray[np.uint8]) -> Describer:
    """The maps for a set ``[N, 32, 32]`` uint8, learnt from a sample of it."""
    rng = np.random.default_rng(0)
    some = _flat(halves[np.sort(rng.permutation(len(halves))[:_SAMPLE])])
    readers = _window_readers()
    looked_at = readers[np.sort(rng.permutation(len(readers))[:8])].reshape(-1, _SOURCE**2)
    seen = _unit((some @ looked_at.T).reshape(-1, _GRID**2))
    alike = seen.T @ seen / len(seen)
    variances, directions = np.linalg.eigh(np.mean([alike[np.ix_(t, t)] for t in turn_cells(_GRID)], axis=0))
    scale = (np.maximum(variances, 0) + _RIDGE * variances[-1] + 1e-9) ** -_WHITENING
    strongest = np.arange(_GRID**2 - 1, -1, -1)[:SIZE]
    # Strong and weak components in turn, so that the two halves of a descriptor tell equally much.
    white = (directions * scale)[:, np.r_[strongest[::2], strongest[1::2]]].astype(np.float32)
    windows = np.ascontiguousarray((white.T @ readers).transpose(2, 0, 1).reshape(_SOURCE**2, -1))
    return Describer(whole=np.ascontiguousarray(readers[0].T), white=white, windows=windows)


def _window_readers() -> Planes:
    """``[W, 36, 256]``: reads each window's samples from a 16 x 16 plane, their mean taken off."""
    windows = crop_windows()
    rows = reading_weights(windows[:, 0], windows[:, 1], source=_SOURCE, side=_GRID)
    columns = reading_weights(windows[:, 2], windows[:, 3], source=_SOURCE, side=_GRID)
    readers = np.einsum("wip,wjq->wijpq", rows, columns).reshape(len(windows), _GRID**2, _SOURCE**2)
    result: Planes = readers - readers.mean(axis=1, keepdims=True)
    return result


def turn_cells(side: int) -> NDArray[np.intp]:
    """``[8, side * side]``: where each cell of a grid comes from, in the order of `duplicates.DIHEDRAL`."""
    cells = np.arange(side**2).reshape(side, side)
    return np.stack([np.rot90(cells[:, ::-1] if k >= 4 else cells, k % 4).ravel() for k in range(8)])


def _unit(vectors: Planes) -> Planes:
    """The rows ``[n, D]`` divided by their lengths, in place."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    vectors /= np.maximum(lengths, 1e-6)[:, None]
    return vectors
