"""What is measured on every decoded picture during the scan: light, contrast, sharpness, colour, shadow.

Numbers only; whether one of them is odd is for `checks` to say, which sees all pictures. It runs once a picture in the
scan's hot path: some 60 % of a 96 px picture's decoding time, 4 % of a megapixel's.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOOKED_AT = 128  # pixels a side: larger pictures are measured on every second, third, ... row and column
BANDS = 16  # of three neighbouring rows at full resolution: where sharpness is measured
FLAT = 0.25  # squared grey levels: the rounding of pixels alone, so that blank pictures have no sharpness
CELLS = 12  # along the shorter side: what is dark over three of them each way is shade and not a gap between leaves
SHADE = 0.45  # of the lit ground's luma: measured on field photographs, shade has .15-.4 of it
LIT = 0.75  # the quantile of the cells' luma that stands for lit ground

SAMPLED = 32  # pixels along the shorter side, up to twice as many, that the levels of the channels are taken of

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Measures(NamedTuple):
    """Numbers about one picture, rounded to three digits; they have the names of `ImageRecord`'s fields.

    brightness: mean luma, 0-255. contrast: standard deviation of the luma. Both of all pixels up to some 128 px a side,
    of a grid of pixels in larger ones.
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
    step = ceil(isqrt(image.shape[0] * image.shape[1]) / LOOKED_AT) or 1
    seen = image[::step, ::step].astype(np.float32)
    luma = seen @ _LUMA
    brightness = float(luma.sum(dtype=np.float64)) / luma.size
    around = (luma - brightness).ravel()
    contrast = (float(around @ around) / luma.size) ** 0.5
    values = (brightness, contrast, _sharpness(image), *_levels(seen), _shadow(luma))
    return Measures(*[round(value, 3) for value in values])


def _levels(seen: NDArray[np.float32]) -> list[float]:
    step = max(1, min(seen.shape[:2]) // SAMPLED)
    scaled = seen[::step, ::step].reshape(-1, 3) * np.float32(1 / 255)
    cubes = scaled * scaled * scaled
    return [255 * (sixths / len(cubes)) ** (1 / 6) for sixths in (cubes.T @ cubes).diagonal().tolist()]


def _sharpness(image: NDArray[np.uint8]) -> float:
    height, width = image.shape[:2]
    if min(height, width) < 3:
        return 0.0
    bands = image[_band_rows(height), :, 1].reshape(-1, 3, width).astype(np.float32)
    above, below = bands[:, 0], bands[:, 2]
    middle = bands[:, 1, 1:-1]
    neighbours = (  # down, across, and the two diagonals
        (above[:, 1:-1], below[:, 1:-1]),
        (bands[:, 1, :-2], bands[:, 1, 2:]),
        (above[:, :-2], below[:, 2:]),
        (above[:, 2:], below[:, :-2]),
    )
    twice = middle + middle
    return min(_fineness(one, twice, other) for one, other in neighbours)


@lru_cache(maxsize=64)
def _band_rows(height: int) -> NDArray[np.intp]:
    tops = np.linspace(0, height - 3, min(BANDS, height - 2)).astype(np.intp)
    return (tops[:, None] + np.arange(3)).ravel()


def _fineness(one: NDArray[np.float32], twice: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Root of the energy of second over first differences; ``twice`` is double the pixel between the two."""
    slope = (other - one).ravel()
    bend = (one + other - twice).ravel()
    return float(((bend @ bend) / (slope @ slope + FLAT * slope.size)) ** 0.5)


def _shadow(luma: NDArray[np.float32]) -> float:
    """The share of cells in dark areas of three by three cells or more; a cell is as bright as its brightest spot."""
    shorter = min(luma.shape)
    if shorter < CELLS:
        return 0.0
    side = shorter // CELLS
    if side > 1:
        side -= side % 2
        even = len(luma) // 2 * 2
        luma = luma[:even:2] + luma[1:even:2]  # spots of two pixels: less of what is bright is noise
    tall = max(1, side // 2)
    rows, columns = len(luma) // tall, luma.shape[1] // side
    spots = luma[: rows * tall, : columns * side].reshape(rows, tall, columns * side).max(1)
    cells = spots.reshape(rows, columns, side).max(2)
    lit = np.sort(cells, axis=None)[int(LIT * cells.size)]
    around = np.maximum(np.maximum(cells[:-2], cells[1:-1]), cells[2:])
    around = np.maximum(np.maximum(around[:, :-2], around[:, 1:-1]), around[:, 2:])
    deep = around < SHADE * lit
    if not deep.any():
        return 0.0
    high = np.zeros((rows, columns - 2), bool)
    dark = np.zeros((rows, columns), bool)
    for shift in range(3):
        high[shift : shift + rows - 2] |= deep
    for shift in range(3):
        dark[:, shift : shift + columns - 2] |= high
    return float(dark.mean())
