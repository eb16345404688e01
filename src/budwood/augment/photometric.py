"""How the colours of a picture change: brightness, contrast, saturation, hue, grey, blur, JPEG compression.

Pixels stay in their places, and nothing here is random: the numbers that decide a change are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budwood.augment.geometry import Pixels
from budwood.augment.opencv import cv2
from budwood.augment.spec import PictureSpec

# What R, G and B add to the brightness that is seen (ITU-R BT.601), and the two chroma axes of YIQ.
LUMA = (0.299, 0.587, 0.114)
_TO_YIQ = np.array([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """Factors of brightness, of contrast about the picture's mean grey and of saturation; the turn of the hue.

    hue: a share of the colour circle. The turn keeps luma (YIQ), unlike that of HSV.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether nothing changes."""
        return self.brightness == self.contrast == self.saturation == 1 and not self.hue

    def matrix(self, mean: Sequence[float]) -> NDArray[np.float32]:
        """All four in one: ``[3, 4]`` from (R, G, B, 1) to R, G, B, in grey levels of 0-255.

        Args:
            mean: mean R, G, B of the picture.
        """
        chroma = _turned(self.hue) if self.hue else np.eye(3)
        grey = np.array((LUMA, LUMA, LUMA))
        gain = self.brightness * self.contrast
        matrix = np.empty((3, 4), dtype=np.float32)
        # With saturation 0 the three rows are exactly alike, and so are the channels.
        matrix[:, :3] = gain * (grey * (1 - self.saturation) + chroma * self.saturation if self.saturation else grey)
        middle = self.brightness * sum(weight * value for weight, value in zip(LUMA, mean, strict=True))
        matrix[:, 3] = middle * (1 - self.contrast)
        return matrix


def colours_of(numbers: Sequence[float], spec: PictureSpec) -> Colours:
    """The change that the first five numbers in 0-1 stand for; 0.5 is the middle of each setting's range."""
    brightness, contrast, saturation, hue, grey = numbers[:5]
    return Colours(
        brightness=1 + spec.brightness * (2 * brightness - 1),
        contrast=1 + spec.contrast * (2 * contrast - 1),
        saturation=0.0 if grey < spec.grayscale else 1 + spec.saturation * (2 * saturation - 1),
        hue=spec.hue * (2 * hue - 1),
    )


def recoloured(pixels: Pixels, colours: Colours) -> Pixels:
    """Carry out a change of colours on ``[S, S, 3]`` uint8; what leaves black and white is cut off, once."""
    if colours.is_plain:
        return pixels
    number = pixels.shape[0] * pixels.shape[1]
    mean = [total / number for total in cv2.sumElems(pixels)[:3]]
    return np.asarray(cv2.transform(pixels, colours.matrix(mean)), dtype=np.uint8)


def sigma_of(numbers: Sequence[float], spec: PictureSpec) -> float | None:
    """The deviation of the blur that the first two numbers in 0-1 stand for, in pixels; None: sharp."""
    return _between(spec.blur_sigma, numbers[1]) if numbers[0] < spec.blur else None


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    """Gaussian blur of ``[S, S, 3]`` uint8 with a deviation in pixels, borders reflected."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), dtype=np.uint8)


def quality_of(numbers: Sequence[float], spec: PictureSpec) -> int | None:
    """The JPEG quality that the first two numbers in 0-1 stand for; None: not compressed."""
    low, high = spec.jpeg_quality
    return min(high, low + int(numbers[1] * (high - low + 1))) if numbers[0] < spec.jpeg else None


def compressed(pixels: Pixels, quality: int) -> Pixels:
    """``[S, S, 3]`` uint8 written as JPEG of that quality (1-100) and read again."""
    # OpenCV keeps B before R; taken for one another, luma would be kept worse than chroma.
    written, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality)
    )
    read = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if written else None
    if read is None:
        raise RuntimeError(f"OpenCV could not compress a picture of {pixels.shape} at quality {quality}")
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _turned(hue: float) -> NDArray[np.float64]:
    """The matrix ``[3, 3]`` that turns the chroma of (R, G, B) by a share of the circle."""
    cos, sin = math.cos(2 * math.pi * hue), math.sin(2 * math.pi * hue)
    turn = np.array(((1, 0, 0), (0, cos, -sin), (0, sin, cos)))
    return np.asarray(_FROM_YIQ @ turn @ _TO_YIQ, dtype=np.float64)


def _between(limits: tuple[float, float], number: float) -> float:
    low, high = limits
    return low + (high - low) * number
