"""Parts of a picture hidden from the network: one box (cutout, random erasing), or a regular grid (GridMask).

What is hidden takes the colour that the network's input calls zero. Nothing here is random: the numbers that decide are
handed in. The label stays; boxes with another picture in them are `mix.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.augment.geometry import Pixels
from budwood.augment.spec import PictureSpec

Colour = tuple[int, int, int]
# Height to width of the box, from the paper on random erasing.
_ASPECTS = (0.3, 3.3)
# Squares along a side. The paper's grids have 1 to 2.3; finer ones also hide something of small subjects.
_SQUARES = (2, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box of pixels inside a picture."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A grid of ``squares`` x ``squares`` hidden squares that starts ``down``, ``right`` pixels in, and wraps around.

    share: of each side that is hidden, 0-1.
    """

    squares: int
    share: float
    down: int
    right: int

    def hides(self, side: int, *, start: int) -> NDArray[np.bool_]:
        """Which of ``side`` rows or columns lie in a square's band, ``[side]``."""
        place = (np.arange(side) + start) * self.squares / side
        return np.asarray(place % 1 < self.share - 1e-9)


def box_of(numbers: Sequence[float], spec: PictureSpec, *, side: int) -> Box | None:
    """The box that the first five numbers in 0-1 stand for, in a square of ``side``; None: nothing is hidden.

    Reference: T. DeVries and G. W. Taylor, Improved regularization of convolutional neural networks with cutout, 2017;
    Z. Zhong et al., Random erasing data augmentation, AAAI 2020.
    """
    drawn, size, aspect, down, right = numbers[:5]
    low, high = spec.cutout_area
    area = low + (high - low) * size
    if drawn >= spec.cutout or area <= 0:
        return None
    # A longer box would not fit into the picture, and hide less than it should.
    flattest, tallest = max(_ASPECTS[0], area), min(_ASPECTS[1], 1 / area)
    height = min(side, max(1, round(side * math.sqrt(area * flattest * (tallest / flattest) ** aspect))))
    width = min(side, max(1, round(area * side * side / height)))
    return Box(top=int(down * (side - height + 1)), left=int(right * (side - width + 1)), height=height, width=width)


def with_box(pixels: Pixels, box: Box, *, fill: Colour) -> Pixels:
    """A copy of ``[S, S, 3]`` uint8 with the box filled."""
    covered = pixels.copy()
    covered[box.top : box.top + box.height, box.left : box.left + box.width] = fill
    return covered


def grid_of(numbers: Sequence[float], spec: PictureSpec, *, side: int) -> Grid | None:
    """The grid that the first five numbers in 0-1 stand for, in a square of ``side``; None: nothing is hidden.

    Reference: P. Chen et al., GridMask data augmentation, 2020; here not turned, as the picture beneath it is.
    """
    drawn, size, count, down, right = numbers[:5]
    if drawn >= spec.gridmask:
        return None
    low, high = spec.gridmask_area
    fewest, most = _SQUARES
    return Grid(
        squares=min(most, fewest + int(count * (most - fewest + 1))),
        share=math.sqrt(low + (high - low) * size),
        down=int(down * side),
        right=int(right * side),
    )


def with_grid(pixels: Pixels, grid: Grid, *, fill: Colour) -> Pixels:
    """A copy of ``[S, S, 3]`` uint8 with the grid's squares filled."""
    side = len(pixels)
    covered = pixels.copy()
    covered[np.ix_(grid.hides(side, start=grid.down), grid.hides(side, start=grid.right))] = fill
    return covered
