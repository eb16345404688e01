"""What is measured on every decoded picture during the scan: light, contrast, sharpness, colour, shadow.

Numbers only; whether one of them is odd is for `checks` to say, which sees all pictures. It runs in the scan's hot
path: pictures of one size are measured together, since numpy's calls cost more than the pixels of a small picture.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, isqrt
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOOKED_AT = 128  # pixels a side: larger pictures are measured on every second, third, ... row and column
BANDS = 16  # of three neighbouring rows at full resolution: where sharpness is measured
FLAT = 0.25  # squared grey levels: the rounding of pixels alone, so that blank pictures have no sharpness
CELLS = 12  # along the shorter side: what is dark over three of them each way is shade and not a gap between leaves
SHADE = 0.45  # of the lit ground's luma: measured on field photographs, shade has .15-.4 of it
LIT = 0.75  # the quantile of the cells' luma that stands for lit ground

SAMPLED = 32  # pixels along the shorter side, up to twice as many, that the levels of the channels are taken of

Values: TypeAlias = Any  # an array [B, ...] of any number type: one entry for each picture


class Measures(NamedTuple):
    """Numbers about one picture, rounded to three digits; they have the names of `ImageRecord`'s fields.

    brightness: mean luma, 0-255. contrast: standard deviation of the luma. Both of all pixels up to some 128 px a side,
    of a grid of pixels in larger ones. The luma is Pillow's, a whole number for each pixel.
    sharpness: how much finer the detail is than a slope: root mean square of second over first differences of the
    green channel at full resolution, along that one of four directions where it is least. 0.4-1.6 in sharp pictures,
    0.1-0.4 in blurred ones, 0 in blank ones. It does not depend on contrast.
    red, green, blue: the level of each channel, 0-255, as its sixth-power mean (shades of grey, Finlayson and Trezzi
    2004), which follows the bright parts, where the colour of the light shows; plain means follow the subject.
    shadow: 0-1, the part of the picture that lies in large, deep shade beside lit ground.
    """

    brightness: float
    contrast: float
    sharpness: float
    red: float
    green: float
    blue: float
    shadow: float


def measure(image: NDArray[np.uint8]) -> Measures:
    """Measure one decoded picture ``[H, W, 3]`` uint8 RGB."""
    luma = np.asarray(Image.fromarray(image).convert("L"))
    return Measures(*measure_many(image[None], luma[None])[0].tolist())


def measure_many(images: NDArray[np.uint8], lumas: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Measure pictures of one size.

    Args:
        images: ``[B, H, W, 3]`` uint8 RGB.
        lumas: ``[B, H, W]`` uint8, what Pillow's conversion to "L" makes of them.

    Returns:
        ``[B, 7]``: a row of `Measures` for each; it does not depend on the other pictures.
    """
    step = ceil(isqrt(images.shape[1] * images.shape[2]) / LOOKED_AT) or 1
    seen = np.ascontiguousarray(lumas[:, ::step, ::step])
    measured = np.empty((len(images), len(Measures._fields)))
    measured[:, 0], measured[:, 1] = _light(seen)
    measured[:, 2] = _sharpness(images)
    measured[:, 3:6] = _levels(images[:, ::step, ::step])
    measured[:, 6] = _shadow(seen)
    return measured.round(3)


def _light(seen: Values) -> tuple[Values, Values]:
    """Mean and standard deviation."""
    flat = seen.astype(np.float32).reshape(len(seen), -1)
    ones = np.ones(flat.shape[1], np.float32)
    mean = (flat @ ones).astype(np.float64) / len(ones)  # exact: so few pixels sum to less than 2^24
    flat -= mean[:, None].astype(np.float32)
    return mean, np.sqrt(np.vecdot(flat, flat) / len(ones))


