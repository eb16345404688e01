"""Where the pixels of a picture go: flips, turns, magnification, shear and shifts, in one affine warp.

What a move uncovers is filled by reflection. Colours are not touched, and nothing here is random: the numbers that
decide a move are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.augment.opencv import cv2
from budwood.augment.spec import PictureSpec

Pixels = NDArray[np.uint8]
# Two pixels for the cubic filter, one for rounding.
_FILTER_REACH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One way to move a picture: shift, turn and magnification about its middle, shear, and flips of what came out.

    angle: degrees. magnification: 2 shows the middle half. right, down: shift, as shares of the side.
    slant, tilt: shear along the width and along the height, in degrees.
    """

    angle: float = 0.0
    magnification: float = 1.0
    mirrored: bool = False
    upside_down: bool = False
    right: float = 0.0
    down: float = 0.0
    slant: float = 0.0
    tilt: float = 0.0

    @property
    def is_flip(self) -> bool:
        """Whether every pixel moves onto another's place, so that nothing is interpolated."""
        return self.magnification == 1 and not (self.angle or self.right or self.down or self.slant or self.tilt)

    def source(self, side: int) -> NDArray[np.float64]:
        """Matrix ``[2, 3]`` from a pixel (x, y, 1) of the result to where it comes from, for a square of ``side``."""
        # A magnification by s reads from a window of 1/s.
        cos = math.cos(math.radians(self.angle)) / self.magnification
        sin = math.sin(math.radians(self.angle)) / self.magnification
        slant, tilt = math.tan(math.radians(self.slant)), math.tan(math.radians(self.tilt))
        mirror, upside = (-1.0 if self.mirrored else 1.0), (-1.0 if self.upside_down else 1.0)
        a, b = (cos - sin * tilt) * mirror, (cos * slant - sin) * upside
        c, d = (sin + cos * tilt) * mirror, (sin * slant + cos) * upside
        middle = (side - 1) / 2
        x = middle * (1 - a - b) + self.right * side
        y = middle * (1 - c - d) + self.down * side
        return np.array(((a, b, x), (c, d, y)))


def move_of(numbers: Sequence[float], spec: PictureSpec) -> Move:
    """The move that eight numbers in 0-1 stand for; 0.5 is the middle of each setting's range."""
    angle, size, mirror, upside, right, down, shear, axis = numbers
    low, high = spec.scale
    slanted = spec.shear * (2 * shear - 1)
    return Move(
        angle=float(spec.rotation) * (2 * angle - 1),
        magnification=low if low == high else low * (high / low) ** size,
        mirrored=spec.flip in ("horizontal", "both") and mirror < 0.5,
        upside_down=spec.flip == "both" and upside < 0.5,
        right=spec.shift * (2 * right - 1),
        down=spec.shift * (2 * down - 1),
        slant=slanted if axis < 0.5 else 0.0,
        tilt=slanted if axis >= 0.5 else 0.0,
    )


def moved(pixels: Pixels, move: Move) -> Pixels:
    """Carry out a move on ``[S, S, 3]`` uint8: cubic, borders reflected; flips and shifts alone are exact."""
    if move.is_flip:
        return _flipped(pixels, move)
    side = pixels.shape[0]
    matrix = move.source(side)
    if move.magnification == 1 and not (move.angle or move.slant or move.tilt):
        # Whole pixels: half a pixel takes the finest detail away, which evaluation shows. On plants at 96 px a net of
        # six convolutions came to .775 so, and to .726 with interpolated shifts (one seed each, other epochs too).
        matrix[:, 2] = np.rint(matrix[:, 2])
    left, top, right, bottom = margins(matrix, side)
    # Four channels are warped in less than half the time of three, and inside a wide margin no border is looked after.
    filled = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)
    # A bilinear warp softens what evaluation shows sharp: lite0, fine-tuned on 400 plants at their own 96 px, came to
    # .59 with it and to .64 with this one (docs/speed.md).
    kernel = cv2.INTER_CUBIC
    if max(left, top, right, bottom) <= side:
        filled = cv2.copyMakeBorder(filled, top, bottom, left, right, cv2.BORDER_REFLECT)
        matrix[:, 2] += left, top
    else:
        # A margin would cost more than it saves; and without one OpenCV 5 reflects wrongly in its cubic filter.
        kernel = cv2.INTER_LINEAR
    flags = kernel | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(filled, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB), dtype=np.uint8)


def margins(matrix: NDArray[np.float64], side: int) -> tuple[int, int, int, int]:
    """How far left, above, right and below a square of ``side`` the warp reads, in pixels."""
    (a, b, x), (c, d, y) = matrix.tolist()
    last = side - 1
    across, down = (0.0, a * last, b * last, (a + b) * last), (0.0, c * last, d * last, (c + d) * last)
    far = (-(x + min(across)), -(y + min(down)), x + max(across) - last, y + max(down) - last)
    left, top, right, bottom = (max(0, math.ceil(reach) + _FILTER_REACH) for reach in far)
    return left, top, right, bottom


def _flipped(pixels: Pixels, move: Move) -> Pixels:
    if not (move.mirrored or move.upside_down):
        return pixels
    code = -1 if move.mirrored and move.upside_down else 1 if move.mirrored else 0
    return np.asarray(cv2.flip(pixels, code), dtype=np.uint8)
