"""Faults that `checks.py` plants into pictures: what each does to the pixels, how strongly, and who should find it.

Strengths that depend on the size are shares of the picture's shorter side.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Picture = NDArray[np.uint8]  # [H, W, 3], RGB
Fault = Callable[[Picture, np.random.Generator], Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A fault: the checks that may find it, its strength in words, how a picture gets it, and how it is saved."""

    checks: tuple[str, ...]
    strength: str
    change: Fault
    mode: str = "RGB"
    format: str = "JPEG"


def as_bytes(values: NDArray[np.floating]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def jpeg(picture: Picture, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def light(gain: float) -> Fault:
    return lambda picture, _: as_bytes(picture * np.float32(gain))


def pale(factor: float) -> Fault:
    def change(picture: Picture, rng: np.random.Generator) -> Picture:
        mean = picture.mean()
        return as_bytes((picture - mean) * factor + mean + rng.uniform(-15, 15))

    return change


def soft(share: float) -> Fault:
    """Gaussian blur of this radius."""

    def change(picture: Picture, _: np.random.Generator) -> Picture:
        radius = share * min(picture.shape[:2])
        return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))

    return change


def moved(share: float) -> Fault:
    """Motion blur of this length in a random direction."""

    def change(picture: Picture, rng: np.random.Generator) -> Picture:
        length, angle = share * min(picture.shape[:2]), rng.uniform(0, np.pi)
        margin = int(np.ceil(length / 2)) + 1
        framed = Image.fromarray(np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
        steps = np.linspace(-length / 2, length / 2, 2 * int(np.ceil(length)) + 1)
        total = np.zeros((framed.height, framed.width, 3), np.float32)
        for step in steps:
            matrix = (1, 0, step * np.cos(angle), 0, 1, step * np.sin(angle))
            total += np.asarray(
                framed.transform(framed.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
            )
        return as_bytes(total / len(steps))[margin:-margin, margin:-margin]

    return change


def tinted(red: float, green: float, blue: float) -> Fault:
    return lambda picture, _: as_bytes(picture * np.array([red, green, blue]))


def shaded(darkness: float) -> Fault:
    """A shadow with a straight, slightly soft edge over 30-55 % of the picture."""

    def change(picture: Picture, rng: np.random.Generator) -> Picture:
        height, width = picture.shape[:2]
        angle = rng.uniform(0, 2 * np.pi)
        rows, columns = np.mgrid[0:height, 0:width]
        along = columns * np.cos(angle) + rows * np.sin(angle)
        edge = np.quantile(along, rng.uniform(0.3, 0.55))
        lit = np.clip((along - edge) / (0.02 * min(height, width)) + 0.5, 0, 1)[..., None]
        return as_bytes(picture * (darkness + (1 - darkness) * lit))

    return change


def resized(width: float, height: float) -> Fault:
    def change(picture: Picture, _: np.random.Generator) -> Picture:
        size = (max(4, round(picture.shape[1] * width)), max(4, round(picture.shape[0] * height)))
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))

    return change


def any_size(picture: Picture, rng: np.random.Generator) -> Picture:
    """Each of another size, as pictures from the web among prepared ones are."""
    return resized(*rng.uniform(0.4, 1.6, 2))(picture, rng)


def same(picture: Picture, _: np.random.Generator) -> Picture:
    return picture


LOOKS = (
    *(Plan(checks=("too_dark",), strength=f"light x {g}", change=light(g)) for g in (0.06, 0.12, 0.2)),
    *(Plan(checks=("too_bright",), strength=f"light x {g}", change=light(g)) for g in (8.0, 5.0, 3.0)),
    *(Plan(checks=("low_contrast",), strength=f"contrast x {f}", change=pale(f)) for f in (0.1, 0.18, 0.3)),
    *(Plan(checks=("blurred",), strength=f"Gauss {100 * s:.0f} %", change=soft(s)) for s in (0.05, 0.03, 0.02)),
    *(Plan(checks=("blurred",), strength=f"motion {100 * s:.0f} %", change=moved(s)) for s in (0.16, 0.1, 0.06)),
    *(
        Plan(checks=("colour_cast",), strength="RGB x {}, {}, {}".format(*g), change=tinted(*g))
        for g in ((1.5, 0.7, 0.75), (0.6, 1, 1.5), (1.4, 1, 0.6), (1.2, 1, 0.8))
    ),
    *(Plan(checks=("strong_shadow",), strength=f"shade x {d}", change=shaded(d)) for d in (0.15, 0.25, 0.35)),
)
RARE = (
    Plan(checks=("odd_dimensions", "odd_aspect"), strength="any size", change=any_size),
    Plan(checks=("odd_dimensions", "odd_aspect"), strength="half size", change=resized(0.5, 0.5)),
    Plan(checks=("odd_mode",), strength="grey file", change=same, mode="L"),
    Plan(checks=("odd_mode",), strength="CMYK", change=same, mode="CMYK"),
    Plan(checks=("odd_mode",), strength="palette", change=same, mode="P", format="PNG"),
    Plan(checks=("odd_mode",), strength="transparency", change=same, mode="RGBA", format="PNG"),
    Plan(checks=("odd_format",), strength="PNG", change=same, format="PNG"),
)