def _levels(seen: Values) -> Values:
    step = max(1, min(seen.shape[1:3]) // SAMPLED)
    chosen = seen[:, ::step, ::step]
    channels = np.empty((len(chosen), 3, *chosen.shape[1:3]), np.float32)
    for channel in range(3):
        channels[:, channel] = chosen[..., channel]
    scaled = channels.reshape(len(chosen), 3, -1)
    scaled *= np.float32(1 / 255)
    cubes = scaled * scaled
    cubes *= scaled
    return 255 * (np.vecdot(cubes, cubes).astype(np.float64) / cubes.shape[2]) ** (1 / 6)


def _sharpness(images: Values) -> Values:
    """The least of four directions' root of the energy of second over first differences."""
    height, width = images.shape[1:3]
    if min(height, width) < 3:
        return np.zeros(len(images))
    bands = images[..., 1][:, _band_rows(height)].astype(np.int16, order="C")  # [B, 3, bands, W]
    above, middle, below = (bands[:, row].reshape(len(bands), -1) for row in range(3))
    # Rows lie end to end, so that numpy's loops are long; what reaches over an end is put to zero.
    left, here, right = slice(None, -2), slice(1, -1), slice(2, None)
    neighbours = (  # down, across, and the two diagonals
        (above[:, here], below[:, here]),
        (middle[:, left], middle[:, right]),
        (above[:, left], below[:, right]),
        (above[:, right], below[:, left]),
    )
    twice = middle[:, here] * 2
    flat = FLAT * (middle.shape[1] // width) * (width - 2)
    least = np.full(len(images), np.inf)
    differences = np.zeros((2, *middle.shape), np.int16)
    slope, bend = differences[:, :, here]
    ends = differences.reshape(2, len(bands), -1, width)[..., :: width - 1]
    for one, other in neighbours:
        np.subtract(other, one, out=slope)
        np.add(one, other, out=bend)
        bend -= twice
        ends[...] = 0
        slopes, bends = differences.astype(np.float32)
        np.minimum(least, np.vecdot(bends, bends) / (np.vecdot(slopes, slopes) + flat), out=least)
    return np.sqrt(least)


@lru_cache(maxsize=64)
def _band_rows(height: int) -> NDArray[np.intp]:
    tops = np.linspace(0, height - 3, min(BANDS, height - 2)).astype(np.intp)
    return np.arange(3)[:, None] + tops


def _shadow(seen: Values) -> Values:
    """The share of cells in dark areas of three by three cells or more; a cell is as bright as its brightest spot."""
    cells = _cells(seen)
    count, rows, columns = cells.shape
    if min(rows, columns) < CELLS:
        return np.zeros(count)
    lit = np.sort(cells.reshape(count, -1), axis=1)[:, int(LIT * rows * columns)]
    around = np.maximum(np.maximum(cells[:, :-2], cells[:, 1:-1]), cells[:, 2:])
    around = np.maximum(np.maximum(around[:, :, :-2], around[:, :, 1:-1]), around[:, :, 2:])
    deep = around < SHADE * lit[:, None, None]
    if not deep.any():
        return np.zeros(count)
    high = np.zeros((count, rows, columns - 2), bool)
    dark = np.zeros((count, rows, columns), bool)
    for shift in range(3):
        high[:, shift : shift + rows - 2] |= deep
    for shift in range(3):
        dark[:, :, shift : shift + columns - 2] |= high
    return dark.mean(axis=(1, 2))


def _cells(seen: Values) -> Values:
    """The brightest spot of each cell, ``[B, rows, columns]``; fewer than CELLS rows in pictures of a few pixels."""
    side = min(seen.shape[1:]) // CELLS
    if side <= 1:
        return seen
    side -= side % 2
    even = seen.shape[1] // 2 * 2
    # Spots of two pixels: less of what is bright is noise.
    pairs = seen[:, :even:2].astype(np.uint16) + seen[:, 1:even:2]
    tall = side // 2
    rows, columns = pairs.shape[1] // tall, pairs.shape[2] // side
    high = pairs[:, : rows * tall : tall, : columns * side].copy()
    for row in range(1, tall):
        np.maximum(high, pairs[:, row : rows * tall : tall, : columns * side], out=high)
    cells = high[:, :, ::side].copy()
    for column in range(1, side):
        np.maximum(cells, high[:, :, column::side], out=cells)
    return cells
