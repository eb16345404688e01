"""Pictures with something taken away: the middle, the surroundings, the order of patches, colour, detail. Pixels only.

What is covered is filled with the mean colour of what stays visible, so that nothing of it shines through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budwood.seeding import named_generator, record_key

Pixels = NDArray[np.uint8]


def cover_middle(pixels: Pixels, share: float) -> Pixels:
    """``[N, S, S, 3]`` with a middle square of ``share`` of the area in the mean colour of its surroundings."""
    return _filled(pixels, _middle(pixels.shape[1], share))


def keep_middle(pixels: Pixels, share: float) -> Pixels:
    """``[N, S, S, 3]`` with all but a middle square of ``share`` of the area in the mean colour of that."""
    return _filled(pixels, ~_middle(pixels.shape[1], share))


def shuffle_patches(pixels: Pixels, grid: int, *, keys: Sequence[str], seed: int) -> Pixels:
    """``[N, S, S, 3]`` with the ``grid x grid`` patches of each picture in another order, keyed by (seed, its key).

    Pixels that the grid leaves over at the right and lower border stay.
    """
    side = pixels.shape[1] // grid
    if side < 1:
        raise ValueError(f"{pixels.shape[1]} px pictures have no {grid} x {grid} patches")
    out = pixels.copy()
    for i, key in enumerate(keys):
        order = named_generator(seed, f"patches {record_key(key)}").permutation(grid * grid)
        for place, patch in enumerate(order.tolist()):
            (to_row, to_column), (row, column) = divmod(place, grid), divmod(patch, grid)
            out[i, to_row * side : (to_row + 1) * side, to_column * side : (to_column + 1) * side] = pixels[
                i, row * side : (row + 1) * side, column * side : (column + 1) * side
            ]
    return out


def grey(pixels: Pixels) -> Pixels:
    """``[N, S, S, 3]`` without colour: Pillow's luma in all channels."""
    lumas = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in pixels])
    return np.repeat(lumas[..., None], 3, axis=3)


def low_pass(pixels: Pixels, side: int) -> Pixels:
    """``[N, S, S, 3]`` reduced to ``side`` pixels and enlarged again, bilinearly: colours and places, no detail."""
    full = (pixels.shape[2], pixels.shape[1])
    small = (Image.fromarray(p).resize((side, side), Image.Resampling.BOX) for p in pixels)
    return np.stack([np.asarray(p.resize(full, Image.Resampling.BILINEAR)) for p in small])


def _middle(side: int, share: float) -> NDArray[np.bool_]:
    ring = max(1, round(side * (1 - math.sqrt(share)) / 2))
    middle = np.zeros((side, side), bool)
    middle[ring : side - ring, ring : side - ring] = True
    return middle


def _filled(pixels: Pixels, hidden: NDArray[np.bool_]) -> Pixels:
    out = pixels.copy()
    # Only of what stays visible: the mean of the whole picture would tell the colour of what is hidden.
    colours = pixels[:, ~hidden].mean(axis=1, dtype=np.float64)
    out[:, hidden] = colours.round().astype(np.uint8)[:, None]
    return out
