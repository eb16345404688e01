"""What is measured on every decoded picture during the scan: light, contrast, sharpness, colour, shadow.

Numbers only; whether one of them is odd is for `checks` to say, which sees all pictures. It runs once a picture in the
scan's hot path: a budget of some 100 microseconds for 96 px.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat


class Measures(NamedTuple):
    """Numbers about one picture, rounded to three digits; they have the names of `ImageRecord`'s fields.

    brightness: mean luma, 0-255. contrast: standard deviation of the luma. sharpness: mean absolute second difference
    of the luma over its contrast. red, green, blue: channel means, 0-255. shadow: 0-1, how much of the picture lies in
    deep shade beside well lit ground.
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
    luma = Image.fromarray(image).convert("L")
    counts = luma.histogram()
    total = sum(counts)
    brightness = sum(value * count for value, count in enumerate(counts)) / total
    contrast = ImageStat.Stat(luma).stddev[0]
    red, green, blue = image.reshape(-1, 3).mean(0).tolist()
    plane = np.asarray(luma, np.int16)
    edges = 0.0
    if min(plane.shape) > 2:
        edges = float(np.abs(plane[2:, 1:-1] + plane[:-2, 1:-1] - 2 * plane[1:-1, 1:-1]).mean())
    sharpness = edges / max(contrast, 1.0)
    dark = sum(counts[: int(0.35 * brightness)]) / total
    return Measures(*(round(float(v), 3) for v in (brightness, contrast, sharpness, red, green, blue, dark)))
